module.exports = require('../../jest.preset.cjs')('engines', __dirname, { lines: 97, branches: 89 });
