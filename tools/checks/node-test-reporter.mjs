// Reports what ran, failed and was skipped under node:test in the shape that tools/testing/json-reporter.cjs writes
// for jest, so that `make test` counts both alike.

/** @param {AsyncIterable<{ type: string, data: any }>} events */
export default async function* nodeTestReporter(events) {
  const results = { passed: 0, failed: 0, skipped: /** @type {string[]} */ ([]) };
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const left = data.skip ?? data.todo;
    if (left !== undefined) results.skipped.push(left === true ? data.name : `${data.name}: ${left}`);
    else if (data.details?.type === 'suite') continue;
    else if (type === 'test:pass') results.passed += 1;
    else results.failed += 1;
  }
  yield `${JSON.stringify(results, null, 2)}\n`;
}
