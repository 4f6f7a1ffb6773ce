import { request as requestPlain } from 'node:http';
import { request as requestTls, type RequestOptions } from 'node:https';
import { text as textOf } from 'node:stream/consumers';

const ANSWER_SECONDS = 30;

/** Where a mock is, and what it asks of its clients. */
export interface ControlAddress {
  readonly url: string;
  readonly token?: string;
  /** PEM of the certificate that the mock itself shows: no other is trusted, whatever name is in it. */
  readonly certificate?: string;
}

/** What a command of the running mock printed, and its exit code. */
export interface ClientResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export type ControlCommand =
  | { readonly command: 'incidents' }
  | {
      readonly command: 'start';
      readonly incident: string;
      readonly target: string | undefined;
      readonly forSeconds: number | undefined;
    }
  | { readonly command: 'stop'; readonly incident: string };

interface IncidentsView {
  readonly incidents: readonly { readonly name: string; readonly title: string; readonly target: string }[];
  readonly targets: Readonly<Record<'engine' | 'gpu' | 'traffic', readonly Target[]>>;
  readonly active: readonly { readonly id: number; readonly incident: string; readonly target: string }[];
}

interface Target {
  readonly name: string;
  readonly kind?: string;
  readonly url?: string;
}

/**
 * Runs a command against the control API of a mock. Failures are told in what it printed.
 * @param program how a user calls this program, such as `node main.cjs`
 */
export async function runControl(
  address: ControlAddress,
  command: ControlCommand,
  program = 'mock-exporter',
): Promise<ClientResult> {
  try {
    if (command.command === 'incidents')
      return done(listed(await ask<IncidentsView>(address, 'GET', '/api/incidents')));
    if (command.command === 'stop') {
      const path = `/api/incidents/${encodeURIComponent(command.incident)}`;
      const { stopped } = await ask<{ readonly stopped: number }>(address, 'DELETE', path);
      return done(`stopped ${command.incident} on ${stopped} target(s)\n`);
    }
    const { incident, target, forSeconds } = command;
    const wanted = JSON.stringify({ incident, target, for_seconds: forSeconds });
    const started = await ask<{ readonly target: string }>(address, 'POST', '/api/incidents', wanted);
    return done(`${incident} goes on on ${started.target}; stop it with: ${program} stop ${incident}\n`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { stdout: '', stderr: `${why}\n`, exitCode: 1 };
  }
}

function done(stdout: string): ClientResult {
  return { stdout, stderr: '', exitCode: 0 };
}

function listed({ incidents, targets, active }: IncidentsView): string {
  const widest = Math.max(...incidents.map(({ name }) => name.length));
  const lines = incidents.map(({ name, title, target }) => `${name.padEnd(widest)}  ${title} (${target})`);
  const going = active.map(({ incident, target }) => `${incident} on ${target}`);
  const things = Object.entries(targets).map(
    ([target, all]) => `${target}: ${all.map(targetText).join(', ')}`,
  );
  return `${[...lines, '', ...things].join('\n')}\n\ngoing on: ${going.length === 0 ? 'nothing' : going.join(', ')}\n`;
}

/** `chat (vllm, http://127.0.0.1:8000)` */
function targetText({ name, kind, url }: Target): string {
  const more = [kind, url].filter((part) => part !== undefined);
  return more.length === 0 ? name : `${name} (${more.join(', ')})`;
}

async function ask<Answer>(
  address: ControlAddress,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: string,
): Promise<Answer> {
  const { status, text } = await send(address, method, path, body).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`no mock-exporter answers at ${address.url} (${why}); is it running, and on this port?`);
  });
  if (status === 401) throw new Error(WHO);
  const answer = parsed(text);
  const told = isRecord(answer) && isRecord(answer['error']) ? answer['error']['message'] : undefined;
  if (status >= 400 && typeof told === 'string') throw new Error(told);
  if (status < 400 && isRecord(answer)) return answer as Answer;
  throw new Error(
    `what answers at ${address.url} is no mock-exporter (status ${status}); set MOCK_EXPORTER_PORT, or MOCK_EXPORTER_HOST, for this command as for the mock`,
  );
}

const WHO =
  'the mock wants to know who asks; set MOCK_EXPORTER_AUTH_TOKEN_FILE, or MOCK_EXPORTER_AUTH_TOKEN, for this command as for the mock';

/** @throws Error where there is no answer */
function send(
  { url, token, certificate }: ControlAddress,
  method: string,
  path: string,
  body: string | undefined,
): Promise<{ readonly status: number; readonly text: string }> {
  const options: RequestOptions = {
    method,
    headers: {
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    signal: AbortSignal.timeout(ANSWER_SECONDS * 1000),
    ...(certificate === undefined
      ? {}
      : { ca: certificate, allowPartialTrustChain: true, checkServerIdentity: () => undefined }),
  };
  return new Promise((resolve, reject) => {
    const request = url.startsWith('https:') ? requestTls : requestPlain;
    const sent = request(`${url}${path}`, options, (answer) => {
      textOf(answer).then((text) => resolve({ status: answer.statusCode ?? 0, text }), reject);
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // JSON has no such value.
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
