import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface FakeServer {
  /** `http://127.0.0.1:PORT`, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, as `METHOD path?query`. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** A table of answers by `path?query` or by path alone (404 for the rest), or a handler that does as it likes. */
export type FakeAnswers =
  | Readonly<Record<string, FakeAnswer | string>>
  | ((request: IncomingMessage, response: ServerResponse) => void);

/** A real HTTP server on a free loopback port. Close it: open connections are cut. */
export async function startFakeServer(answers: FakeAnswers): Promise<FakeServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    if (typeof answers === 'function') return answers(request, response);
    const url = request.url ?? '';
    const answer = answers[url] ?? answers[url.split('?')[0] ?? ''];
    if (answer === undefined)
      return void response.writeHead(404, { 'content-type': 'text/plain' }).end('Not Found\n');
    const { status = 200, headers = {}, body = '' } = typeof answer === 'string' ? { body: answer } : answer;
    return void response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
