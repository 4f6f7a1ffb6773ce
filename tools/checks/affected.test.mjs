import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const LEFT_BEHIND = [
  '.git',
  '.nx',
  '.cache',
  'node_modules',
  'dist',
  'out-tsc',
  'test-output',
  'coverage',
  'reports',
];

const noGit = spawnSync('git', ['--version']).status === 0 ? false : 'no git';

describe('nx affected', { skip: noGit }, () => {
  /** @type {string} */
  let clone;

  before(() => {
    clone = mkdtempSync(join(tmpdir(), 'llm-monitor-affected-'));
    cpSync(workspaceRoot, clone, {
      recursive: true,
      filter: (file) => !LEFT_BEHIND.includes(basename(file)),
    });
    borrowPackages();
    run('git', ['init', '--quiet', '--initial-branch=main']);
    commit('the workspace as it is');
  });
  after(() => rmSync(clone, { recursive: true, force: true }));

  it('finds nothing to test after a change of docs alone', () => {
    mkdirSync(join(clone, 'docs'), { recursive: true });
    writeFileSync(join(clone, 'docs/another-page.md'), 'Words.\n');
    appendFileSync(join(clone, 'README.md'), '\nMore words.\n');
    commit('docs');
    assert.deepEqual(affectedTests(), []);
  });

  it('finds a library and all that stand on it after a change of the library', () => {
    appendFileSync(join(clone, 'libs/metrics-core/src/index.ts'), '\n// Changed.\n');
    commit('metrics-core');
    const affected = affectedTests();
    for (const name of ['metrics-core', 'engines', 'llm-exporter', 'monitor']) {
      assert.ok(affected.includes(name), `${name} is missing in ${affected.join(', ')}`);
    }
    assert.ok(!affected.includes('config'), 'config does not stand on metrics-core');
  });

  /** Third-party packages are shared with this workspace; the links to its own projects must stay in the clone. */
  function borrowPackages() {
    mkdirSync(join(clone, 'node_modules'));
    for (const name of readdirSync(join(workspaceRoot, 'node_modules'))) {
      const from = join(workspaceRoot, 'node_modules', name);
      const to = join(clone, 'node_modules', name);
      if (name === '@llm-monitor') cpSync(from, to, { recursive: true, verbatimSymlinks: true });
      else symlinkSync(from, to);
    }
  }

  /** The projects whose tests the last commit affects. */
  function affectedTests() {
    const args = [
      'show',
      'projects',
      '--affected',
      '--base=HEAD~1',
      '--head=HEAD',
      '--with-target=test',
      '--json',
    ];
    return JSON.parse(run(join(clone, 'node_modules/.bin/nx'), args));
  }

  /** @param {string} message */
  function commit(message) {
    run('git', ['add', '--all']);
    const identity = [
      '-c',
      'user.name=checks',
      '-c',
      'user.email=checks@localhost',
      '-c',
      'commit.gpgsign=false',
    ];
    run('git', [...identity, 'commit', '--quiet', '--no-verify', `--message=${message}`]);
  }

  /** @param {string} file @param {string[]} args */
  function run(file, args) {
    const { status, stdout, stderr } = spawnSync(file, args, {
      cwd: clone,
      encoding: 'utf8',
      env: environment(),
    });
    assert.equal(status, 0, `${file} ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }
});

/** Ours without what would point git or Nx back at this workspace (a git hook sets GIT_DIR). */
function environment() {
  const own = Object.entries(process.env).filter(([name]) => !/^(GIT|NX)_/.test(name));
  return {
    ...Object.fromEntries(own),
    NX_DAEMON: 'false',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
  };
}
