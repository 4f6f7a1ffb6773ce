module.exports = require('../../jest.preset.cjs')('exporter-http', __dirname, { lines: 99, branches: 94 });
