import type { HttpSettings } from '@llm-monitor/config';

import type { AuthSettings } from './auth.ts';
import type { AllowedHosts } from './host-check.ts';
import type { TlsFiles } from './tls-files.ts';

/** Who may read, as the settings that every app shares say it. */
export function authOf({ authToken, basicAuthUsers }: HttpSettings): AuthSettings {
  const users = basicAuthUsers
    ?.reveal()
    .map(({ username, passwordHash }) => ({ name: username, passwordHash }));
  return {
    ...(authToken === undefined ? {} : { bearerTokens: [authToken.reveal()] }),
    ...(users === undefined ? {} : { users }),
  };
}

/** The certificate and key to listen with, when the settings name them. */
export function tlsOf({ tlsCertFile, tlsKeyFile }: HttpSettings): { tls?: TlsFiles } {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return {};
  return { tls: { cert: tlsCertFile, key: tlsKeyFile } };
}

/** The host names to answer to beside the local ones, when the settings name any. */
export function hostsOf({ allowedHosts }: HttpSettings): { allowedHosts?: AllowedHosts } {
  return allowedHosts === undefined ? {} : { allowedHosts };
}
