// `make test`: every check of the project, one after another; all are run even when one fails. Names of parts as
// arguments run only those; `all` adds the end-to-end tests, which need a Docker engine and minutes. With CI=true a part
// that cannot run, or a skipped test, is a failure.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pathOf } from './programs.mjs';
import { countTasks, verdict } from './verdict.mjs';

/** @typedef {import('./verdict.mjs').Results} Results */

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const nx = 'node_modules/.bin/nx';
const PRETTIER_CACHE = ['--cache', '--cache-location=.cache/prettier', '--cache-strategy=content'];

/** @type {import('./verdict.mjs').NotRun[]} */
const notRun = [];

/** The parts in their order; each answers what passed, failed and was skipped. */
const PARTS = /** @type {Record<string, () => Results>} */ ({
  tools: installTools,
  format: () =>
    program('node_modules/.bin/prettier', ['--log-level', 'warn', ...PRETTIER_CACHE, '--check', '.']),
  references: () => program(nx, ['sync:check']),
  generated: checkGenerated,
  projects: runProjects,
  workspace: () =>
    ran(nx, ['run-many', '-t', 'build']) // they run the bundles; at once where they are up to date
      ? runNodeTests('tools/checks', '.test.mjs', 3) // most of them wait for processes
      : { passed: 0, failed: 1, skipped: [] },
  e2e: () => runNodeTests('tools/e2e', '.e2e.mjs', 1), // there is one engine
});
const NOT_BY_DEFAULT = ['e2e'];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => name !== 'all' && !Object.hasOwn(PARTS, name));
if (unknown.length > 0) {
  console.error(
    `No such part: ${unknown.join(', ')}. The parts are ${Object.keys(PARTS).join(', ')}, or all.`,
  );
  process.exit(2);
}
process.chdir(workspaceRoot);
const results = Object.entries(PARTS)
  .filter(([name]) =>
    asked.length === 0 ? !NOT_BY_DEFAULT.includes(name) : asked.includes(name) || asked.includes('all'),
  )
  .map(([name, run]) => timed(name, run));
const { lines, failed } = verdict({
  results,
  notRun,
  strict: process.env['CI'] === 'true',
  allowed: JSON.parse(readFileSync('tools/checks/allowed-skips.json', 'utf8')),
  exists: existsSync,
});
console.log(lines.join('\n'));
process.exitCode = failed > 0 ? 1 : 0;

/** @param {string} name @param {() => Results} run */
function timed(name, run) {
  console.log(`\n── ${name}`);
  const start = process.hrtime.bigint();
  const result = run();
  const seconds = (Number(process.hrtime.bigint() - start) / 1e9).toFixed(1);
  console.log(`${result.failed > 0 ? '✘' : '✔'} ${name} (${seconds} s)`);
  return result;
}

/**
 * Runs a program with its output shown; true when it ended well.
 * @param {string} file @param {string[]} args @param {Record<string, string>} [more] of the environment
 */
function ran(file, args, more = {}) {
  const env = { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false', ...more };
  const { status, error } = spawnSync(file, args, { stdio: ['ignore', 'inherit', 'inherit'], env });
  if (error !== undefined) console.error(`${file} could not be started: ${error.message}`);
  return status === 0;
}

/** A part that is one program: it passes or fails as a whole. @param {string} file @param {string[]} args */
function program(file, args) {
  return ran(file, args) ? { passed: 1, failed: 0, skipped: [] } : { passed: 0, failed: 1, skipped: [] };
}

function installTools() {
  const { status, stdout } = spawnSync('scripts/setup/install-test-tools.sh', {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const text = stdout ?? '';
  process.stdout.write(text);
  const missing = [...text.matchAll(/^missing: (\S+): (.*)$/gm)];
  for (const [, name = '', why = ''] of missing) notRun.push({ name, why });
  return { passed: 0, failed: status === 0 || missing.length > 0 ? 0 : 1, skipped: [] };
}

function checkGenerated() {
  const script = 'tools/checks/generate.mjs';
  if (existsSync(script)) return program(process.execPath, [script, '--check']);
  notRun.push({ name: 'generated files', why: `${script} is not there` });
  return { passed: 0, failed: 0, skipped: [] };
}

/** Lint, types, bundles and tests of every project, in one Nx run, which leaves a list of its tasks. */
function runProjects() {
  const taskList = '.nx/cache/run.json';
  rmSync(taskList, { force: true });
  for (const root of projectRoots().values())
    rmSync(join(root, 'test-output'), { recursive: true, force: true });
  const lacking = ['gcc', 'promtool'].filter((name) => pathOf(name, true) === '');
  if (lacking.length > 0)
    notRun.push({ name: 'the floors of coverage', why: `no ${lacking.join(', no ')}: tests are skipped` });
  const well = ran(nx, ['run-many', '-t', 'lint', 'typecheck', 'build', 'test', '--nxBail=false'], {
    COVERAGE: String(lacking.length === 0),
  });
  if (!existsSync(taskList)) return { passed: 0, failed: 1, skipped: [] };
  const roots = projectRoots();
  const counted = countTasks(JSON.parse(readFileSync(taskList, 'utf8')).tasks, (name) => {
    const report = readReport(join(roots.get(name) ?? '', 'test-output/results.json'));
    if (report === undefined) console.error(`${name}: the tests left no test-output/results.json`);
    return report;
  });
  return well ? counted : { ...counted, failed: Math.max(counted.failed, 1) };
}

/**
 * Tests of the workspace as a whole: they read everything, so Nx could not say when they are out of date.
 * @param {string} folder @param {string} suffix of the files with tests @param {number} atOnce
 */
function runNodeTests(folder, suffix, atOnce) {
  const report = `${folder}/test-output/results.json`;
  rmSync(report, { force: true });
  mkdirSync(`${folder}/test-output`, { recursive: true });
  const well = ran(process.execPath, [
    '--test',
    `--test-concurrency=${atOnce}`,
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...['--test-reporter=./tools/checks/node-test-reporter.mjs', `--test-reporter-destination=${report}`],
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith(suffix))
      .map((name) => join(folder, name)),
  ]);
  const counted = readReport(report) ?? { passed: 0, failed: 1, skipped: [] };
  return well ? counted : { ...counted, failed: Math.max(counted.failed, 1) };
}

/** @param {string} file @returns {Results | undefined} */
function readReport(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

/** The folder of each project by its short name. @returns {Map<string, string>} */
function projectRoots() {
  const roots = ['apps', 'libs', 'tools'].flatMap((group) =>
    readdirSync(group).map((name) => join(group, name)),
  );
  return new Map(
    roots
      .filter((root) => existsSync(join(root, 'project.json')))
      .map((root) => [JSON.parse(readFileSync(join(root, 'project.json'), 'utf8')).name, root]),
  );
}
