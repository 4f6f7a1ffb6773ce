module.exports = require('../../jest.preset.cjs')('gpu-exporter', __dirname);
