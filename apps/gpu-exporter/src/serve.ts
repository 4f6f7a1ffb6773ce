import { setFlagsFromString } from 'node:v8';
import { readFileSync, statSync } from 'node:fs';
import { arch, hostname, platform, release, userInfo } from 'node:os';

import { AuthSettingsError, ListenError, stopOnSignals, TlsSettingsError } from '@llm-monitor/exporter-http';

import type { Machine } from './check-report.ts';
import { runExporterCommandLine } from './command-line.ts';
import { exporterLogger, startExporter } from './exporter.ts';

/** Time for running scrapes to end after a signal: short, so that the whole stop, reader included, takes under 2 s. */
const STOP_GRACE_SECONDS = 1;

/**
 * The heap is collected a little sooner than V8 would by itself, near what is alive; sooner still, and collections show
 * in the slowest scrapes (tools/bench/gpus.mjs: p99 20 ms at 20 %, 7 to 9 ms at 100 %).
 */
function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=100');
}

/** Whoever reads our output may have seen enough, as `head` has: what is left to say is for nobody, and no failure. */
function endQuietlyUnread(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

/** The half of the program that people and Prometheus talk to. */
export async function serve(): Promise<void> {
  keepHeapSmall();
  endQuietlyUnread();
  const { env } = process;
  const decision = await runExporterCommandLine({
    env,
    argv: process.argv.slice(2),
    readFile: (path) => readFileSync(path, 'utf8'),
    isFolder,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    script: process.argv[1] ?? '',
    searchPath: env['PATH'],
    libraryPath: env['LD_LIBRARY_PATH'],
    stateDirectory: env['STATE_DIRECTORY'],
    machine: thisMachine(),
  });
  if (!decision.serve) {
    // Not process.exit: what was written to a pipe may still be on its way.
    process.exitCode = decision.exitCode;
    return;
  }
  const log = exporterLogger(decision.settings);
  for (const warning of decision.warnings) log.warn(warning);
  try {
    const exporter = await startExporter({ ...decision, log });
    stopOnSignals(process, () => exporter.stop(STOP_GRACE_SECONDS), log);
    log.info({ url: exporter.listening.url }, 'listening');
    const onFault = (err: unknown): void => log.error({ err }, 'a fault of this program: please report it');
    exporter.firstReading
      .then(() => log.info(exporter.overview(), 'first look at the GPUs has ended'))
      .catch(onFault);
    void exporter.persistentFailure.then(async (reasons) => {
      log.fatal({ reasons }, 'no GPU could be read for too long: ending, to be started anew');
      await exporter.stop(STOP_GRACE_SECONDS);
      process.exit(1);
    });
  } catch (error) {
    if (!isSettingsFailure(error)) throw error;
    log.fatal(error.message);
    process.exitCode = 1;
  }
}

/** What the user can mend, told without a stack. */
function isSettingsFailure(error: unknown): error is Error {
  return [ListenError, TlsSettingsError, AuthSettingsError].some((kind) => error instanceof kind);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // It is not there, or in a folder that this user may not enter.
  }
}

function thisMachine(): Machine {
  return {
    nodeVersion: process.version,
    platform: platform(),
    architecture: arch(),
    kernel: release(),
    hostName: hostname(),
    userName: userName(),
  };
}

function userName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined; // A user id without an entry, as containers have it: there is no name.
  }
}
