import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { countTasks, verdict } from './verdict.mjs';

const clean = { results: [], notRun: [], strict: true, allowed: [], exists: () => false };
const withSkips = { ...clean, results: [{ passed: 4, failed: 0, skipped: ['reads vLLM (no captures)'] }] };
const allowed = [{ reason: 'no captures', unless: '../shared' }];

describe('the verdict of make test', () => {
  const cases = [
    {
      name: 'adds up the parts',
      run: { ...clean, results: [result(3, 0), result(2, 1)] },
      last: '5 passed, 1 failed',
    },
    { name: 'forgives a skip on a desk', run: { ...withSkips, strict: false }, last: '4 passed, 0 failed' },
    { name: 'refuses a skip in CI', run: withSkips, last: '4 passed, 1 failed' },
    { name: 'allows a listed skip in CI', run: { ...withSkips, allowed }, last: '4 passed, 0 failed' },
    {
      name: 'allows a skip that is listed for every machine',
      run: { ...withSkips, allowed: [{ reason: 'no captures' }], exists: () => true },
      last: '4 passed, 0 failed',
    },
    {
      name: 'refuses a listed skip where what it lacks is there',
      run: { ...withSkips, allowed, exists: (/** @type {string} */ path) => path === '../shared' },
      last: '4 passed, 1 failed',
    },
    {
      name: 'refuses a part that did not run in CI',
      run: { ...clean, notRun: [{ name: 'promtool', why: 'not Debian' }] },
      last: '0 passed, 1 failed',
    },
  ];
  for (const { name, run, last } of cases) {
    it(name, () => {
      const { lines, failed } = verdict(run);
      assert.equal(lines.at(-1), last);
      assert.equal(last.endsWith(`, ${failed} failed`), true);
    });
  }

  it('names what was skipped and what was not run', () => {
    const { lines } = verdict({
      ...withSkips,
      notRun: [{ name: 'promtool', why: 'not Debian' }],
      strict: false,
    });
    assert.deepEqual(lines, [
      '',
      'Skipped tests (1):',
      '  - reads vLLM (no captures)',
      '',
      'Not run (1):',
      '  - promtool: not Debian',
      '',
      '4 passed, 0 failed',
    ]);
  });
});

describe('the count of an Nx run', () => {
  const cases = [
    { name: 'a lint task as one', task: task('lint', 0), report: undefined, counts: result(1, 0) },
    { name: 'a failed build as one', task: task('build', 1), report: undefined, counts: result(0, 1) },
    { name: 'a test task as its tests', task: task('test', 0), report: result(7, 0), counts: result(7, 0) },
    { name: 'failed tests each', task: task('test', 1), report: result(5, 2), counts: result(5, 2) },
    { name: 'a crash after the tests', task: task('test', 1), report: result(5, 0), counts: result(5, 1) },
    { name: 'a test task without a report', task: task('test', 0), report: undefined, counts: result(0, 1) },
  ];
  for (const { name, task, report, counts } of cases) {
    it(`takes ${name}`, () =>
      assert.deepEqual(
        countTasks([task], () => report),
        counts,
      ));
  }
});

/** @param {number} passed @param {number} failed */
function result(passed, failed) {
  return { passed, failed, skipped: [] };
}

/** @param {string} target @param {number} status */
function task(target, status) {
  return { projectName: 'engines', target, status };
}
