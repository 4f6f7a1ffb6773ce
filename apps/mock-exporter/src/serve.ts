import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

import { runCommandLine } from '@llm-monitor/config';
import {
  AuthSettingsError,
  createLogger,
  ListenError,
  stopOnSignals,
  TlsSettingsError,
} from '@llm-monitor/exporter-http';

import { ModelTooLarge } from '@llm-monitor/simulation';

import { runControl, type ClientResult, type ControlCommand } from './control-client.ts';
import { controlAddress } from './control-address.ts';
import { loadScenario, portClash } from './load-scenario.ts';
import { startMock } from './mock.ts';
import { settings } from './settings.ts';
import { HostFolderError } from './smi-socket.ts';
import { VERSION } from './version.ts';

/** Streams under way are cut after it. */
const STOP_GRACE_SECONDS = 1;

/** Runs the mock, or a command against the one that runs. */
export async function serve(): Promise<void> {
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  const { env, stdout, stderr } = process;
  const run = runCommandLine(settings, {
    env,
    argv: process.argv.slice(2),
    readFile,
    stdout,
    stderr,
    version: VERSION,
  });
  if (!run.run) {
    process.exitCode = run.exitCode;
    return;
  }
  const { values } = run;
  const control = async (command: ControlCommand): Promise<void> => {
    try {
      tell(await runControl(controlAddress(values, readFile), command, calledAs(process.argv[1] ?? '')));
    } catch (error) {
      if (!isSettingsFailure(error)) throw error;
      tell({ stdout: '', stderr: `${error.message}\n`, exitCode: 1 });
    }
  };
  if (run.command === 'incidents') return control({ command: 'incidents' });
  if (run.command === 'stop') return control({ command: 'stop', incident: run.arguments[0] });
  if (run.command === 'start') {
    const [incident, target] = run.arguments;
    return control({ command: 'start', incident, target, forSeconds: run.flags.for });
  }

  const loaded = loadScenario(values.scenario, readFile);
  if (!loaded.ok) return tell({ stdout: '', stderr: `${loaded.message}\n`, exitCode: 2 });
  const clash = portClash(loaded.scenario, values);
  if (clash !== undefined) return tell({ stdout: '', stderr: `${clash}\n`, exitCode: 2 });
  const log = createLogger({ app: 'mock-exporter', level: values.logLevel });
  for (const warning of run.warnings) log.warn(warning);
  try {
    const smiScript = join(dirname(process.argv[1] ?? '.'), 'nvidia-smi.cjs');
    const mock = await startMock({ settings: values, scenario: loaded.scenario, smiScript, log });
    stopOnSignals(process, () => mock.stop(STOP_GRACE_SECONDS), log);
    for (const engine of mock.engines) log.info(engine, 'simulated engine');
    log.info({ url: mock.listening.url, scenario: values.scenario }, 'listening');
  } catch (error) {
    if (!isSettingsFailure(error)) throw error;
    log.fatal(error.message);
    process.exitCode = 1;
  }
}

/** How this program was called, for messages that name a command. @param script of this process */
function calledAs(script: string): string {
  const path = relative(process.cwd(), script);
  return `node ${path.startsWith('..') ? script : path}`;
}

function tell({ stdout, stderr, exitCode }: ClientResult): void {
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = exitCode;
}

/** What the user can mend, told without a stack. */
function isSettingsFailure(error: unknown): error is Error {
  return [ListenError, TlsSettingsError, AuthSettingsError, HostFolderError, ModelTooLarge].some(
    (kind) => error instanceof kind,
  );
}
