import { execFile, type ChildProcess, type ExecFileException } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, accessSync } from 'node:fs';
import path from 'node:path';

import nodeNvidiaSmi from 'node-nvidia-smi';

import { BackendError } from '../../reading.ts';
import { endProgram } from './end-program.ts';
import type { BadGpu } from './normalize-smi.ts';
import { MAX_OUTPUT_BYTES, parseSmiXml, smiLog } from './parse-smi-xml.ts';
import type { SmiElement } from './smi-element.ts';
import { badGpusIn, smiFailure, type SmiEnd } from './smi-failure.ts';
import { findStuckProcesses, isAlive, type StuckProcess } from './stuck-processes.ts';

/** What a run of nvidia-smi gave. */
export interface SmiOutput {
  readonly log: SmiElement;
  /** Of which it said beside the XML that it cannot read them. */
  readonly badGpus: readonly BadGpu[];
}

/** Runs nvidia-smi, one at a time. */
export interface SmiRun {
  /**
   * One output. When `signal` aborts, the program is told to end.
   * @throws BackendError `timeout` when it ended so; `hung` when it did not, and at once for as long as it lives, or one
   *   that an earlier gpu-reader left behind
   */
  read(signal: AbortSignal): Promise<SmiOutput>;
  /** Tells the program to end, if it runs; there is no further run. */
  end(): void;
}

export interface SmiRunParts {
  /** A name to look for in PATH, or a path. */
  readonly program: string;
  readonly procRoot: string;
  /** For how long a program that was told to end may live before it is abandoned. */
  readonly graceSeconds: number;
}

/**
 * The way to nvidia-smi: node-nvidia-smi, for as long as that works. It takes any byte on stderr and any exit code for
 * a failure, though nvidia-smi warns on stderr and ends with code 2 when one GPU of eight is bad; it reads at most 1 MiB
 * and has neither a deadline nor a handle to what it started. So its child is watched from here, and after its first
 * failure the program is run directly, for as long as this process lives.
 *
 * None is started beside one that is stuck in the driver, be it of this process or of a gpu-reader before it.
 */
export function createSmiRun({ program, procRoot, graceSeconds }: SmiRunParts): SmiRun {
  let living: ChildProcess | undefined;
  /** Undefined before the first run. */
  let leftBehind: readonly StuckProcess[] | undefined;
  let ended = false;
  let direct = path.basename(program) !== 'nvidia-smi';

  /** Runs `start` to its end, or until the signal aborts. */
  function supervise<Outcome>(
    start: (done: (outcome: Outcome) => void) => ChildProcess | undefined,
    signal: AbortSignal,
  ) {
    return new Promise<Outcome>((resolve, reject) => {
      const child = start((outcome) => {
        signal.removeEventListener('abort', onAbort);
        if (signal.aborted || ended) reject(timeout(program));
        else resolve(outcome);
      });
      living = child;
      child?.once('close', () => (living = undefined));
      // Where it could not be started at all, there may be no close.
      child?.once('error', () => (living = child.pid === undefined ? undefined : living));

      function onAbort(): void {
        if (child !== undefined) endProgram(child);
        // Not SIGKILL: that can wedge a GPU, and what is stuck in the driver does not die of it either.
        const grace = setTimeout(() => reject(hung(program)), graceSeconds * 1000);
        child?.once('close', () => {
          clearTimeout(grace);
          reject(timeout(program));
        });
      }
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async function readDirectly(signal: AbortSignal): Promise<SmiOutput> {
    const end = await supervise<SmiEnd>((done) => runDirectly(program, done), signal);
    if (end.code === TOO_MUCH) {
      throw new BackendError(
        'unreadable_output',
        `${program} -q -x printed more than ${MAX_OUTPUT_BYTES} bytes: is it nvidia-smi?`,
      );
    }
    const badGpus = badGpusIn(`${end.stdout}\n${end.stderr}`);
    // Good output counts, whatever the exit code and stderr are.
    if (end.stdout.includes('<nvidia_smi_log')) return { log: parseSmiXml(end.stdout), badGpus };
    if (badGpus.length > 0) return { log: {}, badGpus };
    throw smiFailure(program, end);
  }

  return {
    async read(signal) {
      if (living !== undefined) throw hung(program);
      leftBehind =
        leftBehind?.filter((stuck) => isAlive(procRoot, stuck)) ?? findStuckProcesses(procRoot, program);
      const [stuck] = leftBehind;
      if (stuck !== undefined) throw hungBefore(program, stuck);
      if (signal.aborted || ended) throw timeout(program);
      if (!direct) {
        const outcome = await supervise<PackageOutcome>((done) => runPackage(program, done), signal);
        if (outcome.log !== undefined) return { log: outcome.log, badGpus: [] };
        direct = true;
      }
      return readDirectly(signal);
    },
    end() {
      ended = true;
      if (living !== undefined) endProgram(living);
    },
  };
}

const TOO_MUCH = 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER';

function runDirectly(program: string, done: (end: SmiEnd) => void): ChildProcess {
  return execFile(
    program,
    ['-q', '-x'],
    { maxBuffer: MAX_OUTPUT_BYTES, windowsHide: true },
    (error, stdout, stderr) => {
      done({ stdout, stderr, ...endOf(error) });
    },
  );
}

function endOf(error: ExecFileException | null): Partial<SmiEnd> {
  const code = error?.code ?? undefined;
  const signal = error?.signal ?? undefined;
  return { ...(code === undefined ? {} : { code }), ...(signal === undefined ? {} : { signal }) };
}

interface PackageOutcome {
  /** Undefined when the package failed. */
  readonly log?: SmiElement;
}

function runPackage(program: string, done: (outcome: PackageOutcome) => void): ChildProcess | undefined {
  if (program.includes(path.sep) && !isExecutable(program)) {
    // PATH would lead to another one.
    queueMicrotask(() => done({}));
    return undefined;
  }
  const children: ChildProcess[] = [];
  const note = (message: unknown): void => void children.push(...startedChild(message));
  const pathBefore = process.env['PATH'];
  if (program.includes(path.sep)) {
    process.env['PATH'] = [path.dirname(path.resolve(program)), pathBefore].join(path.delimiter);
  }
  // The package starts its child before it returns, and tells nobody of it.
  subscribe('child_process', note);
  try {
    nodeNvidiaSmi((error, data) => done(error ? {} : readPackageData(data)));
  } finally {
    unsubscribe('child_process', note);
    if (pathBefore === undefined) delete process.env['PATH'];
    else process.env['PATH'] = pathBefore;
  }
  return children[0];
}

function readPackageData(data: unknown): PackageOutcome {
  try {
    return { log: smiLog(data) };
  } catch {
    return {}; // The direct way tells what is wrong with it.
  }
}

/** Node's channel of that name tells of each process as it is started. */
function startedChild(message: unknown): ChildProcess[] {
  return isChildMessage(message) ? [message.process] : [];
}

function isChildMessage(message: unknown): message is { readonly process: ChildProcess } {
  return typeof message === 'object' && message !== null && 'process' in message;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function timeout(program: string): BackendError {
  return new BackendError(
    'timeout',
    `${program} -q -x did not end in time and was told to: is a GPU stuck? See dmesg`,
  );
}

function hung(program: string): BackendError {
  return new BackendError(
    'hung',
    `${program} -q -x does not end though it was told to, and no second one is started: a GPU is stuck in the driver, see dmesg`,
  );
}

function hungBefore(program: string, { pid }: StuckProcess): BackendError {
  return new BackendError(
    'hung',
    `a ${program} that was started earlier (process ${pid}) is stuck in the driver, and no second one is started: see dmesg`,
  );
}
