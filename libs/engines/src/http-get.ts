import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';

import type { Answer } from './answers.ts';
import { TargetError, type TargetErrorReason } from './target-error.ts';

/** Where a target is and what opens it. */
export interface Endpoint {
  /** Base address: `http://host:port` with an optional path in front of all paths. */
  readonly url: string;
  /** Sent as `Authorization: Bearer`; never logged, never in an error. */
  readonly bearerToken?: string;
}

export interface HttpLimits {
  readonly maxBodyBytes: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = { maxBodyBytes: 16 * 1024 * 1024 };

/** Asks a target for one path. */
export type Get = (path: string, signal: AbortSignal) => Promise<Answer>;

const MAX_REDIRECTS = 2;
const gunzipBody = promisify(gunzip);
const inflateBody = promisify(inflate);

/**
 * A polite GET: no keep-alive (llama-server closes a kept connection under the next request, and a monitor that asks
 * every few seconds gains nothing by it), no compression asked for, bounded size, redirects only within the same
 * origin (LiteLLM sends `/metrics` to `/metrics/`).
 * @throws TargetError for everything that keeps an answer from arriving. An answer of any status is an answer.
 */
export function createGet(endpoint: Endpoint, limits: HttpLimits = DEFAULT_HTTP_LIMITS): Get {
  const base = new URL(endpoint.url.endsWith('/') ? endpoint.url : `${endpoint.url}/`);
  const headers: Record<string, string> = {
    accept: 'text/plain;version=0.0.4, application/json;q=0.9, */*;q=0.1',
    'accept-encoding': 'identity',
    'user-agent': 'llm-server-monitor',
  };
  if (endpoint.bearerToken !== undefined) headers['authorization'] = `Bearer ${endpoint.bearerToken}`;
  return async (path, signal) => {
    let url = new URL(path.replace(/^\//, ''), base);
    for (let redirects = 0; ; redirects += 1) {
      const { status, headers: answered, body } = await getOnce(url, headers, limits, signal);
      const location = status >= 300 && status < 400 ? answered['location'] : undefined;
      if (location === undefined) return { path, status, headers: answered, body };
      url = redirectedUrl(url, location, redirects);
    }
  };
}

function redirectedUrl(from: URL, location: string, redirects: number): URL {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw new TargetError(
      'redirected',
      from.href,
      'redirects to something that is no address: is this an LLM engine?',
    );
  }
  if (to.origin !== from.origin) {
    throw new TargetError(
      'redirected',
      from.href,
      `redirects to ${to.origin}, which is not followed: configure that address if the engine is there`,
    );
  }
  if (redirects >= MAX_REDIRECTS) throw new TargetError('redirected', from.href, 'redirects in circles');
  return to;
}

async function getOnce(
  url: URL,
  headers: Record<string, string>,
  limits: HttpLimits,
  signal: AbortSignal,
): Promise<Omit<Answer, 'path'>> {
  try {
    const response = await send(url, headers, signal);
    const raw = await readBounded(response, url, limits.maxBodyBytes);
    const plain = await decoded(raw, response.headers['content-encoding'], url, limits.maxBodyBytes);
    return { status: response.statusCode ?? 0, headers: flat(response), body: plain.toString('utf8') };
  } catch (error) {
    if (signal.aborted) {
      throw new TargetError(
        'timeout',
        url.href,
        'did not answer in time: is the engine hung, or the deadline too short?',
        error,
      );
    }
    throw error instanceof TargetError ? error : connectionError(url, error);
  }
}

/** Settles whatever the target does: a request that is upgraded or just closed has neither response nor error. */
function send(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const start = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = start(url, { headers, signal, agent: false, maxHeaderSize: 16 * 1024 }, resolve);
    const abort = (): void => {
      request.destroy();
      reject(new Error('aborted'));
    };
    signal.addEventListener('abort', abort, { once: true });
    request.on('error', reject);
    request.on('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new TargetError('not_http', url.href, 'switches to another protocol: is this the API port?'));
    });
    request.on('close', () => {
      signal.removeEventListener('abort', abort);
      reject(new TargetError('connection_lost', url.href, 'closed the connection before it had answered'));
    });
    request.end();
  });
}

async function readBounded(response: IncomingMessage, url: URL, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      response.destroy();
      throw tooLarge(url, maxBytes);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

async function decoded(
  raw: Buffer,
  encoding: string | undefined,
  url: URL,
  maxBytes: number,
): Promise<Buffer> {
  if (encoding === undefined || encoding === 'identity') return raw;
  const decode = encoding === 'gzip' ? gunzipBody : encoding === 'deflate' ? inflateBody : undefined;
  if (decode === undefined) {
    throw new TargetError(
      'not_http',
      url.href,
      `answered in the encoding ${encoding.slice(0, 20)}, which was not asked for`,
    );
  }
  try {
    return await decode(raw, { maxOutputLength: maxBytes });
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(url, maxBytes);
    throw new TargetError('not_http', url.href, `answered with broken ${encoding}`, error);
  }
}

function tooLarge(url: URL, maxBytes: number): TargetError {
  return new TargetError(
    'too_large',
    url.href,
    `answered with more than ${maxBytes / 1024 / 1024} MiB: is this the engine's metrics port?`,
  );
}

function flat(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

/** What a socket's error code means to the person who runs the engine. */
const CONNECTION_ERRORS: Readonly<Record<string, readonly [TargetErrorReason, string]>> = {
  ECONNREFUSED: ['refused', 'refused the connection: is the engine up, and is this its port?'],
  EHOSTUNREACH: ['unreachable', 'cannot be reached: is the host up, and is there a firewall between?'],
  ENETUNREACH: ['unreachable', 'cannot be reached: is there a route to that network?'],
  ETIMEDOUT: ['timeout', 'did not accept the connection in time: is there a firewall between?'],
  ENOTFOUND: ['name_not_found', 'has a host name that does not resolve: is it spelled right?'],
  EAI_AGAIN: ['name_not_found', 'has a host name that does not resolve now: does name resolution work here?'],
  ECONNRESET: ['connection_lost', 'closed the connection before it had answered'],
  EPIPE: ['connection_lost', 'closed the connection before it had answered'],
  EPROTO: ['tls', 'does not speak TLS here: is it http:// instead of https://?'],
  HPE_HEADER_OVERFLOW: ['too_large', 'answered with more than 16 KiB of headers: is this an LLM engine?'],
};

function connectionError(url: URL, error: unknown): TargetError {
  const code = codeOf(error);
  const known = code === undefined ? undefined : CONNECTION_ERRORS[code];
  if (known !== undefined) return new TargetError(known[0], url.href, known[1], error);
  if (code?.startsWith('HPE_') === true) {
    return new TargetError('not_http', url.href, 'does not speak HTTP: is this the API port?', error);
  }
  if (code !== undefined && /CERT|TLS|SSL|SELF_SIGNED|VERIFY|ALTNAME/.test(code)) {
    return new TargetError(
      'tls',
      url.href,
      `has a certificate that is not trusted (${code}): add its authority with NODE_EXTRA_CA_CERTS`,
      error,
    );
  }
  return new TargetError('connection_lost', url.href, `could not be read (${code ?? 'no code'})`, error);
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  // A name with several addresses fails with one error for each of them.
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return undefined;
}
