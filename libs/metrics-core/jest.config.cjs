module.exports = require('../../jest.preset.cjs')('metrics-core', __dirname, { lines: 98, branches: 93 });
