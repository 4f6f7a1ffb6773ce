import {
  adapterOf,
  createEngineReader,
  detectEngine,
  type EngineName,
  type EngineReading,
  type Get,
} from '@llm-monitor/engines';

import type { EngineKind, EngineState } from '../../engine/engine.ts';
import { pathOnly, type EngineSurface } from './surface.ts';
import { surfaces } from './surfaces.ts';
import { TEST_CONTEXT, testState } from './test-truth.ts';
import { isTritonMetricsPath } from './triton.ts';

/** A port of a mocked engine, as the exporter would ask it. */
function port(
  surface: EngineSurface,
  state: EngineState,
  serves: (path: string) => boolean = () => true,
): Get {
  return (path) => {
    const found = serves(pathOnly(path)) ? surface.answer(path, state, TEST_CONTEXT) : undefined;
    const answer = found ?? surface.notFound;
    const headers: Record<string, string> = { 'content-type': answer.contentType };
    for (const [name, value] of Object.entries(answer.headers ?? {})) headers[name.toLowerCase()] = value;
    return Promise.resolve({ path, status: answer.status, headers, body: answer.body });
  };
}

async function read(engine: EngineName, get: Get): Promise<EngineReading> {
  const reader = createEngineReader({
    adapter: adapterOf(engine),
    identity: { server: 'mock', engine },
    url: 'http://mock',
    detectedBy: 'test',
    get,
    now: () => 0,
  });
  return reader(new AbortController().signal);
}

/** Canonical samples as `name{label="value",…}`, without the labels that all have; histograms by sum and count. */
function canonical({ families }: EngineReading): Record<string, number> {
  const all: Record<string, number> = {};
  for (const { name, points } of families) {
    for (const point of points) {
      const labels = Object.entries(point.labels)
        .filter(([label]) => !['server', 'engine', 'model'].includes(label))
        .map(([label, value]) => `${label}=${value}`);
      const key = labels.length === 0 ? name : `${name}{${labels.join()}}`;
      // Two points of different models are one here: each engine serves one, and a pipeline has steps.
      if ('value' in point) all[key] = (all[key] ?? 0) + point.value;
      else {
        all[`${key}_sum`] = point.sum ?? -1;
        all[`${key}_count`] = point.count ?? -1;
      }
    }
  }
  return all;
}

const VERSIONS = Object.values(surfaces).flatMap((surface) =>
  surface.versions.map((version) => [surface.kind, version] as const),
);

describe('what a mocked engine answers', () => {
  it.each(VERSIONS)('is recognized as %s %s', async (kind, version) => {
    const surface = surfaces[kind];
    const get = port(surface, testState(surface, version));
    const found = await detectEngine(get, new AbortController().signal);
    expect(found?.engine).toBe(kind);
  });

  it.each(VERSIONS)('is all that the adapter of %s %s expects', async (kind, version) => {
    const surface = surfaces[kind];
    const reading = await read(kind, port(surface, testState(surface, version)));
    expect(reading.missing).toEqual([]);
    expect(reading.issues).toEqual([]);
    expect(reading.errors).toEqual([]);
    expect(reading.up).toBe(true);
    if (kind !== 'triton') expect(reading.version).toContain(version);
  });
});

const HISTOGRAMS: Readonly<Record<string, keyof EngineState['histograms']>> = {
  llm_time_to_first_token_seconds: 'timeToFirstTokenSeconds',
  llm_inter_token_latency_seconds: 'interTokenSeconds',
  llm_time_per_output_token_seconds: 'timePerOutputTokenSeconds',
  llm_request_duration_seconds: 'requestSeconds',
  llm_request_queue_time_seconds: 'queueSeconds',
  llm_request_prefill_time_seconds: 'prefillSeconds',
  llm_request_decode_time_seconds: 'decodeSeconds',
  llm_request_prompt_tokens: 'promptTokens',
  llm_request_generation_tokens: 'generatedTokens',
  llm_batch_tokens: 'iterationTokens',
};

/** What of the truth must come out, by engine; the rest of what the adapters give is not of the world's making. */
const EXPECTED: Readonly<
  Record<EngineKind, { scalars: Readonly<Record<string, number>>; histograms: readonly string[] }>
> = {
  vllm: {
    scalars: {
      llm_requests_running: 12,
      llm_requests_waiting: 5,
      llm_requests_preempted_total: 3,
      llm_prompt_tokens_total: 255_000,
      'llm_prompt_tokens_cached_total{source=device}': 91_000,
      llm_generation_tokens_total: 61_000,
      'llm_kv_cache_usage_ratio{kind=device}': 0.25,
      llm_kv_cache_capacity_tokens: 65_536,
      'llm_requests_finished_total{finish_reason=stop}': 200,
      'llm_requests_finished_total{finish_reason=length}': 27,
      'llm_requests_finished_total{finish_reason=abort}': 11,
      'llm_requests_finished_total{finish_reason=error}': 2,
      'llm_request_errors_total{error_type=rejected}': 7,
      llm_engine_start_time_seconds: 1_790_000_012.5,
      llm_model_context_tokens: 32_768,
    },
    histograms: Object.keys(HISTOGRAMS),
  },
  sglang: {
    scalars: {
      llm_requests_running: 12,
      llm_requests_waiting: 5,
      llm_requests_capacity: 256,
      llm_requests_preempted_total: 3,
      llm_prompt_tokens_total: 248_000, // of requests that have ended
      'llm_prompt_tokens_cached_total{source=device}': 91_000,
      llm_generation_tokens_total: 59_400,
      'llm_kv_cache_usage_ratio{kind=device}': 0.25,
      llm_kv_cache_used_tokens: 16_384,
      llm_kv_cache_capacity_tokens: 65_536,
      'llm_requests_finished_total{finish_reason=all}': 240,
      'llm_request_errors_total{error_type=aborted}': 11,
      'llm_request_errors_total{error_type=overloaded}': 7,
      'llm_request_errors_total{error_type=internal}': 2,
    },
    histograms: [
      'llm_time_to_first_token_seconds',
      'llm_inter_token_latency_seconds',
      'llm_request_duration_seconds',
      'llm_request_queue_time_seconds',
      'llm_request_prompt_tokens',
      'llm_request_generation_tokens',
    ],
  },
  tgi: {
    scalars: {
      llm_requests_running: 12,
      llm_requests_waiting: 5,
      llm_requests_capacity: 256,
      llm_prompt_tokens_total: 248_000,
      llm_generation_tokens_total: 59_400,
      llm_kv_cache_used_tokens: 16_384,
      llm_kv_cache_capacity_tokens: 65_536,
      'llm_requests_finished_total{finish_reason=all}': 227,
      'llm_request_errors_total{error_type=overloaded}': 7,
      'llm_request_errors_total{error_type=aborted}': 11,
      'llm_request_errors_total{error_type=internal}': 2,
    },
    histograms: [
      'llm_time_per_output_token_seconds',
      'llm_request_duration_seconds',
      'llm_request_queue_time_seconds',
      'llm_request_prompt_tokens',
      'llm_request_generation_tokens',
    ],
  },
  llamacpp: {
    scalars: {
      llm_requests_running: 12,
      llm_requests_waiting: 5,
      llm_requests_capacity: 12,
      llm_prompt_tokens_total: 260_000, // looked for in the cache, of which some are still being computed
      'llm_prompt_tokens_cached_total{source=device}': 91_000,
      llm_generation_tokens_total: 60_340, // but for the 660 of running requests
      llm_prefill_busy_seconds_total: 48.5,
      llm_decode_busy_seconds_total: 1500.25,
      // Prompts of 100 to 111 tokens, answers of 0, 10, … 110.
      llm_kv_cache_used_tokens: 1266 + 660,
      llm_generation_tokens_in_flight: 660,
    },
    histograms: [],
  },
  ollama: {
    scalars: {
      'llm_model_memory_bytes{kind=total}': 6_668_095_488,
      'llm_model_memory_bytes{kind=vram}': 5_000_000_000,
      llm_model_unload_time_seconds: 1_790_000_900.25,
      llm_model_loaded: 1,
      llm_model_context_tokens: 8192,
    },
    histograms: [],
  },
  triton: {
    scalars: {
      llm_requests_running: 12,
      llm_requests_waiting: 5,
      llm_requests_capacity: 256,
      'llm_kv_cache_usage_ratio{kind=device}': 0.25,
      llm_kv_cache_used_tokens: 16_384,
      llm_kv_cache_capacity_tokens: 65_536,
      'llm_requests_finished_total{finish_reason=all}': 227,
      'llm_request_errors_total{error_type=rejected}': 7,
      'llm_request_errors_total{error_type=aborted}': 11,
      'llm_request_errors_total{error_type=internal}': 2,
    },
    histograms: ['llm_time_to_first_token_seconds'],
  },
};

describe.each(Object.values(surfaces).map((surface) => [surface.kind, surface] as const))(
  'canonical metrics of a mocked %s',
  (kind, surface) => {
    const state = testState(surface);

    it('are the truth', async () => {
      const found = canonical(await read(kind, port(surface, state)));
      const { scalars } = EXPECTED[kind];
      for (const [name, value] of Object.entries(scalars)) {
        expect([name, found[name]]).toEqual([name, value]);
      }
    });

    it('have the sums and counts of the truth, and its bounds', async () => {
      const reading = await read(kind, port(surface, state));
      const names = EXPECTED[kind].histograms;
      const found = reading.families.flatMap(({ name, type, points }) =>
        type === 'histogram' && points.length > 0 ? [name] : [],
      );
      expect(found.sort()).toEqual([...names].sort());
      for (const name of names) {
        const key = HISTOGRAMS[name];
        const point = reading.families.find((family) => family.name === name)?.points[0];
        if (key === undefined || point === undefined || !('bounds' in point)) throw new Error(`no ${name}`);
        const truth = state.histograms[key];
        expect([name, point.sum, point.count]).toEqual([name, truth.sum, truth.count]);
        expect(point.bounds.slice(0, -1)).toEqual(truth.bounds);
        const cumulative = truth.counts.map((_, index) =>
          truth.counts.slice(0, index + 1).reduce((sum, count) => sum + count, 0),
        );
        expect(point.counts).toEqual([...cumulative, truth.count]);
      }
    });
  },
);

describe('states of a mocked engine', () => {
  it.each<[EngineKind, EngineState['condition'], string]>([
    ['vllm', 'serving', 'ready'],
    ['vllm', 'asleep', 'sleeping'],
    ['vllm', 'hung', 'ready'], // its health check asks only whether the engine's process lives
    ['sglang', 'serving', 'ready'],
    ['sglang', 'loading', 'loading'],
    ['llamacpp', 'serving', 'ready'],
    ['llamacpp', 'loading', 'loading'],
    ['llamacpp', 'asleep', 'sleeping'],
  ])('%s that is %s is read as %s', async (kind, condition, expected) => {
    const surface = surfaces[kind];
    const reading = await read(kind, port(surface, { ...testState(surface), condition }));
    expect(reading.state).toBe(expected);
  });

  it.each<[EngineState['condition'], string]>([
    ['serving', 'ready'],
    ['loading', 'loading'],
  ])(
    'Triton that is %s is read as %s on its HTTP port, which tells its version',
    async (condition, expected) => {
      const surface = surfaces.triton;
      const state = { ...testState(surface), condition };
      const reading = await read(
        'triton',
        port(surface, state, (path) => !isTritonMetricsPath(path)),
      );
      expect([reading.state, reading.version]).toEqual([expected, '2.60.0']);
    },
  );

  it.each<[EngineKind, EngineState['condition'], boolean]>([
    ['vllm', 'loading', false],
    ['vllm', 'serving', true],
    ['vllm', 'down', false],
    ['tgi', 'loading', false],
    ['tgi', 'hung', true],
    ['llamacpp', 'loading', true],
    ['llamacpp', 'down', false],
    ['ollama', 'down', false],
  ])('%s that is %s listens: %s', (kind, condition, expected) => {
    const surface = surfaces[kind];
    expect(surface.listens({ ...testState(surface), condition })).toBe(expected);
  });

  it.each(Object.values(surfaces).map((surface) => [surface.kind, surface] as const))(
    '%s does not know another path',
    (_kind, surface) => {
      expect(surface.answer('/nothing', testState(surface), TEST_CONTEXT)).toBeUndefined();
      expect(surface.notFound.status).toBe(404);
    },
  );
});

describe('windows between two looks', () => {
  const before = testState(surfaces.llamacpp);
  const after: EngineState = {
    ...before,
    promptTokens: before.promptTokens + 4000,
    prefixCache: {
      queriedTokens: before.prefixCache.queriedTokens + 4000,
      hitTokens: before.prefixCache.hitTokens + 1000,
    },
    generatedTokens: before.generatedTokens + 500,
    histograms: {
      ...before.histograms,
      prefillSeconds: { ...before.histograms.prefillSeconds, sum: before.histograms.prefillSeconds.sum + 2 },
      decodeSeconds: { ...before.histograms.decodeSeconds, sum: before.histograms.decodeSeconds.sum + 4 },
    },
  };
  const lines = (state: EngineState, last: EngineState): string[] =>
    surfaces.llamacpp
      .answer('/metrics', state, { ...TEST_CONTEXT, lastScrape: { seconds: 590, state: last } })
      ?.body.split('\n')
      .filter(
        (line) =>
          /^llamacpp:p\w+_tokens_seconds /.test(line) || line.startsWith('llamacpp:prompt_tokens_seconds '),
      ) ?? [];

  it('llama.cpp divides the tokens that were added by the seconds that were added', () => {
    expect(lines(after, before)).toEqual([
      'llamacpp:prompt_tokens_seconds 1500',
      'llamacpp:predicted_tokens_seconds 125',
    ]);
  });

  it('llama.cpp says 0 where nothing ended in between', () => {
    expect(lines(after, after)).toEqual([
      'llamacpp:prompt_tokens_seconds 0',
      'llamacpp:predicted_tokens_seconds 0',
    ]);
  });

  it('SGLang divides them by the time that passed', () => {
    const surface = surfaces.sglang;
    const state = { ...testState(surface), generatedTokens: 61_900 };
    const context = { ...TEST_CONTEXT, lastScrape: { seconds: 590, state: testState(surface) } };
    expect(surface.answer('/metrics', state, context)?.body).toMatch(/^sglang:gen_throughput\{.*\} 90\.0$/m);
  });
});

describe('counters', () => {
  it.each<EngineKind>(['vllm', 'llamacpp'])(
    'of %s do not fall while a prompt is computed of which a part was found in the cache',
    (kind) => {
      const surface = surfaces[kind];
      const before = testState(surface);
      const { queriedTokens, hitTokens } = before.prefixCache;
      // Looked up and found at its start; counted as a prompt when it is done.
      const during = {
        ...before,
        prefixCache: { queriedTokens: queriedTokens + 900, hitTokens: hitTokens + 800 },
      };
      const after = { ...during, promptTokens: before.promptTokens + 900 };
      const counters = (state: EngineState): Map<string, number> =>
        new Map(
          (surface.answer('/metrics', state, TEST_CONTEXT)?.body ?? '')
            .split('\n')
            .flatMap((line) => (/^\S+_total\S* /.test(line) ? [line.split(' ')] : []))
            .map(([name = '', value]) => [name, Number(value)]),
        );
      for (const [earlier, later] of [
        [before, during],
        [during, after],
      ] as const) {
        const values = counters(earlier);
        expect(values.size).toBeGreaterThan(4);
        const fallen = [...counters(later)].filter(([name, value]) => value < (values.get(name) ?? 0));
        expect(fallen).toEqual([]);
      }
    },
  );
});
