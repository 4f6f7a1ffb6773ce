import type { z } from 'zod';
import { formatValue, kindOf } from './setting-schema.ts';
import type { Secret } from './secret.ts';

/** One setting of an app; the key it stands under in its table is its environment variable. */
export interface Setting {
  /** Parses text and native YAML values. `.default(value)` gives a default, `.optional()` allows absence, else it is required. */
  readonly schema: z.ZodType;
  /** One sentence on what it is for. */
  readonly help: string;
  /** A value that the schema accepts, as the environment would give it; when absent the default, or else the schema's own. */
  readonly example?: string;
  /** Never printed, wrapped in `Secret`, given by environment or file only (`NAME_FILE`, `--name-file`). */
  readonly secret?: true;
  /** Heading in help and documentation. */
  readonly group?: string;
}

export type SettingsTable = Readonly<Record<string, Setting>>;

/** A flag of one command, under its camelCase name. */
export interface CommandFlag {
  readonly schema: z.ZodType;
  readonly help: string;
  readonly example?: string;
}

/** A subcommand: `read FILE --engine NAME`. */
export interface Command {
  /** Names of the positional arguments in order; one in brackets (`[FILE]`) may be left out. */
  readonly arguments: readonly string[];
  readonly help: string;
  readonly flags?: Readonly<Record<string, CommandFlag>>;
}

export type CommandTable = Readonly<Record<string, Command>>;

/** What a value is called: property name -> environment variable, for the messages of a rule. */
export type VariableNames<Values> = { readonly [Property in keyof Values]: string };

/** A rule over all values: what is wrong with their combination and how to mend it, or undefined. */
export type SettingsRule<Values> = (values: Values, names: VariableNames<Values>) => string | undefined;

/** Settings that several apps share, keyed without prefix, with the rules that belong to them. */
export interface SettingsFragment<Table extends SettingsTable> {
  readonly table: Table;
  readonly refine: readonly SettingsRule<TableValues<'', Table>>[];
  readonly warn: readonly SettingsRule<TableValues<'', Table>>[];
}

type SnakeCase<Text extends string> = Text extends `${infer Head}-${infer Tail}`
  ? `${Head}_${SnakeCase<Tail>}`
  : Text;

type PascalCase<Text extends string> = Text extends `${infer Head}_${infer Tail}`
  ? `${Capitalize<Lowercase<Head>>}${PascalCase<Tail>}`
  : Capitalize<Lowercase<Text>>;

/** `llm-exporter` -> `LLM_EXPORTER_` */
export type VariablePrefix<App extends string> = `${Uppercase<SnakeCase<App>>}_`;

/** `LLM_EXPORTER_TLS_CERT_FILE` -> `tlsCertFile` */
export type PropertyName<
  Prefix extends string,
  Variable extends string,
> = Variable extends `${Prefix}${infer Name}` ? Uncapitalize<PascalCase<Name>> : never;

/** Makes a name without the prefix of its app an error of the type check. */
type PrefixedNames<App extends string, Table> = {
  readonly [Name in keyof Table]: Name extends `${VariablePrefix<App>}${string}` ? Setting : never;
};

type ValueOf<Entry extends Setting> = Entry extends { secret: true }
  ? Secret<Exclude<z.output<Entry['schema']>, undefined>> | Extract<z.output<Entry['schema']>, undefined>
  : z.output<Entry['schema']>;

/** The values of a table under their property names. */
export type TableValues<Prefix extends string, Table extends SettingsTable> = {
  readonly [Variable in keyof Table & string as PropertyName<Prefix, Variable>]: ValueOf<Table[Variable]>;
};

/** A setting with all its names, which are derived from its variable. */
export interface DeclaredSetting extends Setting {
  /** `LLM_EXPORTER_TLS_CERT_FILE` */
  readonly variable: string;
  /** `tlsCertFile`: key in the settings file, property of the values. */
  readonly property: string;
  /** `--tls-cert-file` */
  readonly flag: string;
  readonly example: string;
}

/** What can be said of an app's settings without knowing their types: what help and documentation need. */
export interface DeclaredSettings {
  readonly app: string;
  /** `LLM_EXPORTER_` */
  readonly prefix: string;
  readonly description: string;
  readonly settings: readonly DeclaredSetting[];
  readonly commands: CommandTable;
  /** Commands that people try here and that are another app's: what to run in their place. */
  readonly elsewhere: Readonly<Record<string, string>>;
}

/** All settings, rules and commands of an app. */
export interface SettingsDefinition<Values, Commands extends CommandTable> extends DeclaredSettings {
  readonly commands: Commands;
  readonly refine: readonly SettingsRule<Values>[];
  readonly warn: readonly SettingsRule<Values>[];
}

/** The values that a definition yields: `SettingsOf<typeof settings>`. */
export type SettingsOf<Definition> =
  Definition extends SettingsDefinition<infer Values, CommandTable> ? Values : never;

/** A mistake in a settings table: found as soon as the app or its test is started. */
export class SettingsDefinitionError extends Error {
  override readonly name = 'SettingsDefinitionError';
}

interface DefinitionParts<Values, Fragment extends SettingsTable, Commands extends CommandTable> {
  /** One sentence on what the app is for, shown by `--help` and the documentation. */
  readonly description?: string;
  /** Shared settings, such as `httpSettings`. */
  readonly include?: SettingsFragment<Fragment>;
  /** Combinations that cannot be honored. */
  readonly refine?: readonly SettingsRule<Values>[];
  /** Combinations that are allowed and unwise. */
  readonly warn?: readonly SettingsRule<Values>[];
  readonly commands?: Commands;
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/**
 * Declares every setting of an app, once. Types, checks, flags, help, `.env.example` and documentation come from it.
 * The app's name gives the prefix of its variables; a variable gives the flag and the key in the settings file:
 * `LLM_EXPORTER_TLS_CERT_FILE`, `--tls-cert-file`, `tlsCertFile`.
 * Throws `SettingsDefinitionError` when names collide, an example or default is not accepted, or a secret has a default.
 */
export function defineSettings<
  const App extends string,
  const Table extends SettingsTable,
  Fragment extends SettingsTable = Record<never, never>,
  const Commands extends CommandTable = Record<never, never>,
>(
  app: App,
  table: Table & PrefixedNames<App, Table>,
  parts: DefinitionParts<
    TableValues<VariablePrefix<App>, Table> & TableValues<'', Fragment>,
    Fragment,
    Commands
  > = {},
): SettingsDefinition<TableValues<VariablePrefix<App>, Table> & TableValues<'', Fragment>, Commands> {
  const prefix = variablePrefix(app);
  const shared = Object.entries(parts.include?.table ?? {}).map(
    ([name, setting]) => [`${prefix}${name}`, setting] as const,
  );
  const entries: (readonly [string, Setting])[] = [...Object.entries<Setting>(table), ...shared];
  const settings = entries.map(([variable, setting]) => declare(prefix, variable, setting));
  const commands = parts.commands ?? ({} as Commands); // without commands, Commands is the empty record
  refuseCollisions(settings, commands);
  settings.forEach(refuseUntruths);
  return {
    app,
    prefix,
    description: parts.description ?? '',
    settings,
    commands,
    elsewhere: parts.elsewhere ?? {},
    refine: [...(parts.include?.refine ?? []), ...(parts.refine ?? [])],
    warn: [...(parts.include?.warn ?? []), ...(parts.warn ?? [])],
  };
}

/** The default of a schema; `required` when it takes no absence. */
export function defaultOf(schema: z.ZodType): { required: boolean; value: unknown } {
  const parsed = schema.safeParse(undefined);
  return parsed.success ? { required: false, value: parsed.data } : { required: true, value: undefined };
}

/** `maxRows` -> `--max-rows` */
export function commandFlagName(property: string): string {
  return `--${property.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What every variable of an app begins with: `LLM_EXPORTER_` for `llm-exporter`. */
export function variablePrefix(app: string): string {
  return `${app.toUpperCase().replaceAll('-', '_')}_`;
}

function declare(prefix: string, variable: string, setting: Setting): DeclaredSetting {
  const name = variable.slice(prefix.length);
  if (!variable.startsWith(prefix) || !/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/.test(name)) {
    throw new SettingsDefinitionError(`${variable}: a variable is named ${prefix}UPPER_CASE_WORDS`);
  }
  const words = name.toLowerCase().split('_');
  const [first = '', ...rest] = words;
  return {
    ...setting,
    variable,
    property: first + rest.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(''),
    flag: `--${words.join('-')}`,
    example: setting.example ?? (setting.secret ? '' : exampleOf(setting.schema)),
  };
}

/** The default shows best what the setting takes: an example for all of its kind may make no sense for this one. */
function exampleOf(schema: z.ZodType): string {
  const { value } = defaultOf(schema);
  const standard = value === undefined ? '' : formatValue(schema, value);
  return standard === '' ? (kindOf(schema)?.example ?? '') : standard;
}

function refuseCollisions(settings: readonly DeclaredSetting[], commands: CommandTable): void {
  const flags = new Set(['--help', '--version', '--check', '--config']);
  const take = (flag: string, owner: string) => {
    if (flags.has(flag)) throw new SettingsDefinitionError(`${owner}: the flag ${flag} is taken already`);
    flags.add(flag);
  };
  for (const setting of settings) {
    take(setting.flag, setting.variable);
    if (setting.secret) take(`${setting.flag}-file`, setting.variable);
    if (kindOf(setting.schema)?.isSwitch) take(`--no-${setting.flag.slice(2)}`, setting.variable);
  }
  const commandFlags = new Map<string, boolean>();
  for (const [name, command] of Object.entries(commands)) {
    for (const [property, { schema }] of Object.entries(command.flags ?? {})) {
      const flag = commandFlagName(property);
      const isSwitch = kindOf(schema)?.isSwitch ?? false;
      if (flags.has(flag) || (commandFlags.get(flag) ?? isSwitch) !== isSwitch) {
        throw new SettingsDefinitionError(`${name}: the flag ${flag} is taken already`);
      }
      commandFlags.set(flag, isSwitch);
    }
  }
}

/** Examples and defaults are printed as valid values, so they are; and a secret with a default is none. */
function refuseUntruths({ variable, schema, example, secret }: DeclaredSetting): void {
  const { value } = defaultOf(schema);
  if (secret && value !== undefined) {
    throw new SettingsDefinitionError(`${variable}: a secret has no default, everybody would know it`);
  }
  if (example !== '' && !schema.safeParse(example).success) {
    throw new SettingsDefinitionError(`${variable}: its schema does not accept its example`);
  }
}
