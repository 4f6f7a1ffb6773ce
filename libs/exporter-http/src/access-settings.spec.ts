import { defineSettings, httpSettings, loadSettings, type HttpSettings } from '@llm-monitor/config';

import { authOf, hostsOf, tlsOf } from './access-settings.ts';

const definition = defineSettings('demo', {}, { include: httpSettings({ port: 9500 }) });

function settingsOf(env: Record<string, string>): HttpSettings {
  const loaded = loadSettings(definition, { env, argv: [], readFile: () => '' });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.values;
}

const HASH = '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy';

it.each([
  ['nobody is asked for anything by default', {}, {}, {}],
  ['a token', { DEMO_AUTH_TOKEN: 'abc' }, { bearerTokens: ['abc'] }, {}],
  ['a user', { DEMO_BASIC_AUTH_USERS: `ann:${HASH}` }, { users: [{ name: 'ann', passwordHash: HASH }] }, {}],
  [
    'a certificate and its key',
    { DEMO_TLS_CERT_FILE: '/run/cert.pem', DEMO_TLS_KEY_FILE: '/run/key.pem' },
    {},
    { tls: { cert: '/run/cert.pem', key: '/run/key.pem' } },
  ],
])('%s', (_title, env, auth, tls) => {
  const settings = settingsOf(env);
  expect([authOf(settings), tlsOf(settings)]).toEqual([auth, tls]);
});

it.each([
  ['none', {}, {}],
  ['some', { DEMO_ALLOWED_HOSTS: 'gpu-box, 10.0.0.7' }, { allowedHosts: ['gpu-box', '10.0.0.7'] }],
])('allows the hosts of the settings: %s', (_title, env, hosts) => {
  expect(hostsOf(settingsOf(env))).toEqual(hosts);
});
