import type { LlmMetricName } from '@llm-monitor/engines';
import type { ExporterMetricName, GpuMetricName } from '@llm-monitor/gpus';
import type { EngineKind } from '../engine/engine.ts';

export type CanonicalMetric = LlmMetricName | GpuMetricName | ExporterMetricName;

/** What an incident happens to. A host is the whole world, so it needs no name. */
export type TargetKind = 'gpu' | 'engine' | 'traffic' | 'host';

export interface NumberParameter {
  readonly kind: 'number' | 'duration';
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly help: string;
}

export interface TextParameter {
  readonly kind: 'text';
  readonly default: string;
  readonly help: string;
}

export type IncidentParameter = NumberParameter | TextParameter;

/** Where an incident shows. */
export interface Sign {
  readonly metric: CanonicalMetric;
  readonly how: string;
  /** Engines that tell it; all where it is left out. */
  readonly engines?: readonly EngineKind[];
}

/** One thing that goes wrong: all there is to say of it. */
export interface Incident {
  readonly title: string;
  /** What it does to the world. */
  readonly effect: string;
  readonly target: TargetKind;
  /** What a target must be or have for it to happen to it. */
  readonly needs?: {
    readonly engineKinds?: readonly EngineKind[];
    readonly vendor?: 'nvidia' | 'amd';
    readonly fan?: true;
    readonly ecc?: true;
    /** At least two. */
    readonly models?: true;
  };
  readonly parameters: Readonly<Record<string, IncidentParameter>>;
  readonly signs: readonly Sign[];
}

const ratio = (defaultValue: number, help: string) =>
  ({ kind: 'number', default: defaultValue, minimum: 0.01, maximum: 1, help }) as const;
const factor = (defaultValue: number, help: string) =>
  ({ kind: 'number', default: defaultValue, minimum: 0, maximum: 1000, help }) as const;
const duration = (defaultValue: number, help: string) =>
  ({ kind: 'duration', default: defaultValue, minimum: 0.1, maximum: 86_400, help }) as const;

/** Engines whose exposition has the histogram of it. */
const TELL_FIRST_TOKEN = ['vllm', 'sglang', 'triton'] as const;
const TELL_INTER_TOKEN = ['vllm', 'sglang'] as const;
/** Engines that count tokens, and those that say how many requests they have. */
const TELL_TOKENS = ['vllm', 'sglang', 'tgi', 'llamacpp'] as const;
const TELL_REQUESTS = ['vllm', 'sglang', 'tgi', 'llamacpp', 'triton'] as const;

/** Every incident there is: the only list. `docs` and the control API are made from it. */
export const incidents = {
  hang: {
    title: 'An engine hangs',
    effect: 'Health and metrics answer as ever, requests are taken in, and no step of the engine ends.',
    target: 'engine',
    parameters: {},
    signs: [
      { metric: 'llm_up', how: 'stays 1' },
      {
        metric: 'llm_generation_tokens_total',
        how: 'stands still while llm_requests_running is above 0',
        engines: TELL_TOKENS,
      },
      {
        metric: 'llm_requests_waiting',
        how: 'rises with each request that comes',
        engines: TELL_REQUESTS,
      },
      {
        metric: 'gpu_utilization_ratio',
        how: 'falls to 0 on the GPUs of the engine, their memory stays in use',
      },
    ],
  },
  kv_starvation: {
    title: 'The KV cache is too small',
    effect:
      'Something else holds a share of the KV blocks, so fewer requests run at once and the rest waits.',
    target: 'engine',
    needs: { engineKinds: ['vllm', 'sglang', 'tgi', 'triton'] },
    parameters: { held: ratio(0.9, 'Share of the KV blocks that is taken away.') },
    signs: [
      { metric: 'llm_kv_cache_usage_ratio', how: 'stays close to 1', engines: ['vllm', 'sglang', 'triton'] },
      {
        metric: 'llm_requests_waiting',
        how: 'rises while llm_requests_running stays below llm_requests_capacity',
      },
      { metric: 'llm_request_queue_time_seconds', how: 'rises', engines: ['vllm', 'sglang', 'tgi'] },
      {
        metric: 'llm_time_to_first_token_seconds',
        how: 'rises with the time in the queue',
        engines: TELL_FIRST_TOKEN,
      },
    ],
  },
  overload: {
    title: 'More requests than the engine can serve',
    effect: 'So many times as many requests come.',
    target: 'traffic',
    parameters: { factor: factor(5, 'By which the rate of arrivals is multiplied.') },
    signs: [
      {
        metric: 'llm_requests_running',
        how: 'reaches the capacity and stays there',
        engines: TELL_REQUESTS,
      },
      {
        metric: 'llm_requests_waiting',
        how: 'rises until it ends, and falls slowly afterwards',
        engines: TELL_REQUESTS,
      },
      { metric: 'llm_time_to_first_token_seconds', how: 'rises with the queue', engines: TELL_FIRST_TOKEN },
      { metric: 'gpu_utilization_ratio', how: 'rises to 1' },
    ],
  },
  preemption_storm: {
    title: 'Requests throw each other out',
    effect:
      'Answers become long while a share of the KV blocks is taken away: running requests outgrow the cache, are put back into the queue and are computed again.',
    target: 'engine',
    needs: { engineKinds: ['vllm', 'sglang'] },
    parameters: {
      held: ratio(0.6, 'Share of the KV blocks that is taken away.'),
      answer_factor: factor(4, 'By which the lengths of answers are multiplied.'),
    },
    signs: [
      { metric: 'llm_requests_preempted_total', how: 'rises steadily' },
      { metric: 'llm_kv_cache_usage_ratio', how: 'stays close to 1' },
      { metric: 'llm_inter_token_latency_seconds', how: 'has a long tail: the gaps of those put back' },
    ],
  },
  xid_79: {
    title: 'A GPU falls off the bus',
    effect:
      'The driver reports XID 79 and answers no more for the GPU; engines on it fail all requests and are down.',
    target: 'gpu',
    needs: { vendor: 'nvidia' },
    parameters: {},
    signs: [
      { metric: 'gpu_up', how: 'is 0' },
      { metric: 'gpu_down_info', how: 'is there with reason lost or vanished' },
      { metric: 'gpu_xid_errors_total', how: 'counts one XID 79' },
      {
        metric: 'llm_up',
        how: 'is 0 for engines on the GPU; the server of Ollama outlives its models',
        engines: TELL_REQUESTS,
      },
    ],
  },
  thermal_throttle: {
    title: 'A GPU is too hot',
    effect:
      'The air around it is warmer, it reaches the temperature at which it slows down, and tokens come more slowly.',
    target: 'gpu',
    parameters: {
      above_celsius: {
        kind: 'number',
        default: 4,
        minimum: -20,
        maximum: 20,
        help: 'How far above its slowdown temperature the warmer air would bring it, at the power that it draws.',
      },
    },
    signs: [
      { metric: 'gpu_temperature_celsius', how: 'rises to the slowdown threshold' },
      { metric: 'gpu_clock_event_active', how: 'is 1 for reason sw_thermal, and hw_thermal further up' },
      { metric: 'gpu_clock_hertz', how: 'falls for the domain sm' },
      {
        metric: 'llm_inter_token_latency_seconds',
        how: 'rises for engines on the GPU',
        engines: TELL_INTER_TOKEN,
      },
    ],
  },
  power_brake: {
    title: 'The power supply pulls the brake',
    effect: 'An external signal halves the clocks of the GPU at once.',
    target: 'gpu',
    needs: { vendor: 'nvidia' },
    parameters: {},
    signs: [
      { metric: 'gpu_clock_event_active', how: 'is 1 for reason hw_power_brake' },
      { metric: 'gpu_clock_hertz', how: 'halves for the domain sm' },
      { metric: 'gpu_power_watts', how: 'falls while gpu_utilization_ratio does not' },
    ],
  },
  fan_stop: {
    title: 'The fans of a GPU stand still',
    effect: 'Nothing carries the heat away: the temperature climbs until the GPU slows itself down.',
    target: 'gpu',
    needs: { fan: true },
    parameters: {},
    signs: [
      { metric: 'gpu_fan_speed_ratio', how: 'is 0 while the GPU is hot' },
      { metric: 'gpu_temperature_celsius', how: 'climbs to the slowdown threshold' },
      { metric: 'gpu_clock_event_seconds_total', how: 'rises for sw_thermal or hw_thermal' },
    ],
  },
  ecc: {
    title: 'The memory of a GPU makes errors',
    effect: 'ECC corrects so many errors each second.',
    target: 'gpu',
    needs: { ecc: true },
    parameters: {
      errors_per_second: {
        kind: 'number',
        default: 0.5,
        minimum: 0.001,
        maximum: 10_000,
        help: 'Errors that are corrected each second.',
      },
    },
    signs: [{ metric: 'gpu_ecc_errors_total', how: 'rises for corrected errors' }],
  },
  driver_mismatch: {
    title: 'The driver was upgraded and the host not restarted',
    effect:
      'Programs that are started from then on, nvidia-smi too, are refused by NVML with "Driver/library version mismatch" for every NVIDIA GPU; those that run have the old library and go on.',
    target: 'host',
    needs: { vendor: 'nvidia' },
    parameters: {},
    signs: [
      {
        metric: 'gpu_exporter_backend_up',
        how: 'is 0 for nvidia-smi, and for nvml in an exporter that is started meanwhile',
      },
      { metric: 'gpu_exporter_backend_failure_info', how: 'is there with reason driver_mismatch' },
      { metric: 'llm_up', how: 'stays 1' },
    ],
  },
  cpu_fallback: {
    title: 'A model runs on the processor',
    effect:
      'The engine started without its GPU (or a model no longer fits), so layers run on the processor, many times slower.',
    target: 'engine',
    needs: { engineKinds: ['ollama', 'llamacpp'] },
    parameters: {},
    signs: [
      { metric: 'gpu_utilization_ratio', how: 'is near 0 while requests run' },
      { metric: 'gpu_memory_used_bytes', how: 'falls by the model' },
      { metric: 'llm_generation_tokens_total', how: 'rises many times more slowly', engines: ['llamacpp'] },
      {
        metric: 'llm_model_memory_bytes',
        how: 'of kind vram falls below that of kind total',
        engines: ['ollama'],
      },
    ],
  },
  model_thrash: {
    title: 'Models push each other out',
    effect:
      'Requests ask for all models of the engine in turn, more than fit, so nearly each one waits for a load.',
    target: 'engine',
    needs: { engineKinds: ['ollama'], models: true },
    parameters: { every: duration(8, 'Between requests for another model.') },
    signs: [
      { metric: 'llm_model_loaded', how: 'goes back and forth between models' },
      { metric: 'llm_model_unload_time_seconds', how: 'comes and goes with them' },
      { metric: 'gpu_memory_used_bytes', how: 'falls and rises with each load' },
    ],
  },
  metric_rename: {
    title: 'An upgrade renames metrics',
    effect: 'The engine restarts as another version, in which metrics that everybody reads have other names.',
    target: 'engine',
    needs: { engineKinds: ['vllm', 'sglang', 'tgi', 'llamacpp', 'triton'] },
    parameters: { version: { kind: 'text', default: '99.0.0', help: 'The version that it says it is.' } },
    signs: [
      { metric: 'llm_source_metrics_missing', how: 'is above 0' },
      { metric: 'llm_metric_unavailable_info', how: 'says not_in_answer for what was renamed' },
      { metric: 'llm_engine_info', how: 'has another version', engines: TELL_TOKENS },
    ],
  },
  engine_crash_loop: {
    title: 'An engine crashes again and again',
    effect: 'It starts, loads, serves for a while and dies with all that it was serving.',
    target: 'engine',
    parameters: { serving: duration(20, 'It serves before it crashes.') },
    signs: [
      { metric: 'llm_up', how: 'goes between 0 and 1', engines: ['vllm', 'tgi'] },
      {
        metric: 'llm_ready',
        how: 'goes between 0 and 1, for servers that answer while they load',
        engines: ['sglang', 'llamacpp'],
      },
      { metric: 'llm_engine_start_time_seconds', how: 'changes with each start', engines: ['vllm'] },
      { metric: 'llm_generation_tokens_total', how: 'starts again from 0', engines: TELL_TOKENS },
    ],
  },
  exporter_freeze: {
    title: 'The driver does not answer',
    effect: 'NVML and nvidia-smi calls do not return, so an exporter has no fresh readings; engines go on.',
    target: 'host',
    needs: { vendor: 'nvidia' },
    parameters: {},
    signs: [
      { metric: 'gpu_exporter_reading_age_seconds', how: 'rises' },
      { metric: 'gpu_up', how: 'is 0 when the last reading is too old' },
      { metric: 'gpu_down_info', how: 'is there with reason driver_unreachable or hung' },
      { metric: 'gpu_exporter_backend_failure_info', how: 'is there with reason hung' },
    ],
  },
  client_giveup: {
    title: 'Users lose patience',
    effect: 'Most users go away before the answer has ended, and what was computed for them is lost.',
    target: 'traffic',
    parameters: {
      ratio: ratio(0.8, 'Users that do not wait.'),
      patience: duration(2, 'Half of them are gone after it.'),
    },
    signs: [
      { metric: 'llm_requests_finished_total', how: 'rises for finish_reason abort', engines: ['vllm'] },
      { metric: 'llm_request_errors_total', how: 'rises for error_type aborted', engines: ['sglang'] },
      {
        metric: 'llm_request_generation_tokens',
        how: 'falls: answers are cut short',
        engines: ['vllm', 'sglang', 'tgi'],
      },
    ],
  },
  slow_regression: {
    title: 'An engine becomes slower',
    effect: 'Each step takes longer, as after an upgrade or with a wrong flag, and nothing fails.',
    target: 'engine',
    parameters: {
      slower: {
        kind: 'number',
        default: 0.2,
        minimum: 0.01,
        maximum: 0.99,
        help: 'Share of its speed that it loses.',
      },
    },
    signs: [
      { metric: 'llm_inter_token_latency_seconds', how: 'rises by that share', engines: TELL_INTER_TOKEN },
      { metric: 'llm_request_duration_seconds', how: 'rises', engines: ['vllm', 'sglang', 'tgi'] },
      {
        metric: 'llm_requests_running',
        how: 'rises: the same requests take longer',
        engines: TELL_REQUESTS,
      },
    ],
  },
  tenant_flood: {
    title: 'One tenant takes all',
    effect: 'One tenant sends as much as all together did, several times, on top of it.',
    target: 'traffic',
    parameters: {
      tenant: { kind: 'text', default: 'flood', help: 'Who it is: a tenant of the traffic, or a new one.' },
      factor: factor(4, 'What it sends, in multiples of all ordinary traffic.'),
    },
    signs: [
      {
        metric: 'llm_requests_waiting',
        how: 'rises for everybody',
        engines: TELL_REQUESTS,
      },
      { metric: 'llm_request_queue_time_seconds', how: 'rises', engines: ['vllm', 'sglang', 'tgi'] },
    ],
  },
} as const satisfies Record<string, Incident>;

export type IncidentName = keyof typeof incidents;
export const INCIDENT_NAMES: readonly IncidentName[] = Object.keys(incidents).filter(isIncidentName);

export function isIncidentName(name: string): name is IncidentName {
  return Object.hasOwn(incidents, name);
}

/** The table's entry, without what is special to its name. */
export function incidentOf(name: IncidentName): Incident {
  return incidents[name];
}

/** Values of the parameters of one incident; durations in seconds. */
export type ParametersOf<Name extends IncidentName> = {
  readonly [
    Parameter in keyof (typeof incidents)[Name]['parameters']
  ]: (typeof incidents)[Name]['parameters'][Parameter] extends TextParameter ? string : number;
};

/** What an incident happens to: the index of a GPU, the name of an engine or a traffic, or the host. */
export type TargetOf<Kind extends TargetKind> = Kind extends 'gpu'
  ? number
  : Kind extends 'host'
    ? undefined
    : string;

/** How a world plays incidents: one entry for each name, or it does not compile. Each returns what ends it. */
export type IncidentTable<World> = {
  readonly [Name in IncidentName]: (
    world: World,
    target: TargetOf<(typeof incidents)[Name]['target']>,
    parameters: ParametersOf<Name>,
  ) => () => void;
};

/** An incident with all that is needed to play it, checked against the scenario. */
export type PlannedIncident = {
  readonly [Name in IncidentName]: {
    readonly name: Name;
    readonly target: TargetOf<(typeof incidents)[Name]['target']>;
    readonly parameters: ParametersOf<Name>;
  };
}[IncidentName];
