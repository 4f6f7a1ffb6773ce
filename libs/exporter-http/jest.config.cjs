module.exports = require('../../jest.preset.cjs')('exporter-http', __dirname);
