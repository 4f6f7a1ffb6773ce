module.exports = require('../../jest.preset.cjs')('mock-exporter', __dirname);
