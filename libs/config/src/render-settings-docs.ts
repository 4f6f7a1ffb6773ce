import type { DeclaredSetting, DeclaredSettings } from './definition.ts';
import { commandUsage, defaultText, groupSettings, meaning } from './help.ts';

const INTRODUCTION = `# Settings

Every setting can be given as a flag, as a variable or in a settings file (YAML, named by \`--config\` or by the \`_CONFIG\`
variable). A flag wins over a variable, a variable over the settings file, that over the default; an empty variable is
not set. Secrets come from a variable or from a file, never from a flag or the settings file itself: \`NAME_FILE\`,
\`--name-file\` and \`nameFile\` give the path of a file that holds the secret.

\`--check\` says which settings are in effect and where each comes from, or everything that is wrong with them.
`;

/** The text of docs/settings.md: one table for each app. */
export function renderSettingsDocs(definitions: readonly DeclaredSettings[]): string {
  return [INTRODUCTION, ...definitions.map(renderApp)].join('\n');
}

function renderApp(definition: DeclaredSettings): string {
  const { app, description, settings, prefix, commands } = definition;
  const ordered = [...groupSettings(settings).values()].flat();
  const lines = [`## ${app}`, ''];
  if (description !== '') lines.push(cell(description), '');
  lines.push('| Variable | Flag | Key | Default | Meaning |', '| --- | --- | --- | --- | --- |');
  lines.push(...ordered.map(settingRow));
  lines.push(`| \`${prefix}CONFIG\` | \`--config\` | | | Path of the settings file. |`);
  const entries = Object.entries(commands);
  if (entries.length > 0) lines.push('', '| Command | Meaning |', '| --- | --- |');
  for (const [name, command] of entries)
    lines.push(`| ${code(commandUsage(name, command))} | ${cell(command.help)} |`);
  return `${lines.join('\n')}\n`;
}

function settingRow(setting: DeclaredSetting): string {
  const { variable, flag, property, secret, example } = setting;
  const { required, text } = defaultText(setting);
  const standard = required ? 'required' : text === undefined || text === '' ? '' : code(text);
  const shownExample = secret || example === '' || example === text ? '' : ` Example: ${code(example)}.`;
  const cells = secret
    ? [`${code(variable)}, ${code(`${variable}_FILE`)}`, code(`${flag}-file`), code(`${property}File`)]
    : [code(variable), code(flag), code(property)];
  const said = `${secret ? 'Secret. ' : ''}${cell(meaning(setting))}${shownExample}`;
  return `| ${[...cells, standard, said].join(' | ')} |`.replaceAll('|  |', '| |');
}

function code(text: string): string {
  return `\`${cell(text).replaceAll('`', "'")}\``;
}

function cell(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('|', '\\|');
}
