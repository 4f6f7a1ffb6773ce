module.exports = require('../../jest.preset.cjs')('simulation', __dirname);
