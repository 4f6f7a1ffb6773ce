import type { EngineState, TruthHistogram } from '../engine/engine.ts';
import type { GpuState } from '../gpu/gpu.ts';
import type { TrafficState } from '../traffic/traffic.ts';

interface Head {
  readonly help: string;
  readonly unit?: string;
}

/** A counter or gauge of something; `values` gives its series, with labels beyond those of the thing. */
export interface TruthMetric<Thing> extends Head {
  readonly type: 'counter' | 'gauge';
  readonly labels: readonly string[];
  readonly values: (of: Thing) => readonly TruthValue[];
}

/** Undefined is a series that is not there. */
export interface TruthValue {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number | undefined;
}

export interface TruthHistogramMetric extends Head {
  readonly histogram: (of: EngineState) => TruthHistogram;
}

const one = (value: number | undefined): readonly TruthValue[] => [{ value }];

const by = (label: string, values: Readonly<Record<string, number | undefined>>): readonly TruthValue[] =>
  Object.entries(values).map(([word, value]) => ({ labels: { [label]: word }, value }));

/** `sim_engine_*`: the truth about an engine, labelled engine and kind. */
export const engineTruths = {
  sim_engine_serving: {
    type: 'gauge',
    help: 'Whether the engine gives tokens to those who ask (1) or is loading, hung or down (0).',
    labels: [],
    values: ({ condition }) => one(condition === 'serving' ? 1 : 0),
  },
  sim_engine_condition: {
    type: 'gauge',
    help: 'In which condition the engine is (1): loading, serving, hung, down, asleep.',
    labels: ['condition'],
    values: ({ condition }) => [{ labels: { condition }, value: 1 }],
  },
  sim_engine_info: {
    type: 'gauge',
    help: 'Which version the engine is, and the model that it serves first.',
    labels: ['version', 'model'],
    values: ({ version, models }) => [{ labels: { version, model: models[0] ?? '' }, value: 1 }],
  },
  sim_engine_requests_running: {
    type: 'gauge',
    help: 'Requests in the batch.',
    labels: [],
    values: ({ running }) => one(running),
  },
  sim_engine_requests_waiting: {
    type: 'gauge',
    help: 'Requests in the queue.',
    labels: [],
    values: ({ waiting }) => one(waiting),
  },
  sim_engine_kv_cache_usage_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of the KV blocks that running requests hold. Absent while there is no cache.',
    labels: [],
    values: ({ kv }) => one(kv.capacityBlocks === 0 ? undefined : kv.usedBlocks / kv.capacityBlocks),
  },
  sim_engine_kv_cache_capacity_tokens: {
    type: 'gauge',
    help: 'Tokens for which the KV cache has room.',
    labels: [],
    values: ({ kv }) => one(kv.capacityBlocks === 0 ? undefined : kv.capacityBlocks * kv.blockTokens),
  },
  sim_engine_prefix_cache_queried_tokens_total: {
    type: 'counter',
    help: 'Prompt tokens that were looked up in the prefix cache.',
    labels: [],
    values: ({ prefixCache }) => one(prefixCache.queriedTokens),
  },
  sim_engine_prefix_cache_hit_tokens_total: {
    type: 'counter',
    help: 'Prompt tokens that were found in the prefix cache.',
    labels: [],
    values: ({ prefixCache }) => one(prefixCache.hitTokens),
  },
  sim_engine_prompt_tokens_total: {
    type: 'counter',
    help: 'Prompt tokens, cached ones too.',
    labels: [],
    values: ({ promptTokens }) => one(promptTokens),
  },
  sim_engine_generation_tokens_total: {
    type: 'counter',
    help: 'Tokens that came out.',
    labels: [],
    values: ({ generatedTokens }) => one(generatedTokens),
  },
  sim_engine_generation_tokens_in_flight: {
    type: 'gauge',
    help: 'Tokens that came out of the requests which are in the slots of the engine now. Absent where it has no slots.',
    labels: [],
    values: ({ slots }) =>
      one(slots.length === 0 ? undefined : slots.reduce((sum, { decodedTokens }) => sum + decodedTokens, 0)),
  },
  sim_engine_slot_tokens: {
    type: 'gauge',
    help: 'Tokens of the requests in the slots of the engine, prompts and what came out. Absent where it has no slots.',
    labels: [],
    values: ({ slots }) =>
      one(
        slots.length === 0
          ? undefined
          : slots.reduce(
              (sum, slot) =>
                sum + (slot.requestId === undefined ? 0 : slot.promptTokens + slot.decodedTokens),
              0,
            ),
      ),
  },
  sim_engine_spec_decode_drafts_total: {
    type: 'counter',
    help: 'Drafts that were verified. Absent where nothing is speculated.',
    labels: [],
    values: ({ speculative }) => one(speculative?.drafts),
  },
  sim_engine_spec_decode_draft_tokens_total: {
    type: 'counter',
    help: 'Tokens that were drafted. Absent where nothing is speculated.',
    labels: [],
    values: ({ speculative }) => one(speculative?.draftTokens),
  },
  sim_engine_spec_decode_accepted_tokens_total: {
    type: 'counter',
    help: 'Drafted tokens that the model accepted. Absent where nothing is speculated.',
    labels: [],
    values: ({ speculative }) => one(speculative?.acceptedTokens),
  },
  sim_engine_model_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory of a model that an engine loads and unloads (Ollama), while it is in memory: kind total, and gpu for the part on GPUs.',
    labels: ['model', 'kind'],
    values: ({ loaded }) =>
      loaded.flatMap(({ name, sizeBytes, gpuBytes }) => [
        { labels: { model: name, kind: 'total' }, value: sizeBytes },
        { labels: { model: name, kind: 'gpu' }, value: gpuBytes },
      ]),
  },
  sim_engine_requests_finished_total: {
    type: 'counter',
    help: 'Requests that ended, by how.',
    labels: ['reason'],
    values: ({ requests }) => by('reason', requests),
  },
  sim_engine_requests_rejected_total: {
    type: 'counter',
    help: 'Requests that were refused at the door.',
    labels: [],
    values: ({ rejected }) => one(rejected),
  },
  sim_engine_preemptions_total: {
    type: 'counter',
    help: 'Requests that were put back into the queue for want of KV blocks.',
    labels: [],
    values: ({ preemptions }) => one(preemptions),
  },
  sim_engine_steps_total: {
    type: 'counter',
    help: 'Steps of the engine: each one pass of the model over a batch.',
    labels: [],
    values: ({ iterations }) => one(iterations),
  },
} as const satisfies Record<string, TruthMetric<EngineState>>;

/** `sim_engine_*` histograms, in the bounds that the engine itself prints. */
export const engineTruthHistograms = {
  sim_engine_time_to_first_token_seconds: {
    unit: 'seconds',
    help: 'From the arrival of a request to its first token.',
    histogram: ({ histograms }) => histograms.timeToFirstTokenSeconds,
  },
  sim_engine_inter_token_latency_seconds: {
    unit: 'seconds',
    help: 'Between two tokens of a request.',
    histogram: ({ histograms }) => histograms.interTokenSeconds,
  },
  sim_engine_request_duration_seconds: {
    unit: 'seconds',
    help: 'From the arrival of a request to its end.',
    histogram: ({ histograms }) => histograms.requestSeconds,
  },
  sim_engine_queue_seconds: {
    unit: 'seconds',
    help: 'From the arrival of a request to its first place in a batch.',
    histogram: ({ histograms }) => histograms.queueSeconds,
  },
  sim_engine_prefill_seconds: {
    unit: 'seconds',
    help: 'From the first place of a request in a batch to its first token.',
    histogram: ({ histograms }) => histograms.prefillSeconds,
  },
  sim_engine_decode_seconds: {
    unit: 'seconds',
    help: 'From the first to the last token of a request.',
    histogram: ({ histograms }) => histograms.decodeSeconds,
  },
  sim_engine_time_per_output_token_seconds: {
    unit: 'seconds',
    help: 'Mean gap between the tokens of a request.',
    histogram: ({ histograms }) => histograms.timePerOutputTokenSeconds,
  },
  sim_engine_request_prompt_tokens: {
    unit: 'tokens',
    help: 'Prompt tokens of a request that has ended.',
    histogram: ({ histograms }) => histograms.promptTokens,
  },
  sim_engine_request_generation_tokens: {
    unit: 'tokens',
    help: 'Tokens that came out of a request that has ended.',
    histogram: ({ histograms }) => histograms.generatedTokens,
  },
  sim_engine_step_tokens: {
    unit: 'tokens',
    help: 'Tokens of prompts and answers in a step of the engine.',
    histogram: ({ histograms }) => histograms.iterationTokens,
  },
} as const satisfies Record<string, TruthHistogramMetric>;

/** `sim_gpu_*`: the truth about a GPU, labelled gpu and uuid. */
export const gpuTruths = {
  sim_gpu_up: {
    type: 'gauge',
    help: 'Whether the GPU is on the bus (1) or lost (0).',
    labels: [],
    values: ({ lostByXid }) => one(lostByXid === undefined ? 1 : 0),
  },
  sim_gpu_utilization_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of the last sampling period in which anything ran.',
    labels: [],
    values: ({ utilizationRatio }) => one(utilizationRatio),
  },
  sim_gpu_memory_used_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory that processes hold.',
    labels: [],
    values: ({ memoryUsedBytes }) => one(memoryUsedBytes),
  },
  sim_gpu_memory_reserved_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory that the driver keeps for itself, beside what processes hold.',
    labels: [],
    values: ({ memoryReservedBytes }) => one(memoryReservedBytes),
  },
  sim_gpu_memory_utilization_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of its bandwidth that the memory gave in the last sampling period.',
    labels: [],
    values: ({ memoryUtilizationRatio }) => one(memoryUtilizationRatio),
  },
  sim_gpu_process_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory that a process holds.',
    labels: ['pid'],
    values: ({ processes }) =>
      processes.map(({ pid, memoryBytes }) => ({ labels: { pid: String(pid) }, value: memoryBytes })),
  },
  sim_gpu_process_sm_utilization_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of the last sampling period in which anything ran for a process.',
    labels: ['pid'],
    values: ({ processes }) =>
      processes.map(({ pid, smUtilizationRatio }) => ({
        labels: { pid: String(pid) },
        value: smUtilizationRatio,
      })),
  },
  sim_gpu_power_watts: {
    type: 'gauge',
    unit: 'watts',
    help: 'Power drawn.',
    labels: [],
    values: ({ powerWatts }) => one(powerWatts),
  },
  sim_gpu_power_limit_watts: {
    type: 'gauge',
    unit: 'watts',
    help: 'Power limit in force.',
    labels: [],
    values: ({ powerLimitWatts }) => one(powerLimitWatts),
  },
  sim_gpu_energy_joules_total: {
    type: 'counter',
    unit: 'joules',
    help: 'Energy drawn since the world began.',
    labels: [],
    values: ({ energyJoules }) => one(energyJoules),
  },
  sim_gpu_temperature_celsius: {
    type: 'gauge',
    unit: 'celsius',
    help: 'Temperature of core and memory.',
    labels: ['sensor'],
    values: ({ coreCelsius, memoryCelsius }) => by('sensor', { core: coreCelsius, memory: memoryCelsius }),
  },
  sim_gpu_clock_hertz: {
    type: 'gauge',
    unit: 'hertz',
    help: 'Clocks of now.',
    labels: ['domain'],
    values: ({ smClockHertz, memoryClockHertz }) =>
      by('domain', { sm: smClockHertz, memory: memoryClockHertz }),
  },
  sim_gpu_clock_event_seconds_total: {
    type: 'counter',
    unit: 'seconds',
    help: 'How long clocks were held below their highest, by why.',
    labels: ['reason'],
    values: ({ clockEventSeconds }) => by('reason', clockEventSeconds),
  },
  sim_gpu_fan_speed_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Speed of the fans, of their highest. Absent where the board has none.',
    labels: [],
    values: ({ fanRatio }) => one(fanRatio),
  },
  sim_gpu_ecc_errors_total: {
    type: 'counter',
    help: 'Errors of the memory that ECC corrected, and those that it could only find.',
    labels: ['type'],
    values: ({ board, eccCorrected, eccUncorrected }) =>
      board.ecc ? by('type', { corrected: eccCorrected, uncorrected: eccUncorrected }) : [],
  },
} as const satisfies Record<string, TruthMetric<GpuState>>;

/** `sim_traffic_*`: what users wanted and got, labelled traffic, engine and model. */
export const trafficTruths = {
  sim_traffic_rate_per_second: {
    type: 'gauge',
    help: 'Mean arrivals per second now.',
    labels: [],
    values: ({ ratePerSecond }) => one(ratePerSecond),
  },
  sim_traffic_requests_offered_total: {
    type: 'counter',
    help: 'Requests that users wanted answered, retries not counted.',
    labels: [],
    values: ({ offered }) => one(offered),
  },
  sim_traffic_requests_retried_total: {
    type: 'counter',
    help: 'Further attempts after a refusal or failure.',
    labels: [],
    values: ({ retried }) => one(retried),
  },
  sim_traffic_requests_ended_total: {
    type: 'counter',
    help: 'Requests of users that ended, by how.',
    labels: ['outcome'],
    values: ({ completed, cancelled, timedOut, gaveUp }) =>
      by('outcome', { completed, cancelled, timed_out: timedOut, gave_up: gaveUp }),
  },
  sim_traffic_requests_in_flight: {
    type: 'gauge',
    help: 'Requests of users that an engine has.',
    labels: [],
    values: ({ inFlight }) => one(inFlight),
  },
  sim_traffic_tokens_received_total: {
    type: 'counter',
    help: 'Tokens that came back to users.',
    labels: [],
    values: ({ receivedTokens }) => one(receivedTokens),
  },
} as const satisfies Record<string, TruthMetric<TrafficState>>;

/** `sim_*` of the world itself. */
export const worldTruths = {
  sim_time_seconds: { type: 'gauge', unit: 'seconds', help: 'Time in the world since it began.', labels: [] },
  sim_incident_active: {
    type: 'gauge',
    help: 'Incidents that are going on (1), by name and what they happen to.',
    labels: ['incident', 'target'],
  },
} as const;
