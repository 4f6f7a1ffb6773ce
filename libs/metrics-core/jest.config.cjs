module.exports = require('../../jest.preset.cjs')('metrics-core', __dirname);
