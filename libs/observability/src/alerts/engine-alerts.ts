import type { Alert } from '../alert.ts';
import { countOf, series, seriesOfAny } from '../series.ts';

const SERVER = 'instance, job, server, engine';
const MODEL = `${SERVER}, model`;
const TOKENS = series('llm_generation_tokens_total');
const IN_FLIGHT = series('llm_generation_tokens_in_flight');
const GAPS = countOf('llm_inter_token_latency_seconds');
const IN_ENGINE = seriesOfAny(['llm_requests_running', 'llm_requests_waiting']);
const TOLD = seriesOfAny(['llm_generation_tokens_total', 'llm_requests_finished_total']);

/** Whatever moves when an engine works. */
function moving(by: string, window: string): string {
  const counters = [
    TOKENS,
    series('llm_prompt_tokens_total'),
    series('llm_requests_finished_total'),
    GAPS,
  ].map((counter) => `sum by (${by}) (rate(${counter}[${window}])) > 0`);
  return [...counters, `sum by (${by}) (changes(${IN_FLIGHT}[${window}])) > 0`].join(' or ');
}

/**
 * Requests, and nothing that moves. What counts must have been there for all of the window: some engines have no series
 * before their first request has ended, and `rate` does not see a series that is born at its first value.
 */
function stuck(by: string, window: string, counts = ''): string {
  const told = `group by (${by}) (${TOLD} offset ${window})`;
  return `(min_over_time((sum by (${by}) (${IN_ENGINE}))[${window}:15s]) > 0 and on (${by}) ${told}${counts} unless on (${by}) (${moving(by, window)}))`;
}

/**
 * Minutes are enough where each token is seen: by its gap to the one before, or in an answer that has begun. Others
 * count at the end of a request, and a long answer or prompt looks like a hang until then.
 */
function stuckSoonOrLate(by: string): string {
  const counts = ` and on (${by}) (group by (${by}) (${GAPS}) or group by (${by}) (${IN_FLIGHT} > 0))`;
  return `(${stuck(by, '3m', counts)} or ${stuck(by, '15m')})`;
}

const VLLM = 'job="llm-exporter",instance="host:9502",server="chat",engine="vllm"';
const OF_MODEL = `${VLLM},model="llama"`;
const FIRES = { job: 'llm-exporter', instance: 'host:9502', server: 'chat', engine: 'vllm' };

/** Whether engines serve their users. */
export const engineAlerts: readonly Alert[] = [
  {
    name: 'LlmEngineDown',
    // One that crashes again and again is up in between, and never down for long.
    expr: `${series('llm_up')} == 0 or (avg_over_time(${series('llm_up')}[10m]) < 0.5 and changes(${series('llm_up')}[10m]) > 3)`,
    for: '2m',
    severity: 'critical',
    summary: '{{ $labels.engine }} {{ $labels.server }} does not answer.',
    description: 'The host is reached and the engine is not: it has ended, or its port answers to nobody.',
    rehearsals: [
      {
        title: 'down for two minutes',
        series: { [`llm_up{${VLLM}}`]: '1x4 0x20' },
        at: '4m',
        fires: [FIRES],
      },
      {
        title: 'a crash every two minutes, while it is up',
        series: { [`llm_up{${VLLM}}`]: '1x10 0x5 1 1 0x5 1 1 0x5 1 1 0x5 1 1 0x5 1 1 0x5 1 1 1' },
        at: '13m',
        fires: [FIRES],
      },
      {
        title: 'two restarts in ten minutes',
        series: { [`llm_up{${VLLM}}`]: '1x20 0x3 1x10 0x3 1x20' },
        at: '12m',
        fires: [],
      },
      {
        title: 'a restart of a minute',
        series: { [`llm_up{${VLLM}}`]: '1x4 0x4 1x20' },
        at: '4m',
        fires: [],
      },
    ],
  },
  {
    name: 'LlmUpButNotServing',
    // Of a model first, so that another one at work does not hide it; of the server where requests name no model.
    expr: `(${stuckSoonOrLate(MODEL)} or on (instance, job, server) ${stuckSoonOrLate(SERVER)}) and on (instance, job, server) ${series('llm_up')} == 1`,
    for: '1m',
    severity: 'critical',
    summary: '{{ $labels.engine }} {{ $labels.server }} says that it is well, and no token comes out.',
    description:
      'Requests have been in it for minutes without a single token of prompt or answer. Its health endpoint is no help: restart the engine.',
    rehearsals: [
      {
        title: 'requests and no token, while it is up',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '4x40',
          [`llm_requests_waiting{${OF_MODEL}}`]: '0+1x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '0+500x8 4000x32',
          [`llm_prompt_tokens_total{${OF_MODEL}}`]: '0+900x8 7200x32',
          [`llm_inter_token_latency_seconds_count{${OF_MODEL}}`]: '0+500x8 4000x32',
        },
        at: '8m',
        fires: [{ ...FIRES, model: 'llama' }],
      },
      {
        title: 'the same, with scrapes that are lacking',
        series: {
          [`llm_up{${VLLM}}`]: '1x20 _x3 1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '4x20 _x3 4x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x20 _x3 4000x40',
          [`llm_inter_token_latency_seconds_count{${OF_MODEL}}`]: '4000x20 _x3 4000x40',
        },
        at: '12m',
        fires: [{ ...FIRES, model: 'llama' }],
      },
      {
        title: 'one model of a server, while another one answers',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '4x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x40',
          [`llm_generation_tokens_in_flight{${OF_MODEL}}`]: '80x40',
          [`llm_requests_running{${VLLM},model="qwen"}`]: '1x40',
          [`llm_generation_tokens_total{${VLLM},model="qwen"}`]: '0+50x40',
        },
        at: '8m',
        fires: [{ ...FIRES, model: 'llama' }],
      },
      {
        title: 'an engine that counts no tokens, and under other names of its models',
        series: {
          [`llm_up{${VLLM}}`]: '1x100',
          [`llm_requests_waiting{${OF_MODEL}}`]: '4x100',
          [`llm_requests_finished_total{${VLLM},model="ensemble",finish_reason="all"}`]: '50x100',
        },
        at: '22m',
        fires: [FIRES],
      },
      {
        title: 'an answer of ten minutes, where tokens count at its end',
        series: {
          [`llm_up{${VLLM}}`]: '1x100',
          [`llm_requests_running{${OF_MODEL}}`]: '1x100',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '8000x40 16000x60',
          [`llm_prompt_tokens_total{${OF_MODEL}}`]: '300x40 600x60',
        },
        at: '22m',
        fires: [],
      },
      {
        title: 'the first answer of all, whose end brings the counters',
        series: {
          [`llm_up{${VLLM}}`]: '1x100',
          [`llm_requests_running{${OF_MODEL}}`]: '2x100',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '_x60 8000x40',
        },
        at: '20m',
        fires: [],
      },
      {
        title: 'llama.cpp reads a prompt for five minutes',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '1x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x40',
          [`llm_generation_tokens_in_flight{${OF_MODEL}}`]: '0x40',
        },
        at: '8m',
        fires: [],
      },
      {
        title: 'nobody asks',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '0x40',
          [`llm_requests_waiting{${OF_MODEL}}`]: '0x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x40',
          [`llm_prompt_tokens_total{${OF_MODEL}}`]: '7200x40',
        },
        at: '8m',
        fires: [],
      },
      {
        title: 'one long prompt after the other',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '4x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x40',
          [`llm_prompt_tokens_total{${OF_MODEL}}`]: '0+9000x40',
        },
        at: '8m',
        fires: [],
      },
      {
        title: 'llama.cpp counts an answer at its end, and tells meanwhile how far it is',
        series: {
          [`llm_up{${VLLM}}`]: '1x40',
          [`llm_requests_running{${OF_MODEL}}`]: '1x40',
          [`llm_generation_tokens_total{${OF_MODEL}}`]: '4000x40',
          [`llm_generation_tokens_in_flight{${OF_MODEL}}`]: '0+60x40',
        },
        at: '8m',
        fires: [],
      },
    ],
  },
  {
    name: 'LlmKvCacheStarved',
    // An average: a cache that is too small has dips, as whole requests leave it.
    expr: `avg_over_time(${series('llm_kv_cache_usage_ratio', { kind: { matchesNot: 'host' } })}[5m]) > 0.9 and on (instance, job, server, model, replica) min_over_time(${series('llm_requests_waiting')}[5m]) > 0`,
    for: '5m',
    severity: 'warning',
    summary: 'The KV cache of {{ $labels.server }} is full while requests wait.',
    description:
      'A full cache alone is good use of memory; with a queue it is what holds users back: shorter contexts, fewer concurrent requests, or more memory.',
    rehearsals: [
      {
        title: 'full, with a queue',
        series: {
          [`llm_kv_cache_usage_ratio{${OF_MODEL}}`]: '0.99x60',
          [`llm_requests_waiting{${OF_MODEL}}`]: '3x60',
        },
        at: '12m',
        fires: [{ ...FIRES, model: 'llama' }],
      },
      {
        title: 'full with dips',
        series: {
          [`llm_kv_cache_usage_ratio{${OF_MODEL},kind="device"}`]: `${'0.99 0.99 0.85 '.repeat(20).trim()}`,
          [`llm_requests_waiting{${OF_MODEL}}`]: '3x60',
        },
        at: '12m',
        fires: [{ ...FIRES, model: 'llama', kind: 'device' }],
      },
      {
        title: 'full in the memory of the host only',
        series: {
          [`llm_kv_cache_usage_ratio{${OF_MODEL},kind="host"}`]: '0.99x60',
          [`llm_kv_cache_usage_ratio{${OF_MODEL},kind="device"}`]: '0.5x60',
          [`llm_requests_waiting{${OF_MODEL}}`]: '3x60',
        },
        at: '12m',
        fires: [],
      },
      {
        title: 'full, and nobody waits',
        series: {
          [`llm_kv_cache_usage_ratio{${OF_MODEL}}`]: '0.99x60',
          [`llm_requests_waiting{${OF_MODEL}}`]: '0x60',
        },
        at: '12m',
        fires: [],
      },
    ],
  },
  {
    name: 'LlmMetricsMissing',
    expr: `${series('llm_source_metrics_missing')} > 0`,
    for: '10m',
    severity: 'warning',
    summary: '{{ $labels.engine }} {{ $labels.server }} lacks metrics that its version should have.',
    description:
      'An upgrade renamed them, or a switch is off: panels of this server have gaps. The log of the llm-exporter names them.',
    rehearsals: [
      {
        title: 'after an upgrade',
        series: { [`llm_source_metrics_missing{${VLLM}}`]: '0x4 7x60' },
        at: '13m',
        fires: [FIRES],
      },
      {
        title: 'all there',
        series: { [`llm_source_metrics_missing{${VLLM}}`]: '0x60' },
        at: '13m',
        fires: [],
      },
    ],
  },
];
