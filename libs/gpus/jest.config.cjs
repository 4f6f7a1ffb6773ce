module.exports = require('../../jest.preset.cjs')('gpus', __dirname);
