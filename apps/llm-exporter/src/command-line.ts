import type { Readable } from 'node:stream';

import {
  runCommandLine,
  type CommandLineRun,
  type CommandLineSurroundings,
  type SettingsDefinition,
} from '@llm-monitor/config';
import { readTargets, type Candidates, type ConfiguredTarget } from '@llm-monitor/engines';
import { pino } from 'pino';

import { checkTargets } from './check-command.ts';
import { createExporter } from './exporter.ts';
import { readFileCommand } from './read-command.ts';
import { settings, type Settings } from './settings.ts';
import { VERSION } from './version.ts';

export interface Surroundings extends Omit<CommandLineSurroundings, 'version'> {
  readonly stdin: Readable;
  /** Looks at this host; the real one unless a test gives another. */
  readonly discover?: () => Promise<Candidates>;
}

/** What the command line comes to: the process ends with a code, or the exporter is to serve. */
export type Decision =
  | { readonly serve: false; readonly exitCode: number }
  | {
      readonly serve: true;
      readonly settings: Settings;
      readonly configured: readonly ConfiguredTarget[];
      readonly warnings: readonly string[];
    };

type Run =
  typeof settings extends SettingsDefinition<infer Values, infer Commands>
    ? CommandLineRun<Values, Commands>
    : never;

/** Reads the settings and runs the command, if there is one. Wrong settings are all listed, with exit code 2. */
export async function runExporterCommandLine(surroundings: Surroundings): Promise<Decision> {
  const { stdout, stderr, readFile } = surroundings;
  const run = runCommandLine(settings, { ...surroundings, version: VERSION });
  if (!run.run) return { serve: false, exitCode: run.exitCode };
  if (run.command === 'read') {
    const [file] = run.arguments;
    const result = await readFileCommand(file, run.flags.engine, surroundings.stdin);
    stdout.write(result.stdout);
    stderr.write(result.stderr);
    return { serve: false, exitCode: result.exitCode };
  }
  const targets = readTargets(run.values, readFile);
  if (!targets.ok) {
    stderr.write(`llm-exporter: ${targets.problems.join('\nllm-exporter: ')}\n`);
    return { serve: false, exitCode: 2 };
  }
  if (run.command === 'check') return check(run, targets.targets, surroundings);
  return { serve: true, settings: run.values, configured: targets.targets, warnings: run.warnings };
}

async function check(
  { values, warnings }: Run,
  configured: readonly ConfiguredTarget[],
  { stdout, stderr, discover }: Surroundings,
): Promise<Decision> {
  for (const warning of warnings) stderr.write(`warning: ${warning}\n`);
  const { book, collection } = createExporter({
    settings: values,
    configured,
    log: pino({ level: 'silent' }),
    ...(discover === undefined ? {} : { discover }),
  });
  const { text, exitCode } = await checkTargets(book, () => collection.collect(values.scrapeTimeout * 1000));
  stdout.write(text);
  return { serve: false, exitCode };
}
