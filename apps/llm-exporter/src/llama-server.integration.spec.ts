import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { chooseCandidates, listeningSockets } from '@llm-monitor/engines';

import { startTestExporter, type Scrape, type TestExporter } from './test-exporter.ts';

const workspaceRoot = path.resolve(__dirname, '../../..');
const shared = path.resolve(workspaceRoot, process.env['LLM_MONITOR_SHARED'] ?? '../shared');
const script = path.join(shared, 'tools/llama-server-up.sh');
const isThere = existsSync(script);
const reason =
  'no llama-server: set LLM_MONITOR_SHARED to the folder whose tools/llama-server-up.sh starts one';

const START_MILLISECONDS = 90_000;
const DEADLINE_MILLISECONDS = 30_000;
/** Faster than any scraper, so that whatever a reading disturbs is disturbed. */
const PACE_MILLISECONDS = 250;

const run = promisify(execFile);

interface LlamaServer {
  readonly url: string;
  readonly port: number;
}

const started: number[] = [];
const exporters: TestExporter[] = [];

/** A llama-server on a port of its own. */
async function startLlamaServer(...options: string[]): Promise<LlamaServer> {
  const port = await freePort();
  started.push(port);
  await run('bash', [script, '--port', String(port), ...options]);
  return { port, url: `http://127.0.0.1:${port}` };
}

afterEach(async () => {
  await Promise.all(exporters.splice(0).map((exporter) => exporter.stop()));
  for (const port of started.splice(0)) await run('bash', [script, '--stop', '--port', String(port)]);
}, START_MILLISECONDS);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The exporter, to which this host has but the one listening socket: what else runs here is none of this test's. */
async function monitor({ port }: LlamaServer): Promise<TestExporter> {
  const exporter = await startTestExporter({ DISCOVERY_INTERVAL: '1s' }, async () => {
    const sockets = (await listeningSockets()) ?? [];
    return chooseCandidates(
      sockets.filter((socket) => socket.port === port),
      new Set([process.pid]),
    );
  });
  exporters.push(exporter);
  return exporter;
}

/** Scrapes until `isReached`, at a steady pace; fails at the deadline with the last scrape. */
async function scrapeUntil(
  exporter: TestExporter,
  what: string,
  isReached: (scrape: Scrape) => boolean,
): Promise<Scrape> {
  const deadline = performance.now() + DEADLINE_MILLISECONDS;
  for (;;) {
    const scrape = await exporter.scrape();
    if (isReached(scrape)) return scrape;
    if (performance.now() > deadline) {
      const told = scrape.text
        .split('\n')
        .filter((line) => line.startsWith('llm_') && !line.includes('monitor'));
      throw new Error(`Not within ${DEADLINE_MILLISECONDS} ms: ${what}\n${told.join('\n')}`);
    }
    await pause(PACE_MILLISECONDS);
  }
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

/** One streamed chat, of as many tokens as wanted; what it used, by the engine's word to its client. */
async function chat(url: string, words: string, maxTokens: number): Promise<Usage> {
  const body = JSON.stringify({
    messages: [{ role: 'user', content: words }],
    max_tokens: maxTokens,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
  const text = await ask(`${url}/v1/chat/completions`, body);
  const frames = text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice('data: '.length)) as { usage?: Usage });
  const usage = frames.findLast((frame) => frame.usage)?.usage;
  if (usage === undefined) throw new Error(`The stream named no usage: ${text.slice(-500)}`);
  return usage;
}

/** One request without keep-alive: llama-server closes kept connections under the next request. */
function ask(url: string, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? 'GET' : 'POST';
    const outgoing = request(url, { method, agent: false, headers: { 'content-type': 'application/json' } });
    outgoing.on('error', reject).on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject).on('end', () => resolve(text));
    });
    outgoing.end(body);
  });
}

async function askJson<Answer>(url: string): Promise<Answer> {
  return JSON.parse(await ask(url)) as Answer;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

(isThere ? describe : describe.skip)(
  isThere ? 'a real llama-server' : `a real llama-server (${reason})`,
  () => {
    it(
      'is found by discovery, and its tokens are those that its clients counted',
      async () => {
        const server = await startLlamaServer('--parallel', '2');
        const exporter = await monitor(server);
        const labels = { server: `llamacpp-${server.port}`, engine: 'llamacpp' };
        const before = await scrapeUntil(
          exporter,
          'found and up',
          ({ value }) => value('llm_up', labels) === 1,
        );
        expect(before.value('llm_engine_state', { ...labels, state: 'ready' })).toBe(1);

        const load = Promise.all(
          ['tell me a story', 'and another one', 'tell me a story', 'why'].map((words) =>
            chat(server.url, words, 600),
          ),
        );
        const underLoad = await scrapeUntil(
          exporter,
          'two running',
          ({ value }) => value('llm_requests_running', labels) === 2,
        );
        expect(underLoad.value('llm_generation_tokens_in_flight', labels)).toBeGreaterThanOrEqual(0);

        const usages = await load;
        const wanted = {
          prompt: sum(usages.map(({ prompt_tokens }) => prompt_tokens)),
          generated: sum(usages.map(({ completion_tokens }) => completion_tokens)),
        };
        expect(wanted.generated).toBe(4 * 600);
        const counted = (scrape: Scrape) => {
          const delta = (name: string) =>
            (scrape.value(name, labels) ?? NaN) - (before.value(name, labels) ?? NaN);
          return {
            prompt: delta('llm_prompt_tokens_total'),
            generated: delta('llm_generation_tokens_total'),
          };
        };
        const after = await scrapeUntil(
          exporter,
          'idle again',
          (scrape) =>
            scrape.value('llm_requests_running', labels) === 0 &&
            counted(scrape).generated >= wanted.generated,
        );
        expect(counted(after)).toEqual(wanted);
      },
      START_MILLISECONDS,
    );

    it(
      'sees no slot used and no request made by being monitored',
      async () => {
        const server = await startLlamaServer('--parallel', '2');
        const exporter = await monitor(server);
        await chat(server.url, 'one task in one slot', 20);
        const labels = { server: `llamacpp-${server.port}` };
        const before = await scrapeUntil(
          exporter,
          'one request counted',
          ({ value }) => (value('llm_generation_tokens_total', labels) ?? 0) >= 20,
        );
        const slots = await askJson<unknown>(`${server.url}/slots`);
        const readings: (number | undefined)[] = [];
        for (let count = 0; count < 20; count += 1) {
          const { value } = await exporter.scrape();
          readings.push(value('llm_generation_tokens_total', labels));
        }
        expect(new Set(readings)).toEqual(new Set([before.value('llm_generation_tokens_total', labels)]));
        expect(await askJson<unknown>(`${server.url}/slots`)).toEqual(slots);
      },
      START_MILLISECONDS,
    );

    it(
      'falls asleep while it is monitored, and stays asleep',
      async () => {
        const server = await startLlamaServer('--parallel', '2', '--', '--sleep-idle-seconds', '2');
        const exporter = await monitor(server);
        const labels = { server: `llamacpp-${server.port}` };
        await scrapeUntil(exporter, 'up', ({ value }) => value('llm_up', labels) === 1);
        const asleep = await scrapeUntil(
          exporter,
          'asleep',
          ({ value }) => value('llm_engine_state', { ...labels, state: 'sleeping' }) === 1,
        );
        expect(asleep.value('llm_up', labels)).toBe(1);
        expect(asleep.value('llm_ready', labels)).toBe(0);
        for (let count = 0; count < 8; count += 1) {
          await pause(PACE_MILLISECONDS);
          const { value } = await exporter.scrape();
          expect(value('llm_engine_state', { ...labels, state: 'sleeping' })).toBe(1);
          expect(await askJson(`${server.url}/props`)).toMatchObject({ is_sleeping: true });
        }
      },
      START_MILLISECONDS,
    );

    it(
      'as a router keeps its models unloaded',
      async () => {
        const server = await startLlamaServer('--router');
        const exporter = await monitor(server);
        const labels = { server: `llamacpp-${server.port}` };
        await scrapeUntil(exporter, 'up', ({ value }) => value('llm_up', labels) === 1);
        for (let count = 0; count < 10; count += 1) {
          const { value } = await exporter.scrape();
          expect(value('llm_model_loaded', { ...labels, model: 'tiny-a' })).toBe(0);
          expect(value('llm_model_loaded', { ...labels, model: 'tiny-b' })).toBe(0);
        }
        const { data } = await askJson<{ data: { id: string; status: { value: string } }[] }>(
          `${server.url}/v1/models`,
        );
        expect(data.map(({ id, status }) => [id, status.value]).sort()).toEqual([
          ['tiny-a', 'unloaded'],
          ['tiny-b', 'unloaded'],
        ]);
      },
      START_MILLISECONDS,
    );
  },
);
