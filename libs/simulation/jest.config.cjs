module.exports = {
  ...require('../../jest.preset.cjs')('simulation', __dirname, { lines: 97, branches: 88 }),
  // Tests run in a context of their own, in which each look at a global is slow: a world computes twice as fast with it.
  sandboxInjectedGlobals: ['Math'],
};
