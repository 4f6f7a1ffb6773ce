import { z } from 'zod';
import { defineSettings, type Setting, SettingsDefinitionError, type SettingsOf } from './definition.ts';
import { httpSettings } from './http-settings.ts';
import { boolean, list, plainText, port, secretText } from './schemas.ts';
import type { Secret } from './secret.ts';

const settings = defineSettings(
  'llm-exporter',
  {
    LLM_EXPORTER_NAMES: { schema: list(plainText).optional(), help: 'Names.' },
    LLM_EXPORTER_API_KEY_2: { schema: secretText, help: 'Key.', secret: true },
  },
  { include: httpSettings({ port: 9502 }) },
);

describe('defineSettings', () => {
  it('derives flag and key from the variable', () => {
    const names = settings.settings.map(({ variable, flag, property }) => [variable, flag, property]);
    expect(names).toContainEqual(['LLM_EXPORTER_NAMES', '--names', 'names']);
    expect(names).toContainEqual(['LLM_EXPORTER_API_KEY_2', '--api-key-2', 'apiKey2']);
    expect(names).toContainEqual(['LLM_EXPORTER_TLS_CERT_FILE', '--tls-cert-file', 'tlsCertFile']);
  });

  it('infers the type of each value (this test fails in the type check)', () => {
    type Values = SettingsOf<typeof settings>;
    const read = (values: Values) => {
      const names: readonly string[] | undefined = values.names;
      const key: Secret<string> = values.apiKey2;
      const token: Secret<string> | undefined = values.authToken;
      const portNumber: number = values.port;
      // @ts-expect-error a list that may be absent is no list
      const always: readonly string[] = values.names;
      // @ts-expect-error a secret is not text
      const text: string = values.apiKey2;
      return [names, key, token, portNumber, always, text];
    };
    expect(read).toBeInstanceOf(Function);
  });

  it('wants the prefix of the app (this test fails in the type check)', () => {
    // @ts-expect-error the variable has another prefix
    const define = () => defineSettings('gpu-exporter', { LLM_EXPORTER_PORT: { schema: port, help: '' } });
    expect(define).toThrow(SettingsDefinitionError);
  });

  const define = (table: Record<`APP_${string}`, Setting>) => () => defineSettings('app', table);

  it.each([
    [
      'two words for one flag',
      define({ APP_COLOR: { schema: boolean, help: '' }, APP_NO_COLOR: { schema: port, help: '' } }),
    ],
    ['a flag that all apps have', define({ APP_CHECK: { schema: boolean, help: '' } })],
    [
      'the file of a secret',
      define({
        APP_KEY: { schema: secretText, help: '', secret: true },
        APP_KEY_FILE: { schema: plainText.optional(), help: '' },
      }),
    ],
    [
      'a secret with a default',
      define({ APP_KEY: { schema: secretText.default('x'), help: '', secret: true } }),
    ],
    ['an example that is not accepted', define({ APP_PORT: { schema: port, help: '', example: 'http' } })],
    ['a name in small letters', define({ APP_port: { schema: port, help: '' } })],
  ])('refuses %s', (_, attempt) => {
    expect(attempt).toThrow(SettingsDefinitionError);
  });

  it.each([
    [
      'a flag that is another word',
      define({ APP_COLOR: { schema: boolean, help: '' }, APP_COLORS: { schema: port, help: '' } }),
    ],
    [
      'a secret without default',
      define({ APP_KEY: { schema: secretText.optional(), help: '', secret: true } }),
    ],
    ['an example that is accepted', define({ APP_PORT: { schema: port, help: '', example: '80' } })],
    ['a schema from elsewhere', define({ APP_PORT: { schema: z.string(), help: '' } })],
  ])('takes %s', (_, attempt) => {
    expect(attempt).not.toThrow();
  });

  it.each([
    ['its own example', { schema: port.default(9501), help: '', example: '80' }, '80'],
    ['its default', { schema: port.default(9501), help: '' }, '9501'],
    ['that of its kind where it has no default', { schema: port, help: '' }, '9500'],
    ['that of its kind where nothing is the default', { schema: list(port).default([]), help: '' }, '9500'],
    ['none for a secret', { schema: secretText, help: '', secret: true }, ''],
  ] satisfies [string, Setting, string][])('shows as example of a setting %s', (_, setting, example) => {
    expect(defineSettings('app', { APP_VALUE: setting }).settings[0]?.example).toBe(example);
  });

  it('refuses a flag of a command that is a setting', () => {
    const command = { arguments: [], help: '', flags: { port: { schema: port, help: '' } } };
    const attempt = () =>
      defineSettings('app', { APP_PORT: { schema: port, help: '' } }, { commands: { read: command } });
    expect(attempt).toThrow('read: the flag --port is taken already');
  });
});
