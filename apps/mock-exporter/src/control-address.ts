import { TlsSettingsError } from '@llm-monitor/exporter-http';

import type { ControlAddress } from './control-client.ts';
import { reachableUrl } from './reachable-url.ts';
import type { Settings } from './settings.ts';

/**
 * Where the mock with these settings is controlled, and how: a command has the settings of the mock that it is for. Of
 * users the mock knows no passwords, so that a token is what a command needs.
 * @param readFile throws where there is no such file
 * @throws TlsSettingsError where the certificate cannot be read
 */
export function controlAddress(
  { host, port, tlsCertFile, authToken }: Settings,
  readFile: (path: string) => string,
): ControlAddress {
  return {
    url: reachableUrl(tlsCertFile === undefined ? 'http' : 'https', host, port),
    ...(authToken === undefined ? {} : { token: authToken.reveal() }),
    ...(tlsCertFile === undefined ? {} : { certificate: readCertificate(tlsCertFile, readFile) }),
  };
}

function readCertificate(path: string, readFile: (path: string) => string): string {
  try {
    return readFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TlsSettingsError(
      `The certificate ${path} cannot be read (${why}): MOCK_EXPORTER_TLS_CERT_FILE has to name that of the mock.`,
      { cause },
    );
  }
}
