import { createCollectorRunner, type CollectorMetrics, type MetricFamily } from '@llm-monitor/metrics-core';
import { startFakeServer, type FakeAnswer, type FakeServer } from '@llm-monitor/testing';

import { createEngineCollection, type EngineCollectionParts } from './collect-engines.ts';
import { createGet } from './http-get.ts';
import { TargetBook } from './target-book.ts';

const VLLM: Record<string, FakeAnswer | string> = {
  '/metrics':
    'vllm:num_requests_running{model_name="m"} 3\nvllm:num_requests_waiting{model_name="m"} 1\nvllm:kv_cache_usage_perc{model_name="m"} 0.5\n',
  '/version': '{"version":"0.11.0"}',
  '/v1/models': '{"object":"list","data":[{"id":"m","owned_by":"vllm"}]}',
  '/health': '',
};

const servers: FakeServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(answers: Parameters<typeof startFakeServer>[0] = VLLM): Promise<string> {
  const server = await startFakeServer(answers);
  servers.push(server);
  return server.url;
}

/** A collection over servers by name, with a log of what the runner counted. */
function collectionOf(targets: Record<string, string>, parts: Partial<EngineCollectionParts> = {}) {
  const counted: string[] = [];
  const metrics: CollectorMetrics = {
    succeeded: (collector) => counted.push(`${collector} ok`),
    failed: (collector, reason) => counted.push(`${collector} ${reason}`),
    forget: (collector) => counted.push(`${collector} forgotten`),
  };
  const book = new TargetBook({
    configured: Object.entries(targets).map(([server, url]) => ({ server, endpoint: { url } })),
    createGet: (endpoint) => createGet(endpoint),
    forgetAfterSeconds: 60,
    readTimeoutSeconds: 5,
    now: () => 1_000_000,
  });
  const collection = createEngineCollection({ book, runner: createCollectorRunner({ metrics }), ...parts });
  return { collection, counted, book };
}

/** `server=value` of every point of a scalar family. */
function points(families: readonly MetricFamily[], name: string): string[] {
  return families
    .filter((family) => family.name === name)
    .flatMap((family) =>
      family.points.map((point) => `${point.labels['server'] ?? ''}=${'value' in point ? point.value : '?'}`),
    );
}

describe('a collection of engines', () => {
  it('gives every name once, with the points of all servers', async () => {
    const { collection, counted } = collectionOf({ a: await serve(), b: await serve() });
    const families = await collection.collect(5000);
    const names = families.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(points(families, 'llm_up')).toEqual(['a=1', 'b=1']);
    expect(points(families, 'llm_requests_running')).toEqual(['a=3', 'b=3']);
    expect(counted.sort()).toEqual(['a ok', 'b ok']);
  });

  it('counts a dead server by its reason, says that it is down, and gives the others', async () => {
    const dead = await startFakeServer({});
    await dead.close();
    const { collection, counted } = collectionOf({ good: await serve(), dead: dead.url });
    const families = await collection.collect(5000);
    expect(points(families, 'llm_up')).toEqual(['good=1', 'dead=0']);
    expect(points(families, 'llm_requests_running')).toEqual(['good=3']);
    expect(counted.sort()).toEqual(['dead refused', 'good ok']);
  });

  it('says of a hung server at the deadline that it is down', async () => {
    const hung = await serve(() => undefined);
    const { collection, counted } = collectionOf({ good: await serve(), hung });
    const families = await collection.collect(500);
    expect(points(families, 'llm_up')).toEqual(['good=1', 'hung=0']);
    expect(counted).toContain('hung timeout');
  });

  it('hardly waits for a server that hung before, and has it back as soon as it answers', async () => {
    let hung = true;
    let asked = 0;
    const held: (() => void)[] = [];
    const url = await serve((request, response) => {
      const answer = (): void => void response.end(VLLM[request.url ?? ''] ?? '');
      asked += 1;
      if (hung) held.push(answer);
      else answer();
    });
    const { collection, counted } = collectionOf({ moody: url });
    await collection.collect(300);
    const askedBefore = asked;
    // Would outlast the test, if it were waited for.
    expect(points(await collection.collect(30_000), 'llm_up')).toEqual(['moody=0']);
    expect(points(await collection.collect(30_000), 'llm_up')).toEqual(['moody=0']);
    expect(asked).toBe(askedBefore); // one reading goes on behind all these scrapes
    expect(counted.every((each) => each === 'moody timeout')).toBe(true);
    hung = false;
    held.splice(0).forEach((answer) => answer());
    for (let tries = 0; points(await collection.collect(30_000), 'llm_up')[0] !== 'moody=1'; tries += 1) {
      expect(tries).toBeLessThan(10);
    }
  });

  it('applies the guard to each server alone', async () => {
    const { collection } = collectionOf(
      { a: await serve(), b: await serve() },
      {
        guard: (server, families) =>
          server === 'a' ? families.filter(({ name }) => name !== 'llm_requests_running') : families,
      },
    );
    expect(points(await collection.collect(5000), 'llm_requests_running')).toEqual(['b=3']);
  });

  it('reads one server alone without touching what is counted of the others', async () => {
    const { collection, counted } = collectionOf({ a: await serve(), b: await serve() });
    await collection.collect(5000);
    counted.length = 0;
    const { families, up } = await collection.collectOne('b', 5000);
    expect(up).toBe(true);
    expect(points(families, 'llm_requests_running')).toEqual(['b=3']);
    expect(counted).toEqual([]);
  });

  it('gives nothing for a server that is not in the book', async () => {
    const { collection } = collectionOf({});
    expect(await collection.collectOne('nobody', 5000)).toEqual({ families: [], up: false });
  });

  it('tells of a failure that is ours, and gives the rest', async () => {
    const bugs: string[] = [];
    const { collection } = collectionOf(
      { a: await serve(), b: await serve() },
      {
        guard: (server, families) => {
          if (server === 'a') throw new RangeError('a bug');
          return families;
        },
        onBug: (server, error) => bugs.push(`${server} ${String(error)}`),
      },
    );
    expect(points(await collection.collect(5000), 'llm_up')).toEqual(['a=0', 'b=1']);
    expect(bugs).toEqual(['a RangeError: a bug']);
  });
});
