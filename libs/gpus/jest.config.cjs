module.exports = require('../../jest.preset.cjs')('gpus', __dirname, { lines: 96, branches: 89 });
