// A copy of the workspace with a history of its own, for tests of what Git, its hooks and Nx do with a change.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
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
const IDENTITY = [
  '-c',
  'user.name=checks',
  '-c',
  'user.email=checks@localhost',
  '-c',
  'commit.gpgsign=false',
];

/** Why there can be no clone, or false. */
export const noGit = spawnSync('git', ['--version']).status === 0 ? false : 'no git';

export class ScratchClone {
  folder = mkdtempSync(join(tmpdir(), 'llm-monitor-clone-'));

  constructor() {
    cpSync(workspaceRoot, this.folder, {
      recursive: true,
      filter: (file) => !LEFT_BEHIND.includes(basename(file)),
    });
    this.#borrowPackages();
    this.run('git', ['init', '--quiet', '--initial-branch=main']);
    this.commit('chore: copy the workspace as it is', ['--no-verify']);
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Commits all that has changed. @param {string} message @param {readonly string[]} [options] */
  commit(message, options = ['--no-verify']) {
    const ended = this.tryCommit(message, options);
    assert.equal(ended.status, 0, ended.output);
  }

  /** The same, where it may be refused. @param {string} message @param {readonly string[]} [options] */
  tryCommit(message, options = []) {
    this.run('git', ['add', '--all']);
    return this.#ended('git', [...IDENTITY, 'commit', '--quiet', ...options, `--message=${message}`]);
  }

  /** What a program prints in the clone. @param {string} file @param {readonly string[]} args @throws where it fails */
  run(file, args) {
    const { status, stdout, output } = this.#ended(file, args);
    assert.equal(status, 0, `${file} ${args.join(' ')}: ${output}`);
    return stdout;
  }

  /** Third-party packages are shared with the workspace; the links to its own projects must stay in the clone. */
  #borrowPackages() {
    mkdirSync(join(this.folder, 'node_modules'));
    for (const name of readdirSync(join(workspaceRoot, 'node_modules'))) {
      const from = join(workspaceRoot, 'node_modules', name);
      const to = join(this.folder, 'node_modules', name);
      if (name === '@llm-monitor') cpSync(from, to, { recursive: true, verbatimSymlinks: true });
      else symlinkSync(from, to);
    }
  }

  /** @param {string} file @param {readonly string[]} args */
  #ended(file, args) {
    const { status, stdout, stderr } = spawnSync(file, args, {
      cwd: this.folder,
      encoding: 'utf8',
      env: environment(),
    });
    return { status, stdout, output: `${stderr}${stdout}` };
  }
}

/**
 * Ours without what would point git or Nx back at this workspace (a git hook sets GIT_DIR), silence the hooks, or ask a few
 * tests for the coverage of all.
 */
function environment() {
  const own = Object.entries(process.env).filter(([name]) => !/^(GIT_|NX_|LEFTHOOK|COVERAGE)/.test(name));
  return {
    ...Object.fromEntries(own),
    // The programs that install-test-tools.sh unpacked, which a clone has not.
    PATH: [process.env['PATH'], join(workspaceRoot, '.cache/tools')].join(delimiter),
    NX_DAEMON: 'false',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_SYSTEM: '/dev/null',
  };
}
