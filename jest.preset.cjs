const path = require('node:path');

/**
 * One jest configuration for every project: SWC transform, a machine-readable report, fixed seeds.
 * `floor` is the least of lines and branches (percent) that the tests of a library reach. It counts with COVERAGE=true
 * only, as `make test` and CI run: a run of one file reaches little. Whoever adds tests raises it.
 */
module.exports = (name, directory, floor) => ({
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
  ...(floor && {
    collectCoverage: process.env.COVERAGE === 'true',
    collectCoverageFrom: ['src/**/*.ts', '!src/**/*.spec.ts', '!src/**/test-*.ts'],
    coverageReporters: ['text-summary', 'json-summary'],
    coverageThreshold: { global: floor },
  }),
});
