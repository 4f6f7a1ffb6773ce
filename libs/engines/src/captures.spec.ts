import { readFileSync } from 'node:fs';
import path from 'node:path';

import { renderExposition } from '@llm-monitor/metrics-core';
import {
  captureFiles,
  capturesDirectory,
  capturesReason,
  promtoolPath,
  promtoolReason,
  runPromtoolCheck,
} from '@llm-monitor/testing';

import { llmFamilies, type CanonicalFamily, type LlmMetricName } from './families.ts';
import { readSaved, type SavedReading } from './read-saved.ts';
import type { EngineName } from './registry.ts';
import { TargetError, type TargetErrorReason } from './target-error.ts';

/** What the saved answers of real engines are recognized as; a `*` stands for any text but a slash. */
const RECOGNIZED: readonly (readonly [file: string, engine: EngineName])[] = [
  ['dynamo/dynamo-worker-vllm-2026-03-excerpt.prom', 'dynamo'],
  ['litellm/litellm-metrics.prom', 'litellm'],
  ['llama.cpp/2024-11-9abe9eeae9/metrics-after-load.prom', 'llamacpp'],
  ['llama.cpp/2024-11-9abe9eeae9/metrics-second-scrape.prom', 'llamacpp'],
  ['llama.cpp/2024-11-9abe9eeae9/metrics-under-load.prom', 'llamacpp'],
  ['llama.cpp/2024-11-9abe9eeae9/slots-busy.json', 'llamacpp'],
  ['llama.cpp/b11669-large-counters/metrics-*.prom', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/load/*.metrics.prom', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/load/*.slots.json', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/metrics.*.prom', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/props.json', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/slots.*.json', 'llamacpp'],
  ['llama.cpp/debian-0.7.0/v1-models.json', 'llamacpp'],
  ['lmdeploy/generated/lmdeploy-2026-08.prom', 'lmdeploy'],
  ['lmstudio/v0-models.json', 'lmstudio'],
  ['nim/nim-1.x-llama-3.1-8b.prom', 'nim'],
  ['nim/nim-version.json', 'nim'],
  ['ollama/api-ps.json', 'ollama'],
  ['ollama/api-tags.json', 'ollama'],
  ['ray/ray-worker.prom', 'ray'],
  ['sglang/generated/sglang-2026-07-tp2-all-schedulers.prom', 'sglang'],
  ['sglang/sglang-2024-12.prom', 'sglang'],
  ['sglang/sglang-2025-07.prom', 'sglang'],
  ['tensorrt-llm/trtllm-via-dynamo-doc.prom', 'trtllm'],
  ['tgi/tgi-v3.prom', 'tgi'],
  ['triton/triton-openmetrics.prom', 'triton'],
  ['triton/triton-trtllm-inflight-doc.prom', 'triton'],
  ['triton/triton-trtllm-nv_inference-doc.prom', 'triton'],
  ['triton/triton-v2-metadata.json', 'triton'],
  ['vllm/generated/vllm-2026-08-v1-dp2-lora-eagle.prom', 'vllm'],
  ['vllm/vllm-0.30.0-cpu-excerpt.prom', 'vllm'],
  ['vllm/vllm-0.4.3-v0.prom', 'vllm'],
  ['vllm/vllm-0.5or0.6-v0-specdecode.prom', 'vllm'],
];

/** Saved answers of engines in which no monitor is interested, or which several engines give alike. */
const REFUSED: readonly (readonly [file: string, reason: TargetErrorReason, why: string])[] = [
  ['litellm/litellm-health.json', 'not_recognized', 'an answer of /health, which is never asked'],
  ['llama.cpp/2024-11-9abe9eeae9/completion.json', 'not_recognized', 'a completion'],
  ['llama.cpp/2024-11-9abe9eeae9/health-busy.json', 'not_recognized', 'a status that any server may give'],
  ['llama.cpp/2024-11-9abe9eeae9/metrics-disabled.json', 'not_recognized', 'an error'],
  ['llama.cpp/2024-11-9abe9eeae9/slots-disabled.json', 'not_recognized', 'an error'],
  ['llama.cpp/2024-11-9abe9eeae9/v1-chat-completions.json', 'not_recognized', 'a chat completion'],
  ['llama.cpp/2024-11-9abe9eeae9/version-404.json', 'not_recognized', 'an error'],
  ['llama.cpp/debian-0.7.0/*.request.json', 'not_recognized', 'a request'],
  ['llama.cpp/debian-0.7.0/chat.json', 'not_recognized', 'a chat completion'],
  ['llama.cpp/debian-0.7.0/completion.json', 'not_recognized', 'a completion'],
  ['llama.cpp/debian-0.7.0/load/phases.json', 'not_recognized', 'notes on how the captures were taken'],
  ['lmstudio/v0-chat-completions.json', 'not_recognized', 'a chat completion'],
  ['lmstudio/v0-model.json', 'not_recognized', 'one model, which is not asked for'],
  ['ollama/api-version.json', 'not_recognized', 'a bare version, as vLLM gives it too'],
  ['ollama/chat-stream-final.json', 'not_recognized', 'the end of a chat'],
  ['ollama/generate-2025-10.json', 'not_recognized', 'a completion'],
  ['ollama/generate-stream-final.json', 'not_recognized', 'the end of a completion'],
  ['ollama/generate.json', 'not_recognized', 'a completion'],
  ['ollama/load-empty-prompt.json', 'not_recognized', 'a completion'],
  ['ollama/unload-keep-alive-0.json', 'not_recognized', 'a completion'],
  ['tensorrt-llm/metrics-drained-or-disabled.json', 'not_recognized', 'an empty list, which may be anything'],
  ['vllm/vllm-0.4.3-version.json', 'not_recognized', 'a bare version, as Ollama gives it too'],
];

/** Captured samples that must come out as they stand there. */
const SPOT_VALUES: readonly (readonly [
  file: string,
  native: string,
  canonical: string,
  labels: Readonly<Record<string, string>>,
])[] = [
  [
    'vllm/vllm-0.4.3-v0.prom',
    'vllm:prompt_tokens_total{',
    'llm_prompt_tokens_total',
    { model: 'facebook/opt-125m' },
  ],
  [
    'vllm/vllm-0.4.3-v0.prom',
    'vllm:time_per_output_token_seconds_sum{',
    'llm_inter_token_latency_seconds_sum',
    { model: 'facebook/opt-125m' },
  ],
  [
    'vllm/vllm-0.4.3-v0.prom',
    'vllm:time_to_first_token_seconds_bucket{le="0.5"',
    'llm_time_to_first_token_seconds_bucket',
    { le: '0.5' },
  ],
  [
    'vllm/vllm-0.5or0.6-v0-specdecode.prom',
    'vllm:gpu_cache_usage_perc{',
    'llm_kv_cache_usage_ratio',
    { kind: 'device' },
  ],
  [
    'vllm/vllm-0.5or0.6-v0-specdecode.prom',
    'vllm:num_requests_waiting{model_name="other',
    'llm_requests_waiting',
    { model: 'other/OTHER' },
  ],
  [
    'vllm/generated/vllm-2026-08-v1-dp2-lora-eagle.prom',
    'vllm:kv_cache_usage_perc{engine="1"',
    'llm_kv_cache_usage_ratio',
    { replica: '1' },
  ],
  [
    'vllm/generated/vllm-2026-08-v1-dp2-lora-eagle.prom',
    'vllm:request_success_total{engine="0",finished_reason="abort"',
    'llm_requests_finished_total',
    { replica: '0', finish_reason: 'abort' },
  ],
  [
    'vllm/generated/vllm-2026-08-v1-dp2-lora-eagle.prom',
    'vllm:iteration_tokens_total_sum{engine="0"',
    'llm_batch_tokens_sum',
    { replica: '0' },
  ],
  [
    'llama.cpp/debian-0.7.0/metrics.busy.prom',
    'llamacpp:tokens_predicted_total ',
    'llm_generation_tokens_total',
    {},
  ],
  ['llama.cpp/debian-0.7.0/metrics.busy.prom', 'llamacpp:requests_deferred ', 'llm_requests_waiting', {}],
  [
    'llama.cpp/b11669-large-counters/metrics-1.prom',
    'llamacpp:prompt_tokens_total ',
    'llm_prompt_tokens_total',
    {},
  ],
  [
    'llama.cpp/2024-11-9abe9eeae9/metrics-under-load.prom',
    'llamacpp:kv_cache_usage_ratio ',
    'llm_kv_cache_usage_ratio',
    {},
  ],
  [
    'llama.cpp/2024-11-9abe9eeae9/metrics-under-load.prom',
    'llamacpp:kv_cache_tokens ',
    'llm_kv_cache_used_tokens',
    {},
  ],
  [
    'lmdeploy/generated/lmdeploy-2026-08.prom',
    'lmdeploy:iter_token_latency_sum{',
    'llm_inter_token_latency_seconds_sum',
    {},
  ],
  [
    'lmdeploy/generated/lmdeploy-2026-08.prom',
    'lmdeploy:cached_tokens_total{',
    'llm_prompt_tokens_cached_total',
    {},
  ],
  ['litellm/litellm-metrics.prom', 'litellm_spend_metric_total ', 'llm_engine_spend_usd_total', {}],
  ['litellm/litellm-metrics.prom', 'process_start_time_seconds ', 'llm_engine_start_time_seconds', {}],
  ['nim/nim-1.x-llama-3.1-8b.prom', 'num_request_max{', 'llm_requests_capacity', {}],
  [
    'nim/nim-1.x-llama-3.1-8b.prom',
    'time_to_first_token_seconds_sum{',
    'llm_time_to_first_token_seconds_sum',
    {},
  ],
  ['sglang/sglang-2024-12.prom', 'sglang:generation_tokens_total{', 'llm_generation_tokens_total', {}],
  [
    'sglang/generated/sglang-2026-07-tp2-all-schedulers.prom',
    'sglang:num_running_reqs{engine_type="unified"',
    'llm_requests_running',
    {},
  ],
  ['tgi/tgi-v3.prom', 'tgi_request_duration_sum ', 'llm_request_duration_seconds_sum', {}],
  ['tgi/tgi-v3.prom', 'tgi_queue_size ', 'llm_requests_waiting', {}],
  [
    'triton/triton-trtllm-inflight-doc.prom',
    'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max"',
    'llm_requests_capacity',
    {},
  ],
  [
    'tensorrt-llm/trtllm-via-dynamo-doc.prom',
    'trtllm_e2e_request_latency_seconds_sum{',
    'llm_request_duration_seconds_sum',
    {},
  ],
  [
    'dynamo/dynamo-worker-vllm-2026-03-excerpt.prom',
    'dynamo_component_requests_total{',
    'llm_requests_finished_total',
    {},
  ],
];

/** Each file is read once for all tests. */
const readings = new Map<string, Promise<SavedReading>>();

const files = captureFiles('engines').filter((file) => /\.(prom|json)$/.test(file));
const withCaptures = files.length > 0 ? describe : describe.skip;
const cases = RECOGNIZED.length + REFUSED.length + SPOT_VALUES.length;
const skipped = files.length > 0 ? '' : ` (${cases} cases skipped, ${capturesReason})`;

withCaptures(`captures of real engines${skipped}`, () => {
  it.each(RECOGNIZED)('%s is an answer of %s', async (pattern, engine) => {
    const found = files.filter((file) => fits(file, pattern));
    expect(found).not.toEqual([]);
    for (const file of found) expect([file, (await read(file)).engine]).toEqual([file, engine]);
  });

  it.each(REFUSED)('%s is refused as %s: %s', async (pattern, reason) => {
    const found = files.filter((file) => fits(file, pattern));
    expect(found).not.toEqual([]);
    for (const file of found) {
      const error = await read(file).catch((thrown: unknown) => thrown);
      expect([file, error]).toEqual([file, expect.any(TargetError)]);
      expect(error).toMatchObject({ reason });
    }
  });

  it('are all in one of the two tables, or in neither but read as the engine whose folder they are in', async () => {
    const listed = [...RECOGNIZED, ...REFUSED].map(([pattern]) => pattern);
    for (const file of files.filter((each) => !listed.some((pattern) => fits(each, pattern)))) {
      const outcome = await read(file).catch((thrown: unknown) => thrown);
      if (outcome instanceof TargetError) continue;
      expect([file, (outcome as SavedReading).engine]).toEqual([file, folderEngine(file)]);
    }
    expect(listed).toEqual([...new Set(listed)]);
  });

  it.each(SPOT_VALUES)('%s: %s is %s', async (file, native, canonical, labels) => {
    expect(await canonicalValue(file, canonical, labels)).toBe(nativeValue(file, native));
  });

  it('give ratios from 0 to 1, no negative value, and only values that are there', async () => {
    for (const file of filesRead()) {
      for (const { name, points } of (await read(file)).reading.families) {
        const values = points.flatMap((point) => ('value' in point ? [point.value] : []));
        const declared: CanonicalFamily = llmFamilies[name as LlmMetricName];
        const upper = declared.unit === 'ratio' ? 1 : Number.MAX_VALUE;
        const impossible = values.filter((value) => !(value >= 0 && value <= upper));
        expect([file, name, impossible]).toEqual([file, name, []]);
      }
    }
  });

  it('owe nothing, but for the excerpts that hold a few lines', async () => {
    for (const file of filesRead().filter((each) => !each.includes('excerpt'))) {
      expect([file, (await read(file)).reading.missing]).toEqual([file, []]);
    }
  });

  const withPromtool = promtoolPath() === undefined ? it.skip : it;
  withPromtool(
    `pass promtool, once normalized${promtoolPath() === undefined ? ` (${promtoolReason})` : ''}`,
    async () => {
      // In one go, as a collection of many servers is: grouped by family, told apart by their server label.
      const families = new Map<string, string>();
      for (const file of filesRead()) {
        const rendered = renderExposition((await read(file)).reading.families, 'text');
        for (const block of rendered
          .replaceAll('server="saved"', `server="${file}"`)
          .split(/^(?=# HELP )/m)) {
          const [, head = '', samples = ''] = /^(# HELP .*\n# TYPE .*\n)([^]*)$/.exec(block) ?? [];
          families.set(head, (families.get(head) ?? '') + samples);
        }
      }
      const all = [...families].map(([head, samples]) => head + samples).join('');
      expect(all.match(/^llm_up/gm)).toHaveLength(filesRead().length);
      expect(runPromtoolCheck(all)).toEqual({ ok: true, output: '' });
    },
    120_000,
  );
});

withCaptures('a real llama-server under load, scrape by scrape', () => {
  const folder = 'llama.cpp/debian-0.7.0';
  const times = files.flatMap((file) => /load\/(t\d+ms)\.metrics\.prom$/.exec(file)?.[1] ?? []).sort();

  async function reading(time: string): Promise<SavedReading> {
    const answer = (url: string, file: string): string =>
      `GET ${url}\n200 text/plain\nServer: llama.cpp\n\n${text(`${folder}/${file}`)}\n`;
    return readSaved(
      [
        answer('/props', 'props.json'),
        answer('/v1/models', 'v1-models.json'),
        answer('/metrics', `load/${time}.metrics.prom`),
        answer('/slots', `load/${time}.slots.json`),
      ].join('\n'),
      time,
    );
  }

  it('has counters that never fall, under the name of the model', async () => {
    const before = new Map<string, number>();
    for (const time of times) {
      for (const family of (await reading(time)).reading.families.filter(({ type }) => type === 'counter')) {
        for (const point of family.points) {
          if (!('value' in point)) continue;
          const key = `${family.name} ${JSON.stringify(point.labels)}`;
          expect([time, key, point.value >= (before.get(key) ?? 0)]).toEqual([time, key, true]);
          expect(point.labels['model']).toBe('tiny-random-llama');
          before.set(key, point.value);
        }
      }
    }
    expect(before.size).toBeGreaterThan(5);
  });

  it('has as many tokens under way as its slots say', async () => {
    for (const time of times) {
      const { families } = (await reading(time)).reading;
      const point = families.find(({ name }) => name === 'llm_generation_tokens_in_flight')?.points[0];
      const slots = text(`${folder}/load/${time}.slots.json`);
      const made = [...slots.matchAll(/"n_decoded":(\d+)/g)].reduce(
        (sum, [, digits]) => sum + Number(digits),
        0,
      );
      const busy = /requests_processing [1-9]/.test(text(`${folder}/load/${time}.metrics.prom`));
      expect([time, point !== undefined && 'value' in point ? point.value : undefined]).toEqual([
        time,
        busy ? made : 0,
      ]);
    }
  });
});

function filesRead(): string[] {
  return files.filter((file) => RECOGNIZED.some(([pattern]) => fits(file, pattern)));
}

function fits(file: string, pattern: string): boolean {
  const [start = '', end] = pattern.split('*');
  if (end === undefined) return file === pattern;
  const middle = file.slice(start.length, file.length - end.length);
  return file.startsWith(start) && file.endsWith(end) && !middle.includes('/');
}

function folderEngine(file: string): string {
  const folder = file.split('/')[0] ?? '';
  const names: Readonly<Record<string, EngineName>> = { 'llama.cpp': 'llamacpp', 'tensorrt-llm': 'trtllm' };
  return names[folder] ?? folder;
}

function text(file: string): string {
  return readFileSync(path.join(capturesDirectory() ?? '', 'engines', file), 'utf8');
}

function read(file: string): Promise<SavedReading> {
  const reading = readings.get(file) ?? readSaved(text(file), file);
  readings.set(file, reading);
  return reading;
}

/** The last word of the first line that begins so: no parser has had a hand in it. */
function nativeValue(file: string, start: string): number {
  const line = text(file)
    .split('\n')
    .find((each) => each.startsWith(start));
  return Number(line?.trim().split(' ').at(-1));
}

/** The value of the one canonical sample with these labels, out of the rendered text. */
async function canonicalValue(
  file: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): Promise<number> {
  const lines = renderExposition((await read(file)).reading.families, 'text').split('\n');
  const found = lines.filter(
    (line) =>
      line.startsWith(`${name}{`) &&
      Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)),
  );
  expect(found).toHaveLength(1);
  return Number(found[0]?.split(' ').at(-1));
}
