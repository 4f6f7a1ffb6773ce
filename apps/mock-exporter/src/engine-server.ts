import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

import { ListenError } from '@llm-monitor/exporter-http';
import {
  createRandom,
  engineApis,
  renamedMetrics,
  surfaces,
  type ApiCall,
  type CallParts,
  type EngineSpec,
  type EngineState,
  type SurfaceAnswer,
  type SurfaceContext,
  type WorldEngine,
} from '@llm-monitor/simulation';
import type { Logger } from 'pino';

import { reachableUrl } from './reachable-url.ts';

/** Prompts of a million tokens fit; what is larger is refused. */
const MAX_BODY_BYTES = 16 * 1024 ** 2;
const REQUEST_SECONDS = 30;
/** What a client does not read is kept up to here; beyond it, it is taken for gone. */
const MAX_UNREAD_BYTES = 4 * 1024 ** 2;
/** Between two attempts to take a port that another program has meanwhile. */
const RETRY_MILLISECONDS = 1000;

export interface EngineServerParts {
  readonly engine: WorldEngine;
  readonly spec: EngineSpec;
  readonly host: string;
  readonly seed: string;
  /** Unix time at the world's second 0. */
  readonly epochSeconds: number;
  /** Brings the world to this instant and says which it is. */
  readonly now: () => number;
  readonly log: Logger;
}

/** One engine of the world on its own port, with the paths and words of the real one. */
export class EngineServer {
  private readonly parts: EngineServerParts;
  private readonly server: Server;
  private port: number;
  private lastScrape: SurfaceContext['lastScrape'];
  private calls = 0;
  private isOpen = false;
  private nextTryMilliseconds = 0;
  private wasTold = false;

  constructor(parts: EngineServerParts) {
    this.parts = parts;
    this.port = parts.spec.port;
    this.server = createServer({ requestTimeout: REQUEST_SECONDS * 1000 }, (request, response) => {
      this.answer(request, response).catch(() => response.destroy());
    });
    this.server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    });
  }

  /** Undefined until it listened once, where the system chooses the port. */
  get url(): string | undefined {
    return this.port === 0 ? undefined : reachableUrl('http', this.parts.host, this.port);
  }

  /**
   * Takes the port.
   * @throws ListenError when it cannot be had
   */
  async listen(): Promise<void> {
    const { host } = this.parts;
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: Error): void => reject(new ListenError(host, this.port, cause));
      this.server.once('error', fail);
      this.server.listen({ host, port: this.port }, () => {
        this.server.off('error', fail);
        this.server.on('error', (err) => this.failed(err));
        this.server.on('listening', () => this.opened());
        this.port = (this.server.address() as AddressInfo).port;
        this.isOpen = true;
        resolve();
      });
    });
  }

  /**
   * Opens and closes the port as the engine does: a process that is down refuses connections. A port that another program
   * took meanwhile is tried again until it is free.
   */
  follow(): void {
    const isUp = surfaces[this.parts.spec.kind].listens(this.parts.engine.now.state());
    if (isUp === this.isOpen) return;
    if (isUp && performance.now() < this.nextTryMilliseconds) return;
    this.isOpen = isUp;
    if (isUp) {
      this.server.listen({ host: this.parts.host, port: this.port });
    } else {
      this.server.close();
      this.server.closeAllConnections();
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  /** The port was taken again; by then the engine may be down already. */
  private opened(): void {
    if (!this.isOpen) this.server.close();
    if (this.wasTold)
      this.parts.log.info({ engine: this.parts.spec.name }, 'the port of an engine is free again');
    this.wasTold = false;
  }

  private failed(err: Error): void {
    const facts = { err, engine: this.parts.spec.name, port: this.port };
    if (this.server.listening) {
      this.parts.log.error(facts, 'a connection to an engine could not be accepted');
      return;
    }
    this.isOpen = false;
    this.nextTryMilliseconds = performance.now() + RETRY_MILLISECONDS;
    if (!this.wasTold) {
      this.parts.log.error(
        facts,
        'the port of an engine that is up again cannot be had; trying until it is free',
      );
    }
    this.wasTold = true;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { kind } = this.parts.spec;
    const path = request.url ?? '/';
    if (request.method === 'GET' || request.method === 'HEAD') {
      send(response, this.read(path) ?? surfaces[kind].notFound);
      return;
    }
    const body = await readText(request);
    if (body === undefined) return send(response, TOO_LARGE);
    const parts = this.callParts(request);
    const outcome = engineApis[kind].call(path, body, parts);
    if (outcome === undefined) return send(response, surfaces[kind].notFound);
    if ('answer' in outcome) return send(response, outcome.answer);
    this.offer(path, outcome.call, parts, response);
  }

  private read(path: string): SurfaceAnswer | undefined {
    const surface = surfaces[this.parts.spec.kind];
    const seconds = this.parts.now();
    const state = this.parts.engine.now.state();
    const answer = surface.answer(path, state, this.context(seconds));
    if (answer === undefined || !path.startsWith('/metrics')) return answer;
    this.lastScrape = { seconds, state };
    return this.parts.engine.isRenamed ? { ...answer, body: renamedMetrics(answer.body) } : answer;
  }

  /** A request that is sent here becomes one in the world, and its tokens come when the world says them. */
  private offer(path: string, call: ApiCall, parts: CallParts, response: ServerResponse): void {
    if (response.destroyed) return; // Its client went away while its body was read.
    const engine = this.parts.engine.now;
    let isOver = false;
    const write = (text: string): void => {
      if (text === '') return;
      if (!response.headersSent) response.writeHead(200, { 'content-type': call.contentType });
      response.write(text);
      if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
    };
    const admission = engine.submit(call.request, {
      onTokens: (count, seconds) => write(call.tokens(count, seconds)),
      onEnd: (reason, seconds) => {
        isOver = true;
        if (reason === 'abort' && response.destroyed) return;
        const end = call.end(reason, seconds);
        if (response.headersSent) response.end(end.body);
        else send(response, end);
      },
    });
    if (!admission.accepted) {
      const { kind } = this.parts.spec;
      send(response, engineApis[kind].refusal(path, admission.status, admission.message, parts));
      return;
    }
    response.once('close', () => {
      if (!isOver) engine.cancel(call.request.id);
    });
  }

  private callParts(request: IncomingMessage): CallParts {
    const { seed, spec } = this.parts;
    this.calls += 1;
    const id = `call-${spec.name}-${this.calls}`;
    const seconds = this.parts.now();
    return {
      id,
      tenant: request.socket.remoteAddress ?? 'unknown',
      random: createRandom(`${seed}/${id}`),
      state: this.state(),
      context: this.context(seconds),
    };
  }

  private state(): EngineState {
    return this.parts.engine.now.state();
  }

  private context(seconds: number): SurfaceContext {
    const { spec, epochSeconds } = this.parts;
    const { loras, maxSequences, contextTokens } = spec.settings;
    return {
      seconds,
      epochSeconds,
      models: spec.models,
      maxRunning: maxSequences,
      ...(contextTokens === undefined ? {} : { contextTokens }),
      ...(loras === undefined ? {} : { loras: loras.names }),
      ...(this.lastScrape === undefined ? {} : { lastScrape: this.lastScrape }),
    };
  }
}

const TOO_LARGE: SurfaceAnswer = {
  status: 413,
  contentType: 'text/plain; charset=utf-8',
  body: 'Payload Too Large',
};

function send(response: ServerResponse, { status, contentType, body, headers }: SurfaceAnswer): void {
  if (response.destroyed) return;
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    ...headers,
    ...(status === TOO_LARGE.status ? { connection: 'close' } : {}),
  });
  response.end(body);
}

/** @returns undefined where it is too large */
async function readText(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    if (!(chunk instanceof Buffer)) continue;
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
