module.exports = require('../../jest.preset.cjs')('config', __dirname, { lines: 99, branches: 92 });
