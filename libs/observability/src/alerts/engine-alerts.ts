import type { Alert } from '../alert.ts';
import { series, seriesOfAny } from '../series.ts';

const BY_SERVER = 'by (instance, job, server, engine)';
const ON_SERVER = 'on (instance, job, server)';
const TOKENS = series('llm_generation_tokens_total');
const IN_ENGINE = `sum ${BY_SERVER} (${seriesOfAny(['llm_requests_running', 'llm_requests_waiting'])})`;

const VLLM = 'job="llm-exporter",instance="host:9502",server="chat",engine="vllm"';
const OF_MODEL = `${VLLM},model="llama"`;
const FIRES = { job: 'llm-exporter', instance: 'host:9502', server: 'chat', engine: 'vllm' };

/** Whether engines serve their users. */
export const engineAlerts: readonly Alert[] = [
  {
    name: 'LlmEngineDown',
    expr: `${series('llm_up')} == 0`,
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
        title: 'a restart of a minute',
        series: { [`llm_up{${VLLM}}`]: '1x4 0x4 1x20' },
        at: '4m',
        fires: [],
      },
    ],
  },
  {
    name: 'LlmUpButNotServing',
    expr: [
      `min_over_time((${IN_ENGINE})[3m:15s]) > 0`,
      `and ${ON_SERVER} sum ${BY_SERVER} (rate(${TOKENS}[3m])) == 0`,
      `unless ${ON_SERVER} sum ${BY_SERVER} (rate(${series('llm_prompt_tokens_total')}[3m])) > 0`,
      `unless ${ON_SERVER} sum ${BY_SERVER} (changes(${series('llm_generation_tokens_in_flight')}[3m])) > 0`,
      `and ${ON_SERVER} ${series('llm_up')} == 1`,
    ].join(' '),
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
        },
        at: '8m',
        fires: [FIRES],
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
    expr: `min_over_time(${series('llm_kv_cache_usage_ratio')}[5m]) > 0.95 and on (instance, job, server, model, replica) min_over_time(${series('llm_requests_waiting')}[5m]) > 0`,
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
