import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';

const SOURCE = path.resolve(__dirname, '../library/fake-nvml.c');
const FLAGS = ['-O1', '-shared', '-fPIC', '-Wall', '-Wextra', '-Werror', '-pthread'];
const LIBRARY = 'libnvidia-ml.so.1';

/** Why the fake library is not there, for the name of a skipped test. */
export const noCompilerReason = 'no compiler: install gcc';

/** Which library to build. */
export interface FakeNvmlVariant {
  /** Functions that it does not export, as a library from before their time. */
  readonly without?: readonly string[];
}

/**
 * Path of a fake `libnvidia-ml.so.1`, compiled once per variant and source into the folder for temporary files.
 * Undefined where there is neither `gcc` nor `cc`.
 * @throws Error when there is a compiler and it fails, with what it said
 */
export function buildFakeNvml({ without = [] }: FakeNvmlVariant = {}): string | undefined {
  const hidden = [...without].sort();
  const key = createHash('sha256')
    .update(readFileSync(SOURCE))
    .update(JSON.stringify([FLAGS, hidden, process.arch]))
    .digest('hex')
    .slice(0, 16);
  const folder = path.join(tmpdir(), `fake-nvml-${userInfo().uid}`, key);
  const library = path.join(folder, LIBRARY);
  if (existsSync(library)) return library;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Of this process alone until it is whole: tests build in parallel.
  const unfinished = path.join(folder, `${LIBRARY}.${process.pid}`);
  const script = path.join(folder, `exports.${process.pid}`);
  writeFileSync(script, versionScript(hidden));
  try {
    return compile(script, unfinished, library);
  } finally {
    rmSync(script, { force: true });
  }
}

function compile(script: string, unfinished: string, library: string): string | undefined {
  for (const compiler of ['gcc', 'cc']) {
    const { status, stderr, error } = spawnSync(
      compiler,
      [...FLAGS, `-Wl,--version-script=${script}`, SOURCE, '-o', unfinished],
      { encoding: 'utf8' },
    );
    if (isMissing(error)) continue;
    if (status !== 0) throw new Error(`${compiler} did not compile ${SOURCE}: ${error?.message ?? stderr}`);
    publish(unfinished, library);
    return library;
  }
  return undefined;
}

/** The linker keeps a symbol that is named apart from one that only matches `nvml*`. */
function versionScript(hidden: readonly string[]): string {
  const local = ['*', ...hidden].map((symbol) => `${symbol}; `).join('');
  return `{ global: nvml*; fakeNvmlConfigure; local: ${local}};\n`;
}

/** Whoever is first wins: a file that took its place would be another library to a process that has it loaded. */
function publish(unfinished: string, library: string): void {
  try {
    linkSync(unfinished, library);
  } catch (error) {
    if (!existsSync(library)) throw error;
  } finally {
    rmSync(unfinished, { force: true });
  }
}

function isMissing(error: Error | undefined): boolean {
  return error !== undefined && 'code' in error && error.code === 'ENOENT';
}
