import {
  type CommandTable,
  commandFlagName,
  type DeclaredSetting,
  type DeclaredSettings,
} from './definition.ts';
import { didYouMean } from './nearest-name.ts';
import type { SettingsProblem } from './problem.ts';
import { kindOf } from './setting-schema.ts';

/** The command line taken apart by the names of a definition; values are still text. */
export interface CommandLineArguments {
  /** Flag (`--port`) -> value as given. */
  readonly values: ReadonlyMap<string, string>;
  /** Flags that were given, though perhaps wrongly: they are not missing. */
  readonly given: ReadonlySet<string>;
  readonly positionals: readonly string[];
  /** A secret stood on the command line, so no stray word of it may be printed. */
  readonly hasSecret: boolean;
  readonly problems: readonly SettingsProblem[];
}

type Taking = 'value' | 'nothing' | 'refused-secret';

interface KnownFlag {
  readonly taking: Taking;
  /** The flag and value that a switch stands for: `--no-color` is `--color=false`. */
  readonly meaning: readonly [string, string];
  readonly example: string;
}

/** Takes `argv` (without node and script) apart; wrong flags become problems, which never quote a value. */
export function parseArguments(definition: DeclaredSettings, argv: readonly string[]): CommandLineArguments {
  const known = knownFlags(definition);
  const values = new Map<string, string>();
  const given = new Set<string>();
  const positionals: string[] = [];
  const problems: SettingsProblem[] = [];
  let hasSecret = false;

  const set = (flag: string, value: string) => {
    if (given.has(flag))
      problems.push({ kind: 'conflict', where: flag, message: 'is given twice; keep one' });
    given.add(flag);
    values.set(flag, value);
  };

  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      positionals.push(...rest);
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word);
      continue;
    }
    const { name, value } = splitFlag(word);
    const flag = known.get(name);
    if (flag?.taking === 'nothing') {
      const [meant, meaning] = flag.meaning;
      if (value !== undefined && meant !== name) {
        problems.push({
          kind: 'bad-value',
          where: name,
          message: `takes no value; write ${meant}=false or ${meant}=true`,
        });
      } else set(meant, value ?? meaning);
      continue;
    }
    const nextIsValue = value === undefined && rest[0] !== undefined && !looksLikeFlag(rest[0]);
    const taken = value ?? (nextIsValue ? rest.shift() : undefined);
    if (flag === undefined) {
      problems.push(unknownFlag(name, known.keys(), definition.app));
      hasSecret = true; // what followed may have been meant for a secret
    } else if (flag.taking === 'refused-secret') {
      problems.push(secretFlag(name, flag.example));
      given.add(name);
      hasSecret = true;
    } else if (taken === undefined) {
      problems.push({
        kind: 'bad-value',
        where: name,
        message: `needs a value, for example ${name}=${flag.example}`,
      });
      given.add(name);
    } else set(name, taken);
  }
  return { values, given, positionals, hasSecret, problems };
}

function splitFlag(word: string): { name: string; value: string | undefined } {
  if (word === '-h') return { name: '--help', value: undefined };
  const equals = word.indexOf('=');
  return equals < 0
    ? { name: word, value: undefined }
    : { name: word.slice(0, equals), value: word.slice(equals + 1) };
}

/** A value may start with a dash (`-5`), so only two dashes and a letter make the next word a flag. */
function looksLikeFlag(word: string): boolean {
  return word === '--' || /^--[a-z][a-z0-9-]*(=|$)/.test(word);
}

function unknownFlag(name: string, known: Iterable<string>, app: string): SettingsProblem {
  // A secret may cling to a misspelled flag (`--tokenn:abc`): what is no letter of a flag is not shown.
  const where = /^-{1,2}[\w-]{0,40}/.exec(name)?.[0] ?? '-';
  return {
    kind: 'unknown-name',
    where,
    message: `no such flag${didYouMean(name, known, `see ${app} --help`)}`,
  };
}

function secretFlag(name: string, variable: string): SettingsProblem {
  const message = `every user of this host can read a command line; write ${name}-file FILE or set ${variable}`;
  return { kind: 'bad-value', where: name, message };
}

function knownFlags(definition: DeclaredSettings): Map<string, KnownFlag> {
  const flags = new Map<string, KnownFlag>();
  const add = (name: string, taking: Taking, example: string) =>
    flags.set(name, { taking, meaning: [name, 'true'], example });
  for (const name of ['--help', '--version', '--check']) add(name, 'nothing', '');
  add('--config', 'value', `${definition.app}.yaml`);
  const addFlag = (name: string, { schema, example }: Pick<DeclaredSetting, 'schema' | 'example'>) => {
    const isSwitch = kindOf(schema)?.isSwitch ?? false;
    add(name, isSwitch ? 'nothing' : 'value', example);
    if (isSwitch)
      flags.set(`--no-${name.slice(2)}`, { taking: 'nothing', meaning: [name, 'false'], example });
  };
  for (const setting of definition.settings) {
    if (!setting.secret) addFlag(setting.flag, setting);
    else {
      add(`${setting.flag}-file`, 'value', `/run/secrets/${setting.flag.slice(2)}`);
      add(setting.flag, 'refused-secret', setting.variable);
    }
  }
  for (const [name, flag] of commandFlags(definition.commands)) addFlag(name, flag);
  return flags;
}

function* commandFlags(
  commands: CommandTable,
): Generator<[string, Pick<DeclaredSetting, 'schema' | 'example'>]> {
  for (const command of Object.values(commands)) {
    for (const [property, { schema, example }] of Object.entries(command.flags ?? {})) {
      yield [commandFlagName(property), { schema, example: example ?? kindOf(schema)?.example ?? 'value' }];
    }
  }
}
