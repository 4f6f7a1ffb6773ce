import type { Readable } from 'node:stream';

import {
  runCommandLine,
  type CommandLineRun,
  type CommandLineSurroundings,
  type SettingsDefinition,
} from '@llm-monitor/config';
import { startGpuWatch, type GpuWatch, type GpuWatchParts } from '@llm-monitor/gpus';
import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import { lookOnce, renderCheck } from './check-command.ts';
import { renderReport, type Machine } from './check-report.ts';
import { watchPartsOf, type ProcessFacts } from './exporter.ts';
import { readFileCommand } from './read-command.ts';
import { settings, type Settings } from './settings.ts';
import { VERSION } from './version.ts';

export interface Surroundings extends Omit<CommandLineSurroundings, 'version'>, ProcessFacts {
  readonly stdin: Readable;
  readonly machine: Machine;
  /** The real ones unless a test gives others. */
  readonly startWatch?: (parts: GpuWatchParts) => GpuWatch;
  readonly clock?: Clock;
}

/** What the command line comes to: the process ends with a code, or the exporter is to serve. */
export type Decision =
  | { readonly serve: false; readonly exitCode: number }
  | {
      readonly serve: true;
      readonly settings: Settings;
      readonly processFacts: ProcessFacts;
      readonly warnings: readonly string[];
    };

type Run =
  typeof settings extends SettingsDefinition<infer Values, infer Commands>
    ? CommandLineRun<Values, Commands>
    : never;

/** Reads the settings and runs the command, if there is one. Wrong settings are all listed, with exit code 2. */
export async function runExporterCommandLine(surroundings: Surroundings): Promise<Decision> {
  const { stdout, stderr, stdin, script, searchPath, libraryPath, stateDirectory } = surroundings;
  const run = runCommandLine(settings, { ...surroundings, version: VERSION });
  if (!run.run) return { serve: false, exitCode: run.exitCode };
  if (run.command === 'read') {
    const [file] = run.arguments;
    const result = await readFileCommand(file, stdin);
    stdout.write(result.stdout);
    stderr.write(result.stderr);
    return { serve: false, exitCode: result.exitCode };
  }
  const processFacts = { script, searchPath, libraryPath, stateDirectory };
  if (run.command === 'check') return check(run, run.flags, processFacts, surroundings);
  return { serve: true, settings: run.values, processFacts, warnings: run.warnings };
}

async function check(
  { values, warnings }: Run,
  { report: asReport, verbose }: { readonly report: boolean; readonly verbose: boolean },
  processFacts: ProcessFacts,
  { stdout, stderr, readFile, machine, startWatch = startGpuWatch, clock = systemClock }: Surroundings,
): Promise<Decision> {
  for (const warning of warnings) stderr.write(`warning: ${warning}\n`);
  // One look is no restart: it neither takes over nor adds to the energy that the exporter keeps.
  const { settings: watchSettings, ...parts } = watchPartsOf(values, processFacts);
  const watch = startWatch({
    ...parts,
    settings: { ...watchSettings, stateFile: undefined },
    collectors: { succeeded() {}, failed() {}, forget() {} },
    log: { info() {}, warn() {}, error() {} },
    clock,
  });
  // The clock's timers keep no process alive: between a reader that failed and the next there is nothing else.
  const alive = setInterval(() => undefined, 1000);
  try {
    const look = await lookOnce(watch, values.deadline, clock);
    const now = clock.unixSeconds();
    const { text, exitCode } = renderCheck(look, {
      expectedDevices: values.expectedDevices,
      kernelLog: values.kernelLog,
      verbose,
      nowUnixSeconds: now,
    });
    const report = (): string =>
      renderReport(look, {
        ...machine,
        version: VERSION,
        operatingSystem: operatingSystem(readFile),
        at: new Date(now * 1000).toISOString(),
      });
    stdout.write(asReport ? report() : text);
    return { serve: false, exitCode };
  } finally {
    await watch.stop();
    clearInterval(alive);
  }
}

function operatingSystem(readFile: Surroundings['readFile']): string | undefined {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFile('/etc/os-release'))?.[1];
  } catch {
    return undefined; // Not a Linux with that file: the platform is told anyway.
  }
}
