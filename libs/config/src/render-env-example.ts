import type { DeclaredSettings } from './definition.ts';
import { defaultText, groupSettings, meaning } from './help.ts';

/** The text of `.env.example` for several apps: every variable, commented out, with its default; secrets are empty. */
export function renderEnvExample(definitions: readonly DeclaredSettings[]): string {
  const head = '# Settings of all apps. Copy to .env, take the "# " off a line and change its value.\n';
  return [head, ...definitions.map(renderApp)].join('\n');
}

function renderApp({ app, description, prefix, settings }: DeclaredSettings): string {
  const lines = [
    `# ${'='.repeat(78)}`,
    `# ${app}${description === '' ? '' : `: ${description}`}`,
    `# ${'='.repeat(78)}`,
  ];
  lines.push('', '# Path of a settings file in YAML.', `# ${prefix}CONFIG=`);
  for (const [group, members] of groupSettings(settings)) {
    lines.push('', `# ${group}`, `# ${'-'.repeat(group.length)}`);
    for (const setting of members) {
      const { required, text } = defaultText(setting);
      const { variable, example, secret } = setting;
      lines.push('', `# ${meaning(setting)}${required ? ' Required.' : ''}`);
      if (secret) lines.push(`# Secret: rather put it into a file and name that with ${variable}_FILE.`);
      else if (example !== '' && example !== text) lines.push(`# Example: ${variable}=${example}`);
      lines.push(`# ${variable}=${secret ? '' : (text ?? '')}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
