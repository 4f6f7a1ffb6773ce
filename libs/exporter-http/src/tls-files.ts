import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

import { TlsSettingsError } from './errors.ts';

/** A certificate (with its chain) and its key, each a path of a PEM file or PEM text itself. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** A pair that was read and fits together. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/** What a server is given for `pair`. TLS 1.0 and 1.1 are refused (RFC 8996). */
export function secureContextOptions({ cert, key }: TlsPair): SecureContextOptions {
  return { cert, key, minVersion: 'TLSv1.2' };
}

/**
 * Reads both and checks that they are what they should be and belong together.
 *
 * @throws TlsSettingsError naming the one that is wrong.
 */
export async function readTlsPair(files: TlsFiles): Promise<TlsPair> {
  const [cert, key] = await Promise.all([readPem(files.cert, 'certificate'), readPem(files.key, 'key')]);
  const certificate = parseCertificate(cert, describe(files.cert, 'certificate'));
  if (!certificate.checkPrivateKey(parseKey(key, describe(files.key, 'key')))) {
    throw new TlsSettingsError(
      `${describe(files.key, 'key')} is not the key of ${describe(files.cert, 'certificate')}: ` +
        'give the two that were made together, with the server certificate first in its file.',
    );
  }
  return checkedByOpenSsl({ cert, key }, describe(files.cert, 'certificate'));
}

/** The last word is OpenSSL's: a chain that is cut short, a key too weak for today. */
function checkedByOpenSsl(pair: TlsPair, what: string): TlsPair {
  try {
    createSecureContext(secureContextOptions(pair));
    return pair;
  } catch (cause) {
    const { message: reason } = cause as Error;
    throw new TlsSettingsError(
      `${what} is refused by OpenSSL (${reason}): make it anew, RSA with 2048 bits or more.`,
    );
  }
}

type Kind = 'certificate' | 'key';

function isPem(text: string): boolean {
  return text.includes('-----BEGIN ');
}

function describe(source: string, kind: Kind): string {
  return isPem(source) ? `The TLS ${kind} given as text` : `The TLS ${kind} ${source}`;
}

async function readPem(source: string, kind: Kind): Promise<string> {
  if (isPem(source)) return source;
  try {
    return await readFile(source, 'utf8');
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    throw new TlsSettingsError(
      `${describe(source, kind)} cannot be read (${code}): check the path, and that this user may read the file.`,
      { cause },
    );
  }
}

function parseCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new TlsSettingsError(
      `${what} is no certificate in PEM form: it must begin with -----BEGIN CERTIFICATE-----; ` +
        'convert DER with `openssl x509 -inform der`, and check that certificate and key are not swapped.',
    );
  }
}

function parseKey(pem: string, what: string): KeyObject {
  if (/ENCRYPTED/.test(pem)) {
    throw new TlsSettingsError(
      `${what} is encrypted, and nobody is there to type its passphrase: decrypt it with \`openssl pkey\` ` +
        'into a file that only this user can read.',
    );
  }
  try {
    return createPrivateKey(pem);
  } catch {
    throw new TlsSettingsError(
      `${what} is no private key in PEM form: it must begin with -----BEGIN PRIVATE KEY----- (or RSA, EC); ` +
        'check that certificate and key are not swapped.',
    );
  }
}
