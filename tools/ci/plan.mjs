// What CI has to do for a change, as lines `NAME=VALUE` for the jobs of ci.yaml: the commit to compare with, the apps whose
// images are built, and whether the stack and the scripts are tried. The change is that from $NX_BASE to $NX_HEAD
// (default HEAD). tools/ci/affected.mjs is the table of what comes out.
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';

/** What decides how all of this runs: a change of it is tried with every job, for no other change would run them all. */
const RUNS_EVERYTHING = ['.github/workflows/ci.yaml', 'tools/ci/plan.mjs'];

/**
 * @typedef {object} Change
 * @property {readonly string[]} files  that differ
 * @property {readonly string[]} affected  projects, as Nx says
 * @property {readonly string[]} images  apps with an image
 */

/** @param {Change} change */
export function planOf({ files, affected, images }) {
  const all = files.some((file) => RUNS_EVERYTHING.includes(file));
  return {
    images: images.filter((app) => all || affected.includes(app)).sort(),
    stack: all || affected.includes('e2e'),
    scripts: all || affected.includes('scripts'),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { NX_BASE: base = '', NX_HEAD: head = 'HEAD' } = process.env;
  if (base === '') {
    console.error(
      'Usage: NX_BASE=COMMIT node tools/ci/plan.mjs\n\nPrints what CI does for the change from that commit to NX_HEAD (default HEAD).',
    );
    process.exit(2);
  }
  const nx = (/** @type {string[]} */ ...args) =>
    JSON.parse(run('node_modules/.bin/nx', ['show', 'projects', ...args, '--json']));
  const plan = planOf({
    files: run('git', ['diff', '--name-only', base, head]).split('\n'),
    affected: nx('--affected', `--base=${base}`, `--head=${head}`),
    images: nx('--with-target', 'docker'),
  });
  for (const [name, value] of Object.entries({ base, ...plan }))
    console.log(`${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
}

/** @param {string} file @param {readonly string[]} args @returns {string} what it prints */
function run(file, args) {
  const env = { ...process.env, NX_DAEMON: 'false' };
  const { status, stdout, stderr, error } = spawnSync(file, args, { encoding: 'utf8', env });
  if (status === 0) return stdout;
  console.error(`${file} ${args.join(' ')}: ${error?.message ?? stderr}`);
  process.exit(1);
}
