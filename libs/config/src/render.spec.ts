import { defineSettings } from './definition.ts';
import { httpSettings } from './http-settings.ts';
import { loadSettings } from './load-settings.ts';
import { renderEnvExample } from './render-env-example.ts';
import { renderSettingsDocs } from './render-settings-docs.ts';
import { oneOf, plainText, port, secretText } from './schemas.ts';

const gpu = defineSettings(
  'gpu-exporter',
  {
    GPU_EXPORTER_BACKEND: { schema: oneOf('auto', 'nvml').default('auto'), help: 'How GPUs are read.' },
    GPU_EXPORTER_LABEL: { schema: plainText.optional(), help: 'A | in\na text.', example: 'a|b' },
  },
  { description: 'The GPUs of this host.', include: httpSettings({ port: 9501 }) },
);

const app = defineSettings(
  'app',
  {
    APP_PORT: { schema: port, help: 'Port.' },
    APP_KEY: { schema: secretText.optional(), help: 'Key.', secret: true },
  },
  { commands: { read: { arguments: ['FILE'], help: 'Reads a file.' } } },
);

describe('renderEnvExample', () => {
  it('shows every variable of every app, commented out', () => {
    expect(renderEnvExample([app])).toBe(
      [
        '# Settings of all apps. Copy to .env, take the "# " off a line and change its value.',
        '',
        `# ${'='.repeat(78)}`,
        '# app',
        `# ${'='.repeat(78)}`,
        '',
        '# Path of a settings file in YAML.',
        '# APP_CONFIG=',
        '',
        '# Settings',
        '# --------',
        '',
        '# Port. Takes a port number from 0 to 65535. Required.',
        '# Example: APP_PORT=9500',
        '# APP_PORT=',
        '',
        '# Key. Takes a secret that is not empty.',
        '# Secret: rather put it into a file and name that with APP_KEY_FILE.',
        '# APP_KEY=',
        '',
      ].join('\n'),
    );
  });

  it('yields settings that are accepted and are the defaults, once the comment signs are off', () => {
    const lines = renderEnvExample([gpu]).split('\n');
    const pairs = lines.flatMap((line) => {
      const [, name, value] = /^# (GPU_EXPORTER_\w+)=(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value] as const];
    });
    expect(pairs).toHaveLength(gpu.settings.length + 1);
    const readFile = () => '';
    const fromExample = loadSettings(gpu, { env: Object.fromEntries(pairs), argv: [], readFile });
    const fromNothing = loadSettings(gpu, { env: {}, argv: [], readFile });
    expect(fromExample.ok && fromExample.values).toEqual(fromNothing.ok && fromNothing.values);
  });

  it('keeps the order of the apps', () => {
    const text = renderEnvExample([gpu, app]);
    expect(text.indexOf('# APP_PORT=')).toBeGreaterThan(text.indexOf('# GPU_EXPORTER_PORT=9501'));
  });
});

describe('renderSettingsDocs', () => {
  const docs = renderSettingsDocs([gpu, app]);

  it.each([
    '## gpu-exporter\n\nThe GPUs of this host.\n\n| Variable | Flag | Key | Default | Meaning |\n| --- | --- | --- | --- | --- |\n',
    '| `GPU_EXPORTER_BACKEND` | `--backend` | `backend` | `auto` | How GPUs are read. Takes one of auto, nvml. |\n',
    '| `GPU_EXPORTER_LABEL` | `--label` | `label` | | A \\| in a text. Takes some text. Example: `a\\|b`. |\n',
    '| `GPU_EXPORTER_PORT` | `--port` | `port` | `9501` | Port to listen on. Takes a port number from 0 to 65535. |\n',
    '| `GPU_EXPORTER_REQUEST_TIMEOUT` | `--request-timeout` | `requestTimeout` | `30s` | Longest time',
    '| `APP_PORT` | `--port` | `port` | required | Port. Takes a port number from 0 to 65535. Example: `9500`. |\n',
    '| `APP_KEY`, `APP_KEY_FILE` | `--key-file` | `keyFile` | | Secret. Key. Takes a secret that is not empty. |\n',
    '| `APP_CONFIG` | `--config` | | | Path of the settings file. |\n',
    '| Command | Meaning |\n| --- | --- |\n| `read FILE` | Reads a file. |\n',
  ])('holds %j', (part) => {
    expect(docs).toContain(part);
  });

  it('gives every row of a table as many cells as its head', () => {
    const rows = docs
      .split('\n')
      .filter((line) => /^\| (`[A-Z]|Variable|---)/.test(line) && !line.includes('Command'));
    const tables = rows.filter((row) => row.startsWith('| `') || row.startsWith('| Variable'));
    expect(tables.length).toBeGreaterThan(gpu.settings.length);
    for (const row of tables.filter((one) => /EXPORTER|APP_|Variable/.test(one))) {
      expect(row.replaceAll('\\|', '').split('|')).toHaveLength(7);
    }
  });

  it('is the same each time', () => {
    expect(renderSettingsDocs([gpu, app])).toBe(docs);
  });
});
