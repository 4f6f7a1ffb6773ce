import { readFileSync } from 'node:fs';
import path from 'node:path';

import { parseExposition, type MetricFamily } from '@llm-monitor/metrics-core';
import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import type { EngineKind, EngineState } from '../../engine/engine.ts';
import type { SurfaceContext } from './surface.ts';
import { surfaces } from './surfaces.ts';
import { TEST_CONTEXT, testState } from './test-truth.ts';

/** `python_*` and `process_*` of Python's client: what a process that does not exist would have of them. */
const PYTHON_PROCESS = [
  '- python_gc_objects_collected_total',
  '- python_gc_objects_uncollectable_total',
  '- python_gc_collections_total',
  '- python_info',
  '- process_virtual_memory_bytes',
  '- process_cpu_seconds_total',
  '- process_open_fds',
  '- process_max_fds',
];

interface Case {
  readonly file: string;
  readonly kind: EngineKind;
  readonly version: string;
  /** The longest context of the captured server, which some bounds follow. */
  readonly contextTokens?: number;
  readonly truth?: Partial<EngineState>;
  readonly context?: Partial<SurfaceContext>;
  /** `-` captured and not printed, `+` printed and not captured, `~` printed with another shape. */
  readonly differences: readonly string[];
}

const SPECULATES = { draftTokens: 37_020, acceptedTokens: 17_288, drafts: 12_340 };
const LORAS = { running: ['sql-lora'], waiting: [], max: 4 };

const CASES: readonly Case[] = [
  {
    file: 'vllm/vllm-0.4.3-v0.prom',
    kind: 'vllm',
    version: '0.4.3',
    contextTokens: 2048,
    context: { residentBytes: 5_106_151_424 },
    differences: [
      ...PYTHON_PROCESS,
      // Windows of five seconds, which the truth does not keep.
      '- vllm:avg_prompt_throughput_toks_per_s',
      '- vllm:avg_generation_throughput_toks_per_s',
    ],
  },
  {
    file: 'vllm/vllm-0.5or0.6-v0-specdecode.prom',
    kind: 'vllm',
    version: '0.6.0',
    contextTokens: 16_384,
    context: { residentBytes: 5_833_011_200 },
    differences: [
      ...PYTHON_PROCESS,
      // As above.
      '- vllm:avg_prompt_throughput_toks_per_s',
      '- vllm:avg_generation_throughput_toks_per_s',
    ],
  },
  {
    file: 'vllm/generated/vllm-2026-08-v1-dp2-lora-eagle.prom',
    kind: 'vllm',
    version: '0.27.0',
    truth: { speculative: SPECULATES, loras: LORAS },
    context: { residentBytes: 43_831_296 },
    differences: [
      ...PYTHON_PROCESS,
      // How many drafts were accepted at each position is not in the truth.
      '- vllm:spec_decode_num_accepted_tokens_per_pos_total',
      '- vllm:spec_decode_num_accepted_tokens_per_pos_created',
      // Nor how much of each prompt was computed: only the sum is.
      '- vllm:request_prefill_kv_computed_tokens',
      '- vllm:request_prefill_kv_computed_tokens_created',
      // The generator of the capture had no API server around the metrics.
      '+ http_requests_total',
      '+ http_requests_created',
    ],
  },
  {
    file: 'sglang/sglang-2024-12.prom',
    kind: 'sglang',
    version: '0.4.0',
    differences: [
      // Times of a function of its own code.
      '- sglang:func_latency_seconds',
    ],
  },
  {
    file: 'sglang/sglang-2025-07.prom',
    kind: 'sglang',
    version: '0.4.0', // the documentation of July 2025 still shows what the builds of December printed
    differences: ['- sglang:func_latency_seconds'],
  },
  {
    file: 'sglang/generated/sglang-2026-07-tp2-all-schedulers.prom',
    kind: 'sglang',
    version: '0.5.12',
    truth: { speculative: SPECULATES, loras: LORAS },
    differences: [
      // How often each request was retracted, lengths of the running sequences: not in the truth.
      '- sglang:num_retractions',
      '- sglang:decode_sum_seq_lens',
      // Of the scheduler's own making: estimates, timings of its start, whether a graph was replayed.
      '- sglang:utilization',
      '- sglang:engine_startup_time',
      '- sglang:engine_load_weights_time',
      '- sglang:new_token_ratio',
      '- sglang:is_cuda_graph',
      // "Since the last log"; the counter of the same builds, which the generator did not raise, is printed in its place.
      '- sglang:num_retracted_reqs',
      '+ sglang:num_retracted_requests_total',
      // The generator of the capture had no API server around the metrics.
      '+ sglang:http_responses_total',
    ],
  },
  {
    file: 'tgi/tgi-v3.prom',
    kind: 'tgi',
    version: '3.0.1',
    contextTokens: 512,
    differences: [
      // Of single batches, by method: the truth counts steps, whatever they did.
      '- tgi_batch_concat',
      '- tgi_batch_inference_success',
      '- tgi_batch_inference_count',
      '- tgi_batch_forward_duration',
      '- tgi_batch_filter_duration',
      '- tgi_batch_inference_duration',
      '- tgi_batch_concat_duration',
      '- tgi_batch_decode_duration',
      '- tgi_batch_next_size',
      // The world checks no request.
      '- tgi_request_validation_duration',
    ],
  },
  ...['after-load', 'second-scrape', 'under-load'].map((moment): Case => ({
    file: `llama.cpp/2024-11-9abe9eeae9/metrics-${moment}.prom`,
    kind: 'llamacpp',
    version: 'b4127',
    differences: [],
  })),
  ...[
    'b11669-large-counters/metrics-1',
    'b11669-large-counters/metrics-2',
    'debian-0.7.0/metrics.idle',
    'debian-0.7.0/metrics.busy',
    'debian-0.7.0/metrics.after',
  ].map((moment): Case => ({
    file: `llama.cpp/${moment}.prom`,
    kind: 'llamacpp',
    version: 'b11669',
    differences: [
      // The longest sequence there has ever been is not in the truth.
      '- llamacpp:n_tokens_max',
    ],
  })),
];

/** Triton's documentation shows its two halves apart. */
const TRITON = ['triton/triton-trtllm-inflight-doc.prom', 'triton/triton-trtllm-nv_inference-doc.prom'];

const isThere = captureFiles('engines').length > 0;
const withCaptures = isThere ? describe : describe.skip;

withCaptures(`what the mocked engines print${isThere ? '' : ` (${capturesReason})`}`, () => {
  it.each(CASES)('has the families, types, help, labels and bounds of $file', (each) => {
    const captured = parsed(capture(each.file));
    expect(differences(captured, printed(each))).toEqual([...each.differences].sort());
  });

  it('has those of the two halves of Triton with TensorRT-LLM', () => {
    const captured = parsed(TRITON.map((file) => capture(file)).join(''));
    const ours = printed({ file: '', kind: 'triton', version: '2.41.0', differences: [] });
    expect(differences(captured, ours)).toEqual([]);
  });

  it('has every sample of the excerpt of vLLM 0.30', () => {
    const lines = capture('vllm/vllm-0.30.0-cpu-excerpt.prom')
      .split('\n')
      .filter((line) => line !== '');
    const ours = printed({ file: '', kind: 'vllm', version: '0.30.0', differences: [] });
    const names = lines.map((line) => line.replace(/\{.*/, ''));
    // Only with --enable-mfu-metrics, which estimates it.
    expect(names.filter((name) => !ours.has(name))).toEqual(['vllm:estimated_flops_per_gpu_total']);
  });

  it.each([
    ['triton/triton-v2-metadata.json', 'triton', '2.38.0', '/v2'],
    ['llama.cpp/debian-0.7.0/v1-models.json', 'llamacpp', 'b11669', '/v1/models'],
    ['llama.cpp/debian-0.7.0/health.http', 'llamacpp', 'b11669', '/health'],
    ['ollama/api-ps.json', 'ollama', '0.5.1', '/api/ps'],
    ['ollama/api-tags.json', 'ollama', '0.5.1', '/api/tags'],
    ['ollama/api-version.json', 'ollama', '0.5.1', '/api/version'],
    ['vllm/vllm-0.4.3-version.json', 'vllm', '0.4.3', '/version'],
  ] as const)('has the keys of %s', (file, kind, version, asked) => {
    const body =
      capture(file)
        .split(/\r?\n\r?\n/)
        .at(-1) ?? '';
    expect(keysOf(answerJson(kind, version, asked))).toEqual(keysOf(JSON.parse(body)));
  });

  it.each([
    // Settings of the page that it serves and of templates: nobody reads them of a mock.
    [
      'llama.cpp/debian-0.7.0/props.json',
      '/props',
      ['chat_template_caps', 'cors_proxy_enabled', 'media_marker', 'ui_settings'],
    ],
    // How much of a prompt came from the cache is not in a slot's truth, nor how it samples.
    ['llama.cpp/debian-0.7.0/slots.busy.json', '/slots', ['n_prompt_tokens_cache', 'params']],
  ] as const)('has all keys of %s that say something of its work', (file, asked, left) => {
    const captured: unknown = JSON.parse(capture(file));
    const ours = answerJson('llamacpp', 'b11669', asked);
    const top = (value: unknown): string[] =>
      keysOf(Array.isArray(value) ? (value as unknown[])[0] : value).flatMap(
        (key) => /^\.(\w+)$/.exec(key)?.[1] ?? [],
      );
    expect(
      top(captured)
        .filter((key) => !top(ours).includes(key))
        .sort(),
    ).toEqual(left);
    expect(top(ours).filter((key) => !top(captured).includes(key))).toEqual([]);
  });
});

interface Shape {
  readonly type: string;
  readonly help: string;
  readonly labels: string;
  readonly bounds: string;
}

function parsed(text: string): ReadonlyMap<string, Shape> {
  const { families, issues } = parseExposition(text);
  // Some captures lack their last line feed; of `_created` gauges the parser keeps nothing.
  const harmless = ['final_newline_missing', 'created_ignored'];
  expect(issues.filter(({ kind }) => !harmless.includes(kind))).toEqual([]);
  return new Map([...families.map((family) => [family.name, shapeOf(family)] as const), ...createdOf(text)]);
}

/** The `_created` gauges, from their own lines. */
function createdOf(text: string): (readonly [string, Shape])[] {
  return [...text.matchAll(/^# HELP (\S+_created) (.*)\n# TYPE \S+ (\S+)\n\S+_created\{([^}]*)\}/gm)].map(
    ([, name = '', help = '', type = '', labels = '']) => [
      name,
      { type, help, labels: [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label).join(), bounds: '' },
    ],
  );
}

/** Sets of labels and of bounds: which values they have, and how often, is not the shape. */
function shapeOf(family: MetricFamily): Shape {
  const points: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly bounds?: readonly number[];
  }[] = family.points;
  return {
    type: family.type,
    help: family.help,
    labels: [...new Set(points.map(({ labels }) => Object.keys(labels).sort().join()))].sort().join(' | '),
    bounds: [...new Set(points.map(({ bounds }) => (bounds ?? []).join()))].join(' | '),
  };
}

function differences(captured: ReadonlyMap<string, Shape>, ours: ReadonlyMap<string, Shape>): string[] {
  const found: string[] = [];
  for (const [name, shape] of captured) {
    const mine = ours.get(name);
    if (mine === undefined) found.push(`- ${name}`);
    else {
      for (const part of ['type', 'help', 'labels', 'bounds'] as const) {
        if (mine[part] !== shape[part]) {
          found.push(`~ ${name} ${part}: captured ${shape[part]}, printed ${mine[part]}`);
        }
      }
    }
  }
  for (const name of ours.keys()) if (!captured.has(name)) found.push(`+ ${name}`);
  return found.sort();
}

function printed({ kind, version, contextTokens, truth, context }: Case): ReadonlyMap<string, Shape> {
  const surface = surfaces[kind];
  const state = { ...testState(surface, version, contextTokens), ...truth };
  const answer = surface.answer('/metrics', state, { ...TEST_CONTEXT, ...context });
  return parsed(answer?.body ?? '');
}

function answerJson(kind: EngineKind, version: string, asked: string): unknown {
  const surface = surfaces[kind];
  return JSON.parse(surface.answer(asked, testState(surface, version), TEST_CONTEXT)?.body ?? 'null');
}

/** Every key with the keys around it; of a list those of its entries. */
function keysOf(value: unknown, above = ''): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const inside = Array.isArray(value)
    ? value.flatMap((each) => keysOf(each, `${above}[]`))
    : Object.entries(value).flatMap(([key, each]) => [`${above}.${key}`, ...keysOf(each, `${above}.${key}`)]);
  return [...new Set(inside)].sort();
}

function capture(file: string): string {
  return readFileSync(path.join(capturesDirectory() ?? '', 'engines', file), 'utf8');
}
