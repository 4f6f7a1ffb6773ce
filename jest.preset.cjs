const path = require('node:path');

/** One jest configuration for every project: SWC transform, a machine-readable report, fixed seeds. */
module.exports = (name, directory) => ({
  displayName: name,
  rootDir: directory,
  testEnvironment: 'node',
  testMatch: ['<rootDir>/src/**/*.spec.ts'],
  moduleFileExtensions: ['ts', 'js', 'cjs', 'mjs', 'json'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
      },
    ],
  },
  coverageDirectory: path.join(directory, 'test-output/coverage'),
  reporters: ['default', [path.join(__dirname, 'tools/testing/json-reporter.cjs'), { directory }]],
});
