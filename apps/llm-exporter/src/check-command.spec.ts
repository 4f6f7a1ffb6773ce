import { Readable } from 'node:stream';

import type { Candidates } from '@llm-monitor/engines';
import { startFakeServer, type FakeServer } from '@llm-monitor/testing';

import { runExporterCommandLine } from './command-line.ts';
import { fixtureAnswers } from './test-exporter.ts';

const servers: FakeServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(fixture: string): Promise<FakeServer> {
  const server = await startFakeServer(fixtureAnswers(fixture));
  servers.push(server);
  return server;
}

async function check(
  env: Readonly<Record<string, string>>,
  candidates: Candidates = { ask: [], passedOver: [] },
): Promise<{ stdout: string; exitCode: number | undefined }> {
  let stdout = '';
  const decision = await runExporterCommandLine({
    argv: ['check'],
    env,
    readFile: () => '',
    stdin: Readable.from([]),
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: () => undefined },
    discover: () => Promise.resolve(candidates),
  });
  return { stdout, exitCode: decision.serve ? undefined : decision.exitCode };
}

describe('check', () => {
  it('prints a row for each target, and ends with 0 when all are up', async () => {
    const configured = await serve('vllm-0.27-v1-dp2-lora.http');
    const discovered = await serve('llamacpp-b11669-busy.http');
    const { stdout, exitCode } = await check(
      { LLM_EXPORTER_TARGETS: `big=${configured.url}` },
      {
        ask: [
          {
            socket: { address: '127.0.0.1', port: discovered.port, inode: '1' },
            url: discovered.url,
            engines: ['llamacpp'],
            why: 'a test',
            certain: true,
          },
        ],
        passedOver: [],
      },
    );
    expect(exitCode).toBe(0);
    const [head, ...rows] = stdout.split('\n');
    expect(head).toMatch(/^SERVER +ENGINE +STATE +VERSION +MODELS +METRICS$/);
    expect(rows[0]).toMatch(/^big +vllm +ready +\S+ +\S+ +\d+$/);
    expect(rows[1]).toMatch(/^llamacpp-\d+ +llamacpp +ready +b11669-Debian +qwen3-8b +\d+$/);
    expect(stdout).toMatch(
      /^llamacpp-\d+: without .*llm_time_to_first_token_seconds.*: the engine has no such metric/m,
    );
  });

  it('says what to do where the metrics are switched off', async () => {
    const server = await serve('llamacpp-b11669-metrics-off.http');
    const { stdout } = await check({ LLM_EXPORTER_TARGETS: `one=${server.url}` });
    expect(stdout).toContain('(start llama-server with --metrics)');
  });

  it('tells why a target is down, and ends with 1', async () => {
    const dead = await startFakeServer({});
    await dead.close();
    const { stdout, exitCode } = await check({ LLM_EXPORTER_TARGETS: `one=${dead.url}` });
    expect(exitCode).toBe(1);
    expect(stdout).toContain(`one: ${dead.url}/v1/models refused the connection: is the engine up`);
  });

  it('tells of a target that does not answer at all', async () => {
    const hung = await startFakeServer(() => undefined);
    servers.push(hung);
    const { stdout, exitCode } = await check({
      LLM_EXPORTER_TARGETS: `hung=vllm+${hung.url}`,
      LLM_EXPORTER_SCRAPE_TIMEOUT: '300ms',
    });
    expect(stdout).toMatch(/hung: .*did not answer in time/);
    expect(exitCode).toBe(1);
  });

  it('leaves the terminal alone, whatever a server calls its model', async () => {
    const answers = fixtureAnswers('llamacpp-b11669-busy.http');
    const renamed = Object.entries(answers).map(([path, answer]) => [
      path,
      { ...answer, body: answer.body.replaceAll('qwen3-8b', 'evil\\u001b[2J') },
    ]);
    const server = await startFakeServer(Object.fromEntries(renamed) as typeof answers);
    servers.push(server);
    const { stdout } = await check({ LLM_EXPORTER_TARGETS: `one=${server.url}` });
    expect(stdout).toContain('evil [2J');
    expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });

  it('says what it looked for when there is nothing, and ends with 1', async () => {
    const { stdout, exitCode } = await check({});
    expect(exitCode).toBe(1);
    expect(stdout).toContain('No LLM server found.');
    expect(stdout).toContain('llama.cpp (llama-server): program llama-server');
    expect(stdout).toContain('LLM_EXPORTER_TARGETS=chat=http://HOST:PORT');
  });
});
