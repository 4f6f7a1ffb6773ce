const fs = require('node:fs');
const path = require('node:path');

/** Writes what ran, failed and was skipped to `test-output/results.json`, from which `make test` counts. */
module.exports = class JsonReporter {
  constructor(_globalConfig, options) {
    this.file = path.join(options.directory, 'test-output/results.json');
  }

  onRunComplete(_contexts, results) {
    const skipped = results.testResults.flatMap((suite) =>
      suite.testResults
        .filter((test) => test.status === 'pending' || test.status === 'todo')
        .map((test) => test.fullName),
    );
    fs.mkdirSync(path.dirname(this.file), { recursive: true });
    fs.writeFileSync(
      this.file,
      `${JSON.stringify(
        {
          passed: results.numPassedTests,
          failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
          skipped,
        },
        null,
        2,
      )}\n`,
    );
  }
};
