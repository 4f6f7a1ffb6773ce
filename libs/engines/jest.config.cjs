module.exports = require('../../jest.preset.cjs')('engines', __dirname);
