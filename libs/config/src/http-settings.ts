import type { SettingsFragment, SettingsRule, SettingsTable } from './definition.ts';
import { durationBetween } from './duration.ts';
import { filePath, headerKey, host, integerBetween, list, logLevel, port } from './schemas.ts';
import { settingSchema } from './setting-schema.ts';
import type { Secret } from './secret.ts';

/** A user who may read, and the bcrypt hash of their password. */
export interface BasicAuthUser {
  readonly username: string;
  readonly passwordHash: string;
}

/** The settings that every app which serves HTTP has, as an app's values hold them. */
export interface HttpSettings {
  readonly host: string;
  readonly port: number;
  /** Host names to answer to beside the local ones; undefined for the default. */
  readonly allowedHosts: readonly string[] | undefined;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly authToken: Secret<string> | undefined;
  readonly basicAuthUsers: Secret<readonly BasicAuthUser[]> | undefined;
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  readonly maxConcurrentRequests: number;
  /** Seconds. */
  readonly requestTimeout: number;
}

const basicAuthUsers = settingSchema<readonly BasicAuthUser[]>({
  expected:
    'user:bcrypt-hash pairs, separated by commas or newlines (htpasswd -nbB USER PASSWORD writes one)',
  example: '',
  parse: (input, refuse) => {
    if (typeof input !== 'string') return refuse();
    const users = new Map<string, string>();
    const faults: string[] = [];
    const pairs = input.split(/[,\n]/).map((pair) => pair.trim());
    for (const [index, pair] of pairs.filter((one) => one !== '').entries()) {
      const fault = (reason: string) => faults.push(`user ${index + 1}: ${reason}`);
      const [, username, hash] = /^([^:]+):(.*)$/.exec(pair) ?? [];
      if (username === undefined || hash === undefined) fault('there is no name before a colon');
      else if (users.has(username)) fault('the name was given before');
      else if (!/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(hash)) {
        fault('this is no bcrypt hash (Compose eats a single $: write $$ there, or use a file)');
      } else users.set(username, hash);
    }
    if (faults.length > 0) return refuse(faults.join('; '));
    if (users.size === 0) return refuse();
    return Array.from(users, ([username, passwordHash]) => ({ username, passwordHash }));
  },
});

/**
 * The settings that every app which serves HTTP has, for `include` of `defineSettings`: address, log level,
 * authentication, TLS and limits. Half of a TLS pair is refused; an open port without authentication is warned of.
 */
export function httpSettings(defaults: { readonly port: number }) {
  const table = {
    HOST: {
      schema: host.default('127.0.0.1'),
      help: 'Address to listen on.',
      example: '0.0.0.0',
      group: 'HTTP',
    },
    PORT: { schema: port.default(defaults.port), help: 'Port to listen on.', group: 'HTTP' },
    ALLOWED_HOSTS: {
      schema: list(host).optional(),
      help: 'Names under which clients reach this port, beside localhost; requests for others get 421. Without it every name is answered, but only local ones where the port listens on loopback.',
      example: 'gpu-box.lan,monitor.example.org',
      group: 'HTTP',
    },
    LOG_LEVEL: { schema: logLevel.default('info'), help: 'How much is logged.', group: 'HTTP' },
    AUTH_TOKEN: {
      schema: headerKey.optional(),
      help: 'Bearer token that a client must send.',
      secret: true,
      group: 'HTTP',
    },
    BASIC_AUTH_USERS: {
      schema: basicAuthUsers.optional(),
      help: 'Users who may read, for clients that speak basic authentication.',
      secret: true,
      group: 'HTTP',
    },
    TLS_CERT_FILE: {
      schema: filePath.optional(),
      help: 'Certificate chain in PEM; with it and the key the port speaks TLS.',
      example: '/etc/ssl/certs/monitor.pem',
      group: 'HTTP',
    },
    TLS_KEY_FILE: {
      schema: filePath.optional(),
      help: 'Private key of the certificate in PEM.',
      example: '/etc/ssl/private/monitor.key',
      group: 'HTTP',
    },
    MAX_CONCURRENT_REQUESTS: {
      schema: integerBetween(1, 10_000).default(64),
      help: 'Requests answered at the same time; more get 503.',
      group: 'HTTP',
    },
    REQUEST_TIMEOUT: {
      schema: durationBetween(0.1, 86_400).default(30),
      help: 'Longest time for one request, after which it gets 503.',
      group: 'HTTP',
    },
  } as const satisfies SettingsTable;
  return { table, refine: [wholeTlsPair], warn: [openWithoutAuthentication] } satisfies SettingsFragment<
    typeof table
  >;
}

const wholeTlsPair: SettingsRule<HttpSettings> = ({ tlsCertFile, tlsKeyFile }, names) => {
  if ((tlsCertFile === undefined) === (tlsKeyFile === undefined)) return undefined;
  const [given, absent] =
    tlsKeyFile === undefined ? [names.tlsCertFile, names.tlsKeyFile] : [names.tlsKeyFile, names.tlsCertFile];
  return `${given} is set and ${absent} is not; TLS needs both, plain HTTP neither`;
};

const openWithoutAuthentication: SettingsRule<HttpSettings> = (values, names) => {
  if (isLoopback(values.host) || values.authToken !== undefined || values.basicAuthUsers !== undefined)
    return undefined;
  return `${names.host}=${values.host} lets everyone on the network read this port; set ${names.authToken}_FILE or ${names.basicAuthUsers}_FILE, or listen on 127.0.0.1`;
};

function isLoopback(address: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|(0*:)*:?0*1|::ffff:127\.\d+\.\d+\.\d+|localhost)$/i.test(address);
}
