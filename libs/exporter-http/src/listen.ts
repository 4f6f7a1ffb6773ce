import {
  createServer as createHttpServer,
  type RequestListener,
  type Server,
  type ServerOptions,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { isIPv6 } from 'node:net';

import type { Logger } from 'pino';

import { followConnections } from './connections.ts';
import { ListenError, TlsSettingsError } from './errors.ts';
import { allowedHostsOf, type AllowedHosts } from './host-check.ts';
import type { HttpApp } from './http-app.ts';
import { readTlsPair, secureContextOptions, type TlsFiles } from './tls-files.ts';

/** Bounds on what a client can make the server hold. */
export interface ListenLimits {
  readonly maxHeaderBytes: number;
  /** From the first byte of a request to the end of its headers. */
  readonly headersTimeoutSeconds: number;
  /** From the first byte of a request to the end of its body. */
  readonly requestTimeoutSeconds: number;
  readonly keepAliveTimeoutSeconds: number;
  /** A connection on which nothing moves for so long is cut, also in the midst of an answer. */
  readonly idleTimeoutSeconds: number;
  readonly maxConnections: number;
}

/** Connections are kept for longer than the usual scrape interval of a minute, so that scrapers reuse theirs. */
export const defaultListenLimits: ListenLimits = {
  maxHeaderBytes: 16 * 1024,
  headersTimeoutSeconds: 10,
  requestTimeoutSeconds: 30,
  keepAliveTimeoutSeconds: 75,
  idleTimeoutSeconds: 120,
  maxConnections: 512,
};

export interface ListenOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly tls?: TlsFiles;
  readonly limits?: Partial<ListenLimits>;
  /** Host names to answer to beside the local ones; without it any, but on loopback only local ones. */
  readonly allowedHosts?: AllowedHosts;
}

/** A server that listens. */
export interface Listening {
  /** Where a browser on this machine finds it. */
  readonly url: string;
  readonly port: number;
  /** Reads certificate and key again and uses them for new connections; a bad pair is logged and the one in use kept. */
  readonly reloadTls: () => Promise<void>;
  /**
   * Stops: accepts no more, closes idle connections, waits for running requests up to `graceSeconds`, cuts the rest.
   * Resolves when all are closed; a second call waits for the first.
   */
  readonly stop: (graceSeconds: number) => Promise<void>;
}

/** How often TLS files are looked at; certificates are renewed days before they end. */
const TLS_CHECK_SECONDS = 60;

const TLS_HANDSHAKE_SECONDS = 10;

/**
 * Serves `app`.
 *
 * @throws ListenError when address or port cannot be had.
 * @throws TlsSettingsError when certificate or key cannot be used.
 */
export async function listen(
  app: Pick<HttpApp, 'handlerFor' | 'beginStop' | 'log'>,
  { host, port, tls, limits, allowedHosts }: ListenOptions,
): Promise<Listening> {
  const bounds = { ...defaultListenLimits, ...limits };
  const handler = app.handlerFor(allowedHostsOf(host, allowedHosts));
  const { server, reloadTls, usesTls } = tls
    ? await createTlsServer(tls, bounds, handler, app.log)
    : { server: createHttpServer(serverOptions(bounds), handler), reloadTls: undefined, usesTls: false };
  server.maxConnections = bounds.maxConnections;
  server.timeout = bounds.idleTimeoutSeconds * 1000;
  const connections = followConnections(server, usesTls);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    app.log.debug({ code: error.code }, 'request could not be read');
    const status = unreadableStatus(error.code);
    if (status && socket.writable && !connections.isBusy(socket)) socket.end(unreadableAnswer(status));
    else socket.destroy();
  });
  const boundPort = await bind(server, { host, port }, app.log);
  const timer = reloadTls && setInterval(() => void reloadTls(), TLS_CHECK_SECONDS * 1000).unref();

  let stopped: Promise<void> | undefined;
  const stop = async (graceSeconds: number): Promise<void> => {
    app.beginStop();
    clearInterval(timer);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    connections.drain();
    const grace = setTimeout(() => {
      const requests = connections.cut();
      app.log.warn({ requests, graceSeconds }, 'connections still open after the grace period were cut');
    }, graceSeconds * 1000);
    await closed;
    clearTimeout(grace);
  };
  return {
    url: `${usesTls ? 'https' : 'http'}://${reachableHost(host)}:${boundPort}`,
    port: boundPort,
    reloadTls: reloadTls ?? (() => Promise.resolve()),
    stop: (graceSeconds) => (stopped ??= stop(graceSeconds)),
  };
}

function serverOptions(bounds: ListenLimits): ServerOptions {
  return {
    maxHeaderSize: bounds.maxHeaderBytes,
    headersTimeout: bounds.headersTimeoutSeconds * 1000,
    requestTimeout: Math.max(bounds.requestTimeoutSeconds, bounds.headersTimeoutSeconds) * 1000,
    keepAliveTimeout: bounds.keepAliveTimeoutSeconds * 1000,
    // Node looks for late requests only so often; its default of 30 s would treble a timeout of 10 s.
    connectionsCheckingInterval: Math.min(1, bounds.headersTimeoutSeconds) * 1000,
  };
}

async function createTlsServer(
  files: TlsFiles,
  bounds: ListenLimits,
  handler: RequestListener,
  log: Logger,
): Promise<{ server: Server; reloadTls: () => Promise<void>; usesTls: boolean }> {
  let used = await readTlsPair(files);
  const server = createHttpsServer(
    {
      ...serverOptions(bounds),
      ...secureContextOptions(used),
      handshakeTimeout: TLS_HANDSHAKE_SECONDS * 1000,
    },
    handler,
  );
  let toldProblem: string | undefined;
  const reloadTls = async (): Promise<void> => {
    try {
      const pair = await readTlsPair(files);
      toldProblem = undefined;
      if (pair.cert === used.cert && pair.key === used.key) return;
      server.setSecureContext(secureContextOptions(pair));
      used = pair;
      log.info('TLS certificate replaced by the one now on disk');
    } catch (err) {
      if (!(err instanceof TlsSettingsError)) throw err;
      if (err.message !== toldProblem)
        log.error({ err }, 'new TLS files cannot be used, the old ones stay in use');
      toldProblem = err.message;
    }
  };
  return { server, reloadTls, usesTls: true };
}

/** What to answer to a request that the parser gave up on; undefined when there is nobody to answer over HTTP. */
function unreadableStatus(code: string | undefined): string | undefined {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout';
  return code?.startsWith('HPE_') ? '400 Bad Request' : undefined;
}

function unreadableAnswer(status: string): string {
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: text/plain; charset=utf-8',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${status.length + 1}`,
    'Connection: close',
    '',
    `${status}\n`,
  ].join('\r\n');
}

function bind(server: Server, { host, port }: { host: string; port: number }, log: Logger): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(new ListenError(host, port, cause)));
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      // A connection that cannot be accepted (EMFILE) costs itself, not the process.
      server.on('error', (err) => log.error({ err }, 'connection could not be accepted'));
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** An address that listens on all interfaces is no address to go to. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return isIPv6(host) ? `[${host}]` : host;
}
