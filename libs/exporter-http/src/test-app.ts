import { once } from 'node:events';
import { request, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, type Socket } from 'node:net';

import { pino, type Logger } from 'pino';
import { Registry } from 'prom-client';

import { createHttpApp, type HttpApp, type HttpAppParts } from './http-app.ts';
import { listen, type Listening, type ListenOptions } from './listen.ts';

/**
 * What the tests of this library share: an app with plain parts on a free port, its log as records, and clients that
 * send exactly what they are told. Not part of the library's API.
 */
export interface TestApp {
  readonly app: HttpApp;
  readonly server: Listening;
  readonly registry: Registry;
  readonly log: TestLog;
}

export type LogRecord = Readonly<Record<string, unknown>>;

export interface TestLog {
  readonly logger: Logger;
  readonly records: readonly LogRecord[];
  /** The first record with `message`, which may be still to come. */
  readonly first: (message: string) => Promise<LogRecord>;
}

/** A logger that keeps its records. */
export function createTestLog(): TestLog {
  const records: LogRecord[] = [];
  const awaited: ((record: LogRecord) => void)[] = [];
  const write = (line: string): void => {
    const record = JSON.parse(line) as LogRecord;
    records.push(record);
    for (const tell of awaited) tell(record);
  };
  return {
    logger: pino({ level: 'trace', base: {} }, { write }),
    records,
    first: (message) =>
      new Promise((resolve) => {
        const tell = (record: LogRecord) => void (record['msg'] === message && resolve(record));
        awaited.push(tell);
        records.forEach(tell);
      }),
  };
}

/** An app with the plainest parts, but for those given. */
export function createTestApp(parts: Partial<HttpAppParts> = {}): Omit<TestApp, 'server'> {
  const registry = new Registry();
  const log = createTestLog();
  const app = createHttpApp({
    name: 'test-exporter',
    title: 'Test exporter',
    description: 'Nothing of note.',
    version: '1.2.3',
    log: log.logger,
    registry,
    metrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    ready: () => ({ ready: true }),
    maxConcurrentRequests: 10,
    requestTimeoutSeconds: 30,
    ...parts,
  });
  return { app, registry, log };
}

/** The same, listening on a free port of 127.0.0.1. */
export async function startTestApp(
  parts: Partial<HttpAppParts> = {},
  options: Partial<ListenOptions> = {},
): Promise<TestApp> {
  const created = createTestApp(parts);
  const server = await listen(created.app, { host: '127.0.0.1', port: 0, ...options });
  return { ...created, server };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
}

export interface Question extends RequestOptions {
  readonly body?: string;
  readonly ca?: string;
}

/** One request, sent as told, and its whole answer. */
export async function ask(url: string, { body, ca, ...options }: Question = {}): Promise<Answer> {
  const settings = { agent: false as const, ...options };
  const outgoing = url.startsWith('https:') ? requestTls(url, { ...settings, ca }) : request(url, settings);
  outgoing.end(body);
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const bytes = Buffer.concat(chunks);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          bytes,
          text: bytes.toString(),
        });
      });
    });
  });
}

/** A connection to a port of 127.0.0.1 and what came over it. */
export interface RawConnection {
  readonly socket: Socket;
  readonly received: () => string;
  /** Resolves once `text` has come. */
  readonly until: (text: string) => Promise<void>;
  readonly closed: Promise<void>;
}

export async function connectTo(port: number): Promise<RawConnection> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk) => (received += String(chunk)));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await once(socket, 'connect');
  return {
    socket,
    received: () => received,
    closed,
    until: async (text) => {
      while (!received.includes(text)) await once(socket, 'data');
    },
  };
}

/** A promise that the test settles, and one that tells when somebody waits for it. */
export function createHold<T>(): {
  promise: Promise<T>;
  release: (value: T) => void;
  reached: Promise<void>;
  reach: () => void;
} {
  let release: (value: T) => void = () => undefined;
  let reach: () => void = () => undefined;
  const promise = new Promise<T>((resolve) => (release = resolve));
  const reached = new Promise<void>((resolve) => (reach = resolve));
  return { promise, release: (value) => release(value), reached, reach: () => reach() };
}
