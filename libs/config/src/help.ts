import {
  commandFlagName,
  type Command,
  type CommandFlag,
  type DeclaredSetting,
  type DeclaredSettings,
  defaultOf,
} from './definition.ts';
import type { SettingSource } from './load-settings.ts';
import { formatValue, kindOf } from './setting-schema.ts';

const UNGROUPED = 'Settings';

/** The text of `--help`: commands, then every setting by group with its flag, variable, default and example. */
export function renderHelp(definition: DeclaredSettings, version: string): string {
  const { app, description, prefix } = definition;
  const commands = Object.entries(definition.commands);
  const about = description === '' ? '' : `: ${description}`;
  const lines = [
    `${app} ${version}${about}`,
    '',
    `Usage: ${app}${commands.length > 0 ? ' [COMMAND]' : ''} [FLAGS]`,
  ];
  if (commands.length > 0) lines.push('', 'Commands:', ...commands.flatMap(commandHelp));
  const elsewhere = Object.entries(definition.elsewhere);
  if (elsewhere.length > 0) lines.push('', 'Elsewhere:', ...elsewhere.flatMap(elsewhereHelp));
  for (const [group, settings] of groupSettings(definition.settings)) {
    lines.push('', `${group}:`, ...settings.flatMap(settingHelp));
  }
  lines.push(
    '',
    'Others:',
    '  --config FILE',
    `      Settings file in YAML; its keys are the flags in camelCase (${prefix}CONFIG).`,
    '  --check',
    '      Say which settings are in effect and where each comes from, or all that is wrong with them, and stop.',
    '  --help, --version',
    '',
    'A flag wins over a variable, a variable over the settings file, that over the default.',
  );
  return `${lines.join('\n')}\n`;
}

/** The text of `--check` for valid settings: each effective value and its source; of a secret, whether it is set. */
export function renderCheck(
  definition: DeclaredSettings,
  values: ReadonlyMap<string, unknown>,
  sources: ReadonlyMap<string, SettingSource>,
): string {
  const rows = definition.settings.map((setting) => {
    const source = sources.get(setting.property);
    return [
      setting.variable,
      effectiveValue(setting, values.get(setting.property)),
      sourceText(source),
    ] as const;
  });
  const variableWidth = Math.max(0, ...rows.map(([variable]) => variable.length));
  const valueWidth = Math.min(40, Math.max(0, ...rows.map(([, value]) => value.length)));
  const lines = rows.map(
    ([variable, value, source]) =>
      `  ${variable.padEnd(variableWidth)}  ${value.padEnd(valueWidth)}  ${source}`,
  );
  return `${[`${definition.app}: the settings are valid`, ...lines].join('\n')}\n`;
}

/** Settings by group, both in the order of their first appearance. */
export function groupSettings(settings: readonly DeclaredSetting[]): Map<string, DeclaredSetting[]> {
  const groups = new Map<string, DeclaredSetting[]>();
  for (const setting of settings) {
    const group = setting.group ?? UNGROUPED;
    groups.set(group, [...(groups.get(group) ?? []), setting]);
  }
  return groups;
}

/** The default as text that the schema accepts; undefined when there is none, and `required` when there must be a value. */
export function defaultText({ schema }: Pick<DeclaredSetting, 'schema'>): {
  required: boolean;
  text: string | undefined;
} {
  const { required, value } = defaultOf(schema);
  return { required, text: value === undefined ? undefined : formatValue(schema, value) };
}

/** Help and what is accepted, in sentences. */
export function meaning({ help, schema }: Pick<DeclaredSetting, 'help' | 'schema'>): string {
  const expected = kindOf(schema)?.expected;
  if (expected === undefined) return help;
  return `${help} Takes ${expected}.`;
}

/** `read FILE --engine VALUE` */
export function commandUsage(name: string, command: Command): string {
  const flags = Object.entries(command.flags ?? {}).map(([property, flag]) =>
    commandFlagUsage(property, flag),
  );
  return [name, ...command.arguments, ...flags].join(' ');
}

function commandFlagUsage(property: string, { schema }: CommandFlag): string {
  const flag = `${commandFlagName(property)}${kindOf(schema)?.isSwitch ? '' : ' VALUE'}`;
  return defaultOf(schema).required ? flag : `[${flag}]`;
}

function commandHelp([name, command]: [string, Command]): string[] {
  const flags = Object.entries(command.flags ?? {}).map(([property, flag]) => {
    const { text } = defaultText(flag);
    const standard = text === undefined ? '' : ` Default ${text}.`;
    return `      ${commandFlagName(property)}: ${meaning(flag)}${standard}`;
  });
  return [`  ${commandUsage(name, command)}`, `      ${command.help}`, ...flags];
}

function elsewhereHelp([name, what]: [string, string]): string[] {
  return [`  ${name}`, `      ${what}`];
}

function settingHelp(setting: DeclaredSetting): string[] {
  const { flag, variable, secret, example, schema } = setting;
  const { required, text } = defaultText(setting);
  const value = kindOf(schema)?.isSwitch ? '' : ' VALUE';
  const facts = [secret ? `${variable} or ${variable}_FILE` : variable];
  if (required) facts.push('required');
  if (text !== undefined && text !== '') facts.push(`default ${text}`);
  if (example !== '' && example !== text) facts.push(`example ${example}`);
  return [
    `  ${secret ? `${flag}-file FILE` : `${flag}${value}`}`,
    `      ${meaning(setting)}`,
    `      ${facts.join(', ')}`,
  ];
}

function effectiveValue({ schema, secret }: DeclaredSetting, value: unknown): string {
  if (value === undefined) return '(not set)';
  if (secret) return '(set)';
  const text = formatValue(schema, value);
  if (text === '') return '(empty)';
  return /[\p{Cc}\p{Zl}\p{Zp}]/u.test(text) ? JSON.stringify(text) : text;
}

function sourceText(source: SettingSource | undefined): string {
  if (source === undefined || source.from === 'default') return 'default';
  return source.from === 'environment' || source.from === 'flag'
    ? source.from
    : `${source.from} ${source.name}`;
}
