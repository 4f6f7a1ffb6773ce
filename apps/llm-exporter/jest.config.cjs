module.exports = require('../../jest.preset.cjs')('llm-exporter', __dirname);
