import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** The connections of a server, known by whether a request runs on them. */
export interface Connections {
  /** Whether a request runs on `socket`. */
  isBusy(socket: Duplex): boolean;
  /** Closes connections without a running request, now and whenever a request ends, and asks clients not to reuse theirs. */
  drain(): void;
  /** Cuts what is left; returns how many connections had a request running. */
  cut(): number;
}

/**
 * Follows the connections of `server`.
 *
 * Node's own `closeIdleConnections` (which `close` calls) counts a connection as idle once its answer was handed
 * over, though not yet sent (`_httpMessage.finished` in lib/_http_server.js): it would cut a large answer to a slow
 * scraper. So it is replaced by one that waits for the end of the answer.
 */
export function followConnections(server: Server, usesTls: boolean): Connections {
  const sockets = new Set<Socket>();
  const raw = new Set<Socket>();
  const running = new Map<Duplex, Set<ServerResponse>>();
  let isDraining = false;

  const follow = (set: Set<Socket>) => (socket: Socket) => {
    set.add(socket);
    socket.once('close', () => set.delete(socket));
    if (isDraining) closeIdle();
  };
  server.on(usesTls ? 'secureConnection' : 'connection', follow(sockets));
  if (usesTls) server.on('connection', follow(raw));

  server.prependListener('request', ({ socket }, response) => {
    const responses = running.get(socket) ?? new Set();
    running.set(socket, responses.add(response));
    if (isDraining) askToClose(response);
    response.once('close', () => {
      responses.delete(response);
      if (responses.size === 0) running.delete(socket);
      if (isDraining) closeIdle();
    });
  });

  function closeIdle(): void {
    // Once is enough, and each call would wait for the end of what is written with a listener of its own.
    for (const socket of sockets) if (!running.has(socket) && !socket.writableEnded) socket.destroySoon();
  }
  server.closeIdleConnections = () => {
    if (isDraining) closeIdle();
  };

  return {
    isBusy: (socket) => running.has(socket),
    drain() {
      isDraining = true;
      for (const responses of running.values()) responses.forEach(askToClose);
      closeIdle();
    },
    cut() {
      const busy = running.size;
      for (const socket of [...sockets, ...raw]) socket.destroy();
      return busy;
    },
  };
}

function askToClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}
