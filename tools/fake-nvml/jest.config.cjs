module.exports = require('../../jest.preset.cjs')('fake-nvml', __dirname);
