/**
 * @typedef {{ passed: number, failed: number, skipped: string[] }} Results  What a test runner reported.
 * @typedef {{ name: string, why: string }} NotRun  A part of `make test`, or a tool, that was not there to run.
 * @typedef {{ reason: string, unless?: string }} AllowedSkip  A skip whose text holds `reason` is in order, as long as
 *   the path `unless` (from the workspace root), where there is one, does not exist.
 */

/**
 * The end of `make test`: what was skipped, what was not run, and the sum, as lines of text. In a strict run (CI) a
 * skip that is not allowed and a part that did not run count as failures.
 *
 * @param {{ results: Results[], notRun: NotRun[], strict: boolean, allowed: AllowedSkip[],
 *   exists: (path: string) => boolean }} run
 * @returns {{ lines: string[], failed: number }}
 */
export function verdict({ results, notRun, strict, allowed, exists }) {
  const skipped = results.flatMap((result) => result.skipped);
  /** @param {string} text */
  const isAllowed = (text) =>
    allowed.some(({ reason, unless }) => text.includes(reason) && (unless === undefined || !exists(unless)));
  const refused = strict
    ? [...skipped, ...notRun.map(({ why }) => why)].filter((text) => !isAllowed(text)).length
    : 0;
  const passed = sum(results.map((result) => result.passed));
  const failed = sum(results.map((result) => result.failed)) + refused;
  return {
    failed,
    lines: [
      ...list('Skipped tests', skipped),
      ...list(
        'Not run',
        notRun.map(({ name, why }) => `${name}: ${why}`),
      ),
      ...(refused > 0 ? ['', `${refused} of these count as failures here: CI runs everything.`] : []),
      '',
      `${passed} passed, ${failed} failed`,
    ],
  };
}

/**
 * What an Nx run amounts to: one for each task, save that a test task counts as the tests it ran. A test task that
 * failed without a failed test, or left no report, is one failure.
 *
 * @param {{ projectName: string, target: string, status: number }[]} tasks
 * @param {(projectName: string) => Results | undefined} reportOf
 * @returns {Results}
 */
export function countTasks(tasks, reportOf) {
  const results = tasks.map(({ projectName, target, status }) => {
    if (target !== 'test') return { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: [] };
    const report = reportOf(projectName);
    if (report === undefined) return { passed: 0, failed: 1, skipped: [] };
    return { ...report, failed: status === 0 ? report.failed : Math.max(report.failed, 1) };
  });
  return {
    passed: sum(results.map((result) => result.passed)),
    failed: sum(results.map((result) => result.failed)),
    skipped: results.flatMap((result) => result.skipped),
  };
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/** @param {string} title @param {string[]} entries */
function list(title, entries) {
  return entries.length === 0
    ? []
    : ['', `${title} (${entries.length}):`, ...entries.map((entry) => `  - ${entry}`)];
}
