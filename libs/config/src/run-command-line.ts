import { type CommandLineArguments, parseArguments } from './command-line-arguments.ts';
import {
  type Command,
  commandFlagName,
  type CommandFlag,
  type CommandTable,
  type DeclaredSettings,
  defaultOf,
  type SettingsDefinition,
} from './definition.ts';
import type { z } from 'zod';
import { renderCheck, renderHelp } from './help.ts';
import { type LoadedSettings, readSettings, type SettingsSurroundings } from './load-settings.ts';
import { didYouMean } from './nearest-name.ts';
import { formatProblem, quoteValue, type SettingsProblem } from './problem.ts';

/** Where text goes: `process.stdout` fits. */
export interface TextOutput {
  write(text: string): unknown;
}

export interface CommandLineSurroundings extends SettingsSurroundings {
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  /** What `--version` and `--help` say. */
  readonly version: string;
}

type ArgumentsOf<Names extends readonly string[]> = {
  readonly [Index in keyof Names]: Names[Index] extends `[${string}]` ? string | undefined : string;
};

type FlagsOf<Entry extends Command> = Entry extends {
  flags: infer Flags extends Readonly<Record<string, CommandFlag>>;
}
  ? { readonly [Name in keyof Flags]: z.output<Flags[Name]['schema']> }
  : Record<never, never>;

type CommandRun<Commands extends CommandTable> = {
  [Name in keyof Commands]: {
    readonly command: Name;
    readonly arguments: ArgumentsOf<Commands[Name]['arguments']>;
    readonly flags: FlagsOf<Commands[Name]>;
  };
}[keyof Commands];

/** No command: the app does what it is for. */
interface PlainRun {
  readonly command: undefined;
  readonly arguments: readonly [];
  readonly flags: Record<never, never>;
}

/** The app is to run: with these settings, and this command if there is one. */
export type CommandLineRun<Values, Commands extends CommandTable> = {
  readonly run: true;
  readonly values: Values;
  readonly sources: LoadedSettings<Values>['sources'];
  readonly warnings: readonly string[];
} & (PlainRun | CommandRun<Commands>);

/** All is said: the process ends with this code. */
export interface CommandLineEnd {
  readonly run: false;
  readonly exitCode: 0 | 2;
}

/**
 * The command line of an app: `--help`, `--version` and `--check` are answered here, wrong settings are all listed on
 * stderr with exit code 2, everything else comes back to be run. Nothing of the process is touched but what is given.
 */
export function runCommandLine<Values, Commands extends CommandTable>(
  definition: SettingsDefinition<Values, Commands>,
  surroundings: CommandLineSurroundings,
): CommandLineRun<Values, Commands> | CommandLineEnd {
  const { argv, stdout, stderr, version } = surroundings;
  const { app } = definition;
  const parsed = parseArguments(definition, argv);
  if (isAsked(parsed, '--help')) return end(stdout, renderHelp(definition, version), 0);
  if (isAsked(parsed, '--version')) return end(stdout, `${app} ${version}\n`, 0);

  const loaded = readSettings(definition, parsed, surroundings);
  const command = readCommand(definition, parsed);
  const problems = [...command.problems, ...(loaded.ok ? [] : loaded.problems)];
  if (!loaded.ok || problems.length > 0) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    const lines = problems.map((problem) => `  - ${formatProblem(problem)}`);
    return end(stderr, `${app}: ${count} with its settings\n${lines.join('\n')}\nSee ${app} --help.\n`, 2);
  }
  if (isAsked(parsed, '--check')) {
    for (const warning of loaded.warnings) stderr.write(`warning: ${warning}\n`);
    const values = new Map(Object.entries(Object(loaded.values) as object));
    return end(stdout, renderCheck(definition, values, new Map(Object.entries(loaded.sources))), 0);
  }
  const { values, sources, warnings } = loaded;
  const { name, positionals, flags } = command;
  // readCommand has checked name, arguments and flags against the table that the type is made of
  return {
    run: true,
    values,
    sources,
    warnings,
    command: name,
    arguments: positionals,
    flags,
  } as CommandLineRun<Values, Commands>;
}

function end(output: TextOutput, text: string, exitCode: 0 | 2): CommandLineEnd {
  output.write(text);
  return { run: false, exitCode };
}

function isAsked(parsed: CommandLineArguments, flag: string): boolean {
  const value = parsed.values.get(flag);
  return value !== undefined && value !== 'false';
}

interface CommandReading {
  readonly name: string | undefined;
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
  readonly problems: readonly SettingsProblem[];
}

function readCommand(
  { app, commands, elsewhere }: DeclaredSettings,
  parsed: CommandLineArguments,
): CommandReading {
  const [name, ...positionals] = parsed.positionals;
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  const problems = foreignFlags(commands, command, parsed);
  if (name === undefined) return { name, positionals, flags: {}, problems };
  if (command === undefined) {
    const other = Object.hasOwn(elsewhere, name) ? elsewhere[name] : undefined;
    const shown = parsed.hasSecret ? '' : ` ${quoteValue(name)}`; // it may be the second word of a secret
    const known = Object.keys(commands);
    const hint =
      other !== undefined
        ? ` here: ${other}`
        : known.length === 0
          ? `; ${app} takes flags only`
          : didYouMean(name, known, `known commands are ${known.join(', ')}`);
    problems.push({
      kind: 'bad-command',
      where: 'command line',
      message: `there is no command${shown}${hint}`,
    });
    return { name: undefined, positionals: [], flags: {}, problems };
  }
  const required = command.arguments.filter((argument) => !argument.startsWith('[')).length;
  if (positionals.length < required || positionals.length > command.arguments.length) {
    const wanted = command.arguments.length === 0 ? 'no arguments' : command.arguments.join(' ');
    problems.push({
      kind: 'bad-command',
      where: name,
      message: `takes ${wanted}, got ${positionals.length}`,
    });
  }
  const flags: Record<string, unknown> = {};
  for (const [property, flag] of Object.entries(command.flags ?? {})) {
    const read = readCommandFlag(commandFlagName(property), flag, parsed);
    if (read.problem === undefined) flags[property] = read.value;
    else problems.push(read.problem);
  }
  return { name, positionals, flags, problems };
}

function readCommandFlag(
  where: string,
  { schema, example }: CommandFlag,
  parsed: CommandLineArguments,
): { value?: unknown; problem?: SettingsProblem } {
  const given = parsed.values.get(where);
  const hint = example === undefined ? '' : `, for example ${where}=${example}`;
  if (given === undefined) {
    const { required, value } = defaultOf(schema);
    if (!required || parsed.given.has(where)) return { value };
    return { problem: { kind: 'missing', where, message: `is required${hint}` } };
  }
  const checked = schema.safeParse(given.trim());
  if (checked.success) return { value: checked.data };
  const said = checked.error.issues.map(({ message }) => message).join('; ');
  return { problem: { kind: 'bad-value', where, message: `${said}${hint}; got ${quoteValue(given)}` } };
}

/** Flags that belong to a command other than the one given. */
function foreignFlags(
  commands: CommandTable,
  command: Command | undefined,
  parsed: CommandLineArguments,
): SettingsProblem[] {
  const owners = new Map<string, string[]>();
  for (const [name, { flags = {} }] of Object.entries(commands)) {
    for (const flag of Object.keys(flags).map(commandFlagName))
      owners.set(flag, [...(owners.get(flag) ?? []), name]);
  }
  const own = new Set(Object.keys(command?.flags ?? {}).map(commandFlagName));
  const strays = [...owners].filter(([flag]) => parsed.given.has(flag) && !own.has(flag));
  return strays.map(([flag, names]) => {
    return { kind: 'bad-command', where: flag, message: `belongs to the command ${names.join(' or ')}` };
  });
}
