import { readFileSync } from 'node:fs';

import { runCommandLine } from '@llm-monitor/config';
import { logTargetEvent, readTargets } from '@llm-monitor/engines';
import {
  AuthSettingsError,
  createLogger,
  ListenError,
  stopOnSignals,
  TlsSettingsError,
} from '@llm-monitor/exporter-http';

import { hostGpus } from './host-gpus.ts';
import { startMonitor, type RunningMonitor } from './monitor.ts';
import { settings } from './settings.ts';
import { terminalLog } from './terminal.ts';
import { VERSION } from './version.ts';

/** Time for running scrapes to end after a signal; a service manager kills after 10 s or more. */
const STOP_GRACE_SECONDS = 8;

/** The half of the program that people look at. */
export async function serve(): Promise<void> {
  const run = runCommandLine(settings, {
    env: process.env,
    argv: process.argv.slice(2),
    readFile: readText,
    stdout: process.stdout,
    stderr: process.stderr,
    version: VERSION,
  });
  if (!run.run) {
    // Not process.exit: what was written to a pipe may still be on its way.
    process.exitCode = run.exitCode;
    return;
  }
  const targets = readTargets(run.values, readText);
  if (!targets.ok) {
    process.stderr.write(targets.problems.map((problem) => `monitor: ${problem}\n`).join(''));
    process.exitCode = 2;
    return;
  }
  // A person at a terminal reads lines; whatever else takes the output reads JSON.
  const log = createLogger({
    app: 'monitor',
    level: run.values.logLevel,
    ...(process.stdout.isTTY ? { destination: terminalLog(process.stdout) } : {}),
  });
  for (const warning of run.warnings) log.warn(warning);
  try {
    const monitor = await startMonitor({
      settings: run.values,
      configured: targets.targets,
      log,
      onEvent: logTargetEvent(log),
      ...(run.values.gpus
        ? {
            startGpus: hostGpus(run.values, {
              script: process.argv[1] ?? '',
              searchPath: process.env['PATH'],
              libraryPath: process.env['LD_LIBRARY_PATH'],
            }),
          }
        : {}),
    });
    stopOnSignals(process, () => monitor.stop(STOP_GRACE_SECONDS), log);
    log.info({ url: monitor.listening.url }, 'the page is open');
    await monitor.firstLook;
    if (isEmpty(monitor)) log.info('no LLM server found yet: the page says what is looked for');
  } catch (error) {
    if (!isSettingsFailure(error)) throw error;
    log.fatal(error.message);
    process.exitCode = 1;
  }
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

function isEmpty({ state }: RunningMonitor): boolean {
  return state().servers.length === 0;
}

/** What the user can mend, told without a stack. */
function isSettingsFailure(error: unknown): error is Error {
  return [ListenError, TlsSettingsError, AuthSettingsError].some((kind) => error instanceof kind);
}
