import { type CommandLineArguments, parseArguments } from './command-line-arguments.ts';
import {
  type CommandTable,
  type DeclaredSetting,
  type DeclaredSettings,
  defaultOf,
  type SettingsDefinition,
  type SettingsRule,
  type VariableNames,
} from './definition.ts';
import { kubernetesServiceVariables } from './kubernetes-service-variables.ts';
import { didYouMean } from './nearest-name.ts';
import { quoteValue, type SettingsProblem, unreadableReason } from './problem.ts';
import { Secret } from './secret.ts';
import { readSettingsFile, type SettingsFile } from './settings-file.ts';
import { defaultText } from './help.ts';
import { kindOf } from './setting-schema.ts';

/** The variables of a process: `process.env` fits. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** All that settings are read from. */
export interface SettingsSurroundings {
  readonly env: Environment;
  /** The command line without node and script: `process.argv.slice(2)`. */
  readonly argv: readonly string[];
  /** Text of a file; throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string;
  /** Whether there is a folder; without it, folders are not looked for. */
  readonly isFolder?: (path: string) => boolean;
}

/** Where a value came from; `name` is the flag, variable or path, and empty for a default. */
export interface SettingSource {
  readonly from: 'flag' | 'environment' | 'secret file' | 'settings file' | 'default';
  readonly name: string;
}

export interface LoadedSettings<Values> {
  readonly ok: true;
  readonly values: Values;
  readonly sources: { readonly [Property in keyof Values]: SettingSource };
  /** Allowed and unwise: to be logged once, at the start. */
  readonly warnings: readonly string[];
}

export interface RefusedSettings {
  readonly ok: false;
  readonly problems: readonly SettingsProblem[];
}

/** A value found for a setting, not yet checked. */
interface Candidate {
  readonly input: unknown;
  readonly where: string;
  readonly source: SettingSource;
}

/** Candidate, nothing given, or given in a way that is a problem already. */
type Found = Candidate | 'absent' | 'spoiled';

/**
 * Reads all settings of an app: flag, then variable, then secret file (`NAME_FILE`), then settings file, then default.
 * An empty variable counts as not set, as Compose passes unset ones. Returns every problem at once and throws nothing;
 * no problem contains the value of a secret.
 */
export function loadSettings<Values, Commands extends CommandTable>(
  definition: SettingsDefinition<Values, Commands>,
  surroundings: SettingsSurroundings,
): LoadedSettings<Values> | RefusedSettings {
  const parsed = parseArguments(definition, surroundings.argv);
  const loaded = readSettings(definition, parsed, surroundings);
  if (parsed.positionals.length === 0) return loaded;
  const stray: SettingsProblem = { kind: 'bad-command', where: 'command line', message: 'takes flags only' };
  return { ok: false, problems: [...(loaded.ok ? [] : loaded.problems), stray] };
}

/** `loadSettings` for a command line that is taken apart already; positional arguments are the caller's. */
export function readSettings<Values, Commands extends CommandTable>(
  definition: SettingsDefinition<Values, Commands>,
  parsed: CommandLineArguments,
  { env, readFile, isFolder = () => true }: Pick<SettingsSurroundings, 'env' | 'readFile' | 'isFolder'>,
): LoadedSettings<Values> | RefusedSettings {
  const foreign = kubernetesServiceVariables(env);
  const own: Environment = Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.has(name)));
  const file = settingsFile(definition, parsed, own, readFile);
  const problems: SettingsProblem[] = [
    ...parsed.problems,
    ...unknownVariables(definition, own),
    ...(file?.problems ?? []),
  ];
  const report = (problem: SettingsProblem) => problems.push(problem);

  const values: Record<string, unknown> = {};
  const sources: Record<string, SettingSource> = {};
  const spoiled = new Set<string>();
  for (const setting of definition.settings) {
    const found = setting.secret
      ? findSecret(setting, parsed, own, file, readFile, report)
      : findPlain(setting, parsed, own, file);
    const checked = found === 'spoiled' ? undefined : checkValue(setting, found, file, report);
    const read = isMissingFolder(setting, found, checked, isFolder, report) ? undefined : checked;
    if (read === undefined) spoiled.add(setting.property);
    values[setting.property] = read?.value;
    sources[setting.property] =
      found === 'absent' || found === 'spoiled' ? { from: 'default', name: '' } : found.source;
  }

  const names = Object.fromEntries(definition.settings.map(({ property, variable }) => [property, variable]));
  const judge = (rules: readonly SettingsRule<Values>[]) =>
    violations(rules, values as Values, names as VariableNames<Values>, spoiled); // both were built from the same table
  for (const message of judge(definition.refine)) report({ kind: 'refused', where: 'settings', message });
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    values: values as Values,
    sources: sources as LoadedSettings<Values>['sources'],
    warnings: judge(definition.warn),
  };
}

function settingsFile(
  definition: DeclaredSettings,
  parsed: CommandLineArguments,
  env: Environment,
  readFile: (path: string) => string,
): SettingsFile | undefined {
  const variable = `${definition.prefix}CONFIG`;
  const flag = parsed.values.get('--config')?.trim();
  const path = flag ?? env[variable]?.trim();
  if (path === undefined || (path === '' && flag === undefined)) return undefined;
  const keys = definition.settings.map(({ property, secret }) => (secret ? `${property}File` : property));
  const secretKeys = definition.settings.filter(({ secret }) => secret).map(({ property }) => property);
  return readSettingsFile(path, flag === undefined ? variable : '--config', readFile, keys, secretKeys);
}

function unknownVariables(definition: DeclaredSettings, env: Environment): SettingsProblem[] {
  const { app, prefix, settings } = definition;
  const known = settings.flatMap(({ variable, secret }) =>
    secret ? [variable, `${variable}_FILE`] : [variable],
  );
  known.push(`${prefix}CONFIG`);
  const isSet = (name: string) => env[name] !== undefined;
  const unknown = Object.keys(env).filter(
    (name) => name.startsWith(prefix) && isSet(name) && !known.includes(name),
  );
  return unknown.sort().map((name) => {
    const base = name.replace(/_FILE$/, '');
    const hint = known.includes(base)
      ? `; ${base} is no secret and is not read from a file of its own`
      : didYouMean(
          name.slice(prefix.length),
          known.map((one) => one.slice(prefix.length)),
          `see ${app} --help`,
        );
    const message = `${app} has no such setting${hint.replace('did you mean ', `did you mean ${prefix}`)}`;
    return { kind: 'unknown-name', where: name, message };
  });
}

function findPlain(
  { flag, variable, property }: DeclaredSetting,
  parsed: CommandLineArguments,
  env: Environment,
  file: SettingsFile | undefined,
): Found {
  const given = parsed.values.get(flag);
  if (given !== undefined) return { input: given.trim(), where: flag, source: { from: 'flag', name: flag } };
  if (parsed.given.has(flag)) return 'spoiled';
  const text = env[variable]?.trim();
  if (text) return { input: text, where: variable, source: { from: 'environment', name: variable } };
  const entry = file?.entries.get(property);
  if (entry === undefined || entry.value === null) return 'absent';
  return { input: entry.value, where: entry.where, source: { from: 'settings file', name: entry.where } };
}

function findSecret(
  { flag, variable, property }: DeclaredSetting,
  parsed: CommandLineArguments,
  env: Environment,
  file: SettingsFile | undefined,
  readFile: (path: string) => string,
  report: (problem: SettingsProblem) => void,
): Found {
  const inline = env[variable]?.trim();
  const path = env[`${variable}_FILE`]?.trim();
  if (inline && path) {
    const message = `is set, and so is ${variable}_FILE; keep one of them`;
    report({ kind: 'conflict', where: variable, message });
    return 'spoiled';
  }
  const fromFile = (where: string, secretPath: string) => readSecretFile(where, secretPath, readFile, report);
  const fileFlag = `${flag}-file`;
  const givenPath = parsed.values.get(fileFlag)?.trim();
  if (givenPath !== undefined) return fromFile(fileFlag, givenPath);
  if (parsed.given.has(fileFlag) || parsed.given.has(flag)) return 'spoiled';
  if (inline) return { input: inline, where: variable, source: { from: 'environment', name: variable } };
  if (path) return fromFile(`${variable}_FILE`, path);
  const entry = file?.entries.get(`${property}File`);
  if (entry === undefined || entry.value === null) return 'absent';
  if (typeof entry.value === 'string') return fromFile(entry.where, entry.value);
  report({
    kind: 'bad-value',
    where: entry.where,
    message: 'expected the path of a file that holds the secret',
  });
  return 'spoiled';
}

/** The text of a secret file less one newline at its end. */
function readSecretFile(
  where: string,
  path: string,
  readFile: (path: string) => string,
  report: (problem: SettingsProblem) => void,
): Found {
  // Someone may have put the secret itself where its path belongs, so only what looks like a path is shown.
  const shown = /^(\.{0,2}\/|[A-Za-z]:\\)[\w./\\-]*$/.test(path) ? path : 'the file it names';
  let content: string;
  try {
    content = readFile(path)
      .replace(/^\uFEFF/, '')
      .replace(/\r?\n$/, '');
  } catch (error) {
    report({ kind: 'unreadable-file', where, message: `${shown}: ${unreadableReason(error)}` });
    return 'spoiled';
  }
  if (content.trim() === '') {
    report({
      kind: 'bad-file',
      where,
      message: `${shown}: it is empty; write the secret into it or unset ${where}`,
    });
    return 'spoiled';
  }
  return { input: content, where, source: { from: 'secret file', name: path } };
}

/** The value of a setting, parsed; undefined when it has none that may be used, which is then reported. */
function checkValue(
  setting: DeclaredSetting,
  found: Candidate | 'absent',
  file: SettingsFile | undefined,
  report: (problem: SettingsProblem) => void,
): { value: unknown } | undefined {
  const { schema, secret, variable, example } = setting;
  if (found === 'absent') {
    const { required, value } = defaultOf(schema);
    if (!required) return { value };
    if (file?.complete !== false) report(missing(setting)); // it may stand in the file that could not be read
    return undefined;
  }
  const parsed = schema.safeParse(found.input);
  if (parsed.success) {
    return { value: secret && parsed.data !== undefined ? new Secret(parsed.data) : parsed.data };
  }
  const hint = example === '' ? '' : `, for example ${example}`;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  const said = faults.join('; ');
  if (!secret) {
    report({
      kind: 'bad-value',
      where: found.where,
      message: `${said}${hint}; got ${quoteValue(found.input)}`,
    });
    return undefined;
  }
  // The schemas of this library never quote their input; another one, or a refinement, might.
  const isDiscreet = kindOf(schema) !== undefined && !said.includes(String(found.input));
  const message = isDiscreet ? said : `the value of ${variable} is not accepted`;
  report({ kind: 'bad-value', where: found.where, message: `${message}${hint}` });
  return undefined;
}

/** Whether a folder was given that is not there, which is then reported. The default is that of the system: not looked for. */
function isMissingFolder(
  setting: DeclaredSetting,
  found: Found,
  checked: { readonly value: unknown } | undefined,
  isFolder: (path: string) => boolean,
  report: (problem: SettingsProblem) => void,
): boolean {
  const path = checked?.value;
  if (typeof found === 'string' || typeof path !== 'string') return false;
  if (kindOf(setting.schema)?.isFolder !== true || isFolder(path)) return false;
  const { text } = defaultText(setting);
  const instead = text === undefined ? 'leave the setting out' : `leave the setting out for ${text}`;
  report({
    kind: 'bad-value',
    where: found.where,
    message: `there is no folder ${quoteValue(path)} that this user can see; mount it there, give the path where it is, or ${instead}`,
  });
  return true;
}

function missing({ variable, flag, property, secret, example }: DeclaredSetting): SettingsProblem {
  const hint = example === '' ? '' : `, for example ${variable}=${example}`;
  const ways = secret
    ? `set it, or name a file that holds it with ${variable}_FILE, ${flag}-file or ${property}File`
    : `set it, or ${flag}, or ${property} in the settings file`;
  return { kind: 'missing', where: variable, message: `is required: ${ways}${hint}` };
}

/** Thrown to leave a rule that asks for a value which is a problem already. */
class SpoiledValueRead extends Error {
  override readonly name = 'SpoiledValueRead';
}

/** What the rules object to. A rule that needs a spoiled value is skipped; all others speak, so that all is told at once. */
function violations<Values>(
  rules: readonly SettingsRule<Values>[],
  values: Values,
  names: VariableNames<Values>,
  spoiled: ReadonlySet<string>,
): string[] {
  const guarded = new Proxy(Object(values) as Values & object, {
    get(target, property, receiver): unknown {
      if (typeof property === 'string' && spoiled.has(property)) throw new SpoiledValueRead();
      return Reflect.get(target, property, receiver);
    },
  });
  return rules.flatMap((rule) => {
    try {
      return rule(guarded, names) ?? [];
    } catch (error) {
      if (error instanceof SpoiledValueRead) return [];
      throw error;
    }
  });
}
