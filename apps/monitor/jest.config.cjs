const preset = require('../../jest.preset.cjs')('monitor', __dirname);

/** The page's files are text to the program, as esbuild's text loader makes them in the bundle. */
module.exports = {
  ...preset,
  transform: { '\\.(html|css|client\\.js)$': '<rootDir>/text-transform.cjs', ...preset.transform },
};
