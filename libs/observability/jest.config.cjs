module.exports = require('../../jest.preset.cjs')('observability', __dirname, { lines: 99, branches: 93 });
