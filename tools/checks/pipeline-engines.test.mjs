// The real llm-exporter over the mock: what it says of each simulated engine is what the world truly is, and incidents
// show in it as their entries in libs/simulation/src/scenario/incidents.ts say.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { builtInScenario, scrape, startApp, startMock, stopAll, until } from './pipeline.mjs';

/** @typedef {import('./pipeline.mjs').Exposition} Exposition */
/** @typedef {import('./pipeline.mjs').Labels} Labels */
/** @typedef {import('./pipeline.mjs').RunningApp} RunningApp */
/** @typedef {import('./pipeline.mjs').RunningMock} RunningMock */

/**
 * What a canonical metric must be: a number; a metric of the truth (a histogram by its sum, count and buckets); or, where
 * the engine's own definition makes it another one, metrics of the truth added up, less others, times a factor, with the
 * reason. `name{label=value}` is the sum of all series with that label.
 * @typedef {{
 *   plus: readonly string[], minus?: readonly string[], times?: string, within?: number, absentAtZero?: true, because: string
 * }} Definition
 * @typedef {number | string | Definition} Expected
 * @typedef {{
 *   version: string | undefined,
 *   detectedBy: string,
 *   values: Readonly<Record<string, Expected>>,
 *   notOfTheWorld: Readonly<Record<string, string>>,
 * }} EngineCase
 */

/** Said of every engine, whatever it is. */
const OF_THE_EXPORTER = {
  llm_engine_info: 'compared by its labels',
  llm_engine_state: 'compared by its labels',
  llm_metric_unavailable_info: 'what the engine does not tell: libs/engines has the tests of it',
  llm_source_parse_issues: 'of the text, of which the world knows nothing',
};

/** @param {string} of @returns {Definition} */
const kvTokens = (of) => ({
  plus: ['sim_engine_kv_cache_usage_ratio'],
  times: 'sim_engine_kv_cache_capacity_tokens',
  within: 1e-9,
  because: `${of} tells tokens in use, the truth the share of all`,
});

/** @param {string} engine @param {string} reason @returns {Definition} */
const failures = (engine, reason) => ({
  plus: [reason],
  absentAtZero: true,
  because: `${engine} prints a series from its first value on`,
});

const DONE = [
  'sim_engine_requests_finished_total{reason=stop}',
  'sim_engine_requests_finished_total{reason=length}',
];

/** @type {Readonly<Record<string, EngineCase>>} */
const ENGINES = {
  vllm: {
    version: '0.27.0',
    detectedBy: '/metrics has vllm:*',
    values: {
      llm_up: 1,
      llm_ready: 1,
      llm_source_metrics_missing: 0,
      'llm_model_info{model=meta-llama/Llama-3.1-8B-Instruct}': 1,
      'llm_model_info{model=support,root=/adapters/support}': 1,
      'llm_model_info{model=sql,root=/adapters/sql}': 1,
      llm_model_context_tokens: 16_384,
      llm_requests_running: 'sim_engine_requests_running',
      llm_requests_waiting: 'sim_engine_requests_waiting',
      llm_requests_preempted_total: 'sim_engine_preemptions_total',
      'llm_requests_finished_total{finish_reason=stop}': 'sim_engine_requests_finished_total{reason=stop}',
      'llm_requests_finished_total{finish_reason=length}':
        'sim_engine_requests_finished_total{reason=length}',
      'llm_requests_finished_total{finish_reason=abort}': 'sim_engine_requests_finished_total{reason=abort}',
      'llm_requests_finished_total{finish_reason=error}': 'sim_engine_requests_finished_total{reason=error}',
      'llm_requests_finished_total{finish_reason=repetition}': 0,
      'llm_request_errors_total{error_type=rejected}': failures('vLLM', 'sim_engine_requests_rejected_total'),
      llm_prompt_tokens_total: 'sim_engine_prompt_tokens_total',
      'llm_prompt_tokens_cached_total{source=device}': 'sim_engine_prefix_cache_hit_tokens_total',
      'llm_prompt_tokens_cached_total{source=external}': 0,
      llm_generation_tokens_total: 'sim_engine_generation_tokens_total',
      llm_kv_cache_usage_ratio: 'sim_engine_kv_cache_usage_ratio',
      llm_kv_cache_capacity_tokens: 'sim_engine_kv_cache_capacity_tokens',
      llm_time_to_first_token_seconds: 'sim_engine_time_to_first_token_seconds',
      llm_inter_token_latency_seconds: 'sim_engine_inter_token_latency_seconds',
      llm_time_per_output_token_seconds: 'sim_engine_time_per_output_token_seconds',
      llm_request_duration_seconds: 'sim_engine_request_duration_seconds',
      llm_request_queue_time_seconds: 'sim_engine_queue_seconds',
      llm_request_prefill_time_seconds: 'sim_engine_prefill_seconds',
      llm_request_decode_time_seconds: 'sim_engine_decode_seconds',
      llm_request_prompt_tokens: 'sim_engine_request_prompt_tokens',
      llm_request_generation_tokens: 'sim_engine_request_generation_tokens',
      llm_batch_tokens: 'sim_engine_step_tokens',
      llm_lora_adapters_max: 2,
    },
    notOfTheWorld: {
      llm_engine_start_time_seconds: 'Unix time; the world counts from its own beginning',
      llm_lora_requests: 'the truth does not tell adapters apart',
    },
  },
  sglang: {
    version: '0.5.12',
    detectedBy: '/metrics has sglang:*',
    values: {
      llm_up: 1,
      llm_ready: 1,
      llm_source_metrics_missing: 0,
      'llm_model_info{model=Qwen/Qwen2.5-7B-Instruct}': 1,
      llm_model_context_tokens: 32_768,
      llm_requests_running: 'sim_engine_requests_running',
      llm_requests_waiting: 'sim_engine_requests_waiting',
      llm_requests_capacity: 256,
      llm_batch_size: 'sim_engine_requests_running',
      llm_requests_preempted_total: 'sim_engine_preemptions_total',
      'llm_requests_finished_total{finish_reason=all}': 'sim_engine_requests_finished_total',
      'llm_request_errors_total{error_type=aborted}': 'sim_engine_requests_finished_total{reason=abort}',
      'llm_request_errors_total{error_type=internal}': failures(
        'SGLang',
        'sim_engine_requests_finished_total{reason=error}',
      ),
      'llm_request_errors_total{error_type=overloaded}': failures(
        'SGLang',
        'sim_engine_requests_rejected_total',
      ),
      llm_prompt_tokens_total: {
        plus: ['sim_engine_request_prompt_tokens_sum'],
        because: 'SGLang counts the prompt of a request when it ends',
      },
      'llm_prompt_tokens_cached_total{source=device}': 'sim_engine_prefix_cache_hit_tokens_total',
      llm_generation_tokens_total: {
        plus: ['sim_engine_request_generation_tokens_sum'],
        because: 'SGLang counts the tokens of a request when it ends',
      },
      llm_kv_cache_usage_ratio: 'sim_engine_kv_cache_usage_ratio',
      llm_kv_cache_capacity_tokens: 'sim_engine_kv_cache_capacity_tokens',
      llm_kv_cache_used_tokens: kvTokens('SGLang'),
      llm_time_to_first_token_seconds: 'sim_engine_time_to_first_token_seconds',
      llm_inter_token_latency_seconds: 'sim_engine_inter_token_latency_seconds',
      llm_request_duration_seconds: 'sim_engine_request_duration_seconds',
      llm_request_queue_time_seconds: 'sim_engine_queue_seconds',
      llm_request_prompt_tokens: 'sim_engine_request_prompt_tokens',
      llm_request_generation_tokens: 'sim_engine_request_generation_tokens',
      llm_spec_decode_acceptance_ratio: {
        plus: ['sim_engine_spec_decode_accepted_tokens_total'],
        times: '1/sim_engine_spec_decode_draft_tokens_total',
        within: 1e-9,
        because: 'SGLang tells the ratio, the truth what it is the ratio of',
      },
    },
    notOfTheWorld: {
      llm_spec_decode_acceptance_length:
        'the mean of accepted tokens, and one more, which the ratio above implies',
      llm_engine_reported_tokens_per_second: 'a speed over the time since the last look',
    },
  },
  tgi: {
    version: '3.3.6',
    detectedBy: '/info answered as it does',
    values: {
      llm_up: 1,
      llm_ready: 1,
      llm_source_metrics_missing: 0,
      'llm_model_info{model=mistralai/Mistral-7B-Instruct-v0.3}': 1,
      llm_model_context_tokens: 32_768,
      llm_requests_running: 'sim_engine_requests_running',
      llm_requests_waiting: 'sim_engine_requests_waiting',
      llm_requests_capacity: 128,
      llm_batch_size: 'sim_engine_requests_running',
      'llm_requests_finished_total{finish_reason=all}': {
        plus: DONE,
        because: 'TGI counts successes here, and failures by themselves',
      },
      'llm_request_errors_total{error_type=aborted}': failures(
        'TGI',
        'sim_engine_requests_finished_total{reason=abort}',
      ),
      'llm_request_errors_total{error_type=internal}': failures(
        'TGI',
        'sim_engine_requests_finished_total{reason=error}',
      ),
      'llm_request_errors_total{error_type=overloaded}': failures(
        'TGI',
        'sim_engine_requests_rejected_total',
      ),
      llm_prompt_tokens_total: {
        plus: ['sim_engine_request_prompt_tokens_sum'],
        because: 'TGI counts the prompt of a request when it ends',
      },
      llm_generation_tokens_total: {
        plus: ['sim_engine_request_generation_tokens_sum'],
        because: 'TGI counts the tokens of a request when it ends',
      },
      llm_kv_cache_capacity_tokens: 'sim_engine_kv_cache_capacity_tokens',
      llm_kv_cache_used_tokens: kvTokens('TGI'),
      llm_time_per_output_token_seconds: 'sim_engine_time_per_output_token_seconds',
      llm_request_duration_seconds: 'sim_engine_request_duration_seconds',
      llm_request_queue_time_seconds: 'sim_engine_queue_seconds',
      llm_request_prompt_tokens: 'sim_engine_request_prompt_tokens',
      llm_request_generation_tokens: 'sim_engine_request_generation_tokens',
    },
    notOfTheWorld: {},
  },
  triton: {
    // Of its two ports this target is the one with the metrics, which tells neither version nor readiness.
    version: undefined,
    detectedBy: '/v2 answered as it does',
    values: {
      llm_up: 1,
      llm_source_metrics_missing: 0,
      llm_requests_running: 'sim_engine_requests_running',
      'llm_requests_waiting{model=tensorrt_llm}': 'sim_engine_requests_waiting',
      'llm_requests_waiting{model=ensemble}': 0,
      llm_requests_capacity: 256,
      llm_batch_size: 'sim_engine_requests_running',
      'llm_requests_finished_total{model=ensemble,finish_reason=all}': {
        plus: DONE,
        because: 'Triton counts successes here, and failures by themselves',
      },
      'llm_request_errors_total{error_type=aborted}': 'sim_engine_requests_finished_total{reason=abort}',
      'llm_request_errors_total{error_type=internal}': 'sim_engine_requests_finished_total{reason=error}',
      'llm_request_errors_total{error_type=rejected}': 'sim_engine_requests_rejected_total',
      'llm_request_errors_total{error_type=other}': 0,
      llm_kv_cache_usage_ratio: 'sim_engine_kv_cache_usage_ratio',
      llm_kv_cache_capacity_tokens: 'sim_engine_kv_cache_capacity_tokens',
      llm_kv_cache_used_tokens: kvTokens('Triton'),
      llm_time_to_first_token_seconds: {
        plus: ['sim_engine_time_to_first_token_seconds'],
        within: 1e-12,
        because: 'Triton prints milliseconds',
      },
    },
    notOfTheWorld: {
      llm_engine_memory_bytes: 'weights and cache by size; the truth has the memory of the GPU',
    },
  },
  llamacpp: {
    version: 'b11669-sim',
    detectedBy: 'header server: llama.cpp',
    values: {
      llm_up: 1,
      llm_ready: 1,
      llm_source_metrics_missing: 0,
      'llm_model_info{model=llama3.1:8b,quantization=Q4_K - Medium,parameter_size=8.0B,format=gguf}': 1,
      llm_model_context_tokens: 8192,
      llm_model_loaded: 1,
      llm_requests_running: 'sim_engine_requests_running',
      llm_requests_waiting: 'sim_engine_requests_waiting',
      llm_requests_capacity: 4,
      llm_batch_size: 'sim_engine_requests_running',
      llm_prompt_tokens_total: {
        plus: ['sim_engine_prefix_cache_queried_tokens_total'],
        within: 1e-5,
        because: 'llama.cpp counts a prompt when it looks for it in the cache, and prints six digits',
      },
      'llm_prompt_tokens_cached_total{source=device}': {
        plus: ['sim_engine_prefix_cache_hit_tokens_total'],
        within: 1e-5,
        because: 'llama.cpp prints six digits',
      },
      llm_generation_tokens_total: {
        plus: ['sim_engine_generation_tokens_total'],
        minus: ['sim_engine_generation_tokens_in_flight'],
        within: 1e-5,
        because: 'llama.cpp counts the tokens of a request when it ends, and prints six digits',
      },
      llm_generation_tokens_in_flight: 'sim_engine_generation_tokens_in_flight',
      llm_prefill_busy_seconds_total: {
        plus: ['sim_engine_prefill_seconds_sum'],
        within: 1e-5,
        because: 'llama.cpp prints six digits',
      },
      llm_decode_busy_seconds_total: {
        plus: ['sim_engine_decode_seconds_sum'],
        within: 1e-5,
        because: 'llama.cpp prints six digits',
      },
      llm_kv_cache_used_tokens: {
        plus: ['sim_engine_slot_tokens'],
        because: 'llama.cpp tells whole prompts of its slots, the last chunks of which may still be computed',
      },
      llm_spec_decode_drafts_total: 0,
      llm_spec_decode_draft_tokens_total: 0,
      llm_spec_decode_accepted_tokens_total: 0,
    },
    notOfTheWorld: { llm_model_memory_bytes: 'the size of its file; the truth has the memory of the GPU' },
  },
  ollama: {
    version: '0.12.6',
    detectedBy: '/api/ps answered as it does',
    values: {
      llm_up: 1,
      llm_ready: 1,
      'llm_model_info{model=llama3.2:3b,quantization=Q4_K_M,parameter_size=3.2B,format=gguf,family=llama}': 1,
      'llm_model_info{model=nomic-embed-text:latest,quantization=F16,parameter_size=136.73M,format=gguf}': 1,
      'llm_model_info{model=qwen2.5:0.5b,quantization=Q8_0,parameter_size=494.03M,format=gguf,family=qwen}': 1,
      'llm_model_loaded{model=llama3.2:3b}': 1,
      'llm_model_loaded{model=nomic-embed-text:latest}': 1,
      'llm_model_loaded{model=qwen2.5:0.5b}': 0, // nobody asks for it
      'llm_model_context_tokens{model=llama3.2:3b}': 8192,
      'llm_model_context_tokens{model=nomic-embed-text:latest}': 2048,
      'llm_model_memory_bytes{model=llama3.2:3b,kind=total}':
        'sim_engine_model_memory_bytes{model=llama3.2:3b,kind=total}',
      'llm_model_memory_bytes{model=llama3.2:3b,kind=vram}':
        'sim_engine_model_memory_bytes{model=llama3.2:3b,kind=gpu}',
      'llm_model_memory_bytes{model=nomic-embed-text:latest,kind=total}':
        'sim_engine_model_memory_bytes{model=nomic-embed-text,kind=total}',
      'llm_model_memory_bytes{model=nomic-embed-text:latest,kind=vram}':
        'sim_engine_model_memory_bytes{model=nomic-embed-text,kind=gpu}',
    },
    notOfTheWorld: {
      llm_model_unload_time_seconds: 'Unix time; the world counts from its own beginning',
    },
  },
};

/** @param {RunningMock} mock @returns {Promise<RunningApp>} that reads the mock's engines and is not told what they are */
function startExporter({ engines }) {
  return startApp('llm-exporter', {
    LLM_EXPORTER_TARGETS: engines.map(({ name, url }) => `${name}=${url}`).join(','),
    LLM_EXPORTER_DISCOVERY: 'false',
  });
}

describe('the llm-exporter over every engine that the mock has', () => {
  /** @type {{ mock: RunningMock, exporter: RunningApp }} */
  let apps;
  /** @typedef {{ said: Exposition, truth: Exposition }} Instant */
  /** @type {Record<'calm' | 'stuck', Instant | undefined>} */
  const instants = { calm: undefined, stuck: undefined };

  before(async () => {
    const mock = await startMock(await builtInScenario('all-engines'));
    apps = { mock, exporter: await startExporter(mock) };
    await mock.post('/api/speed', { speed: 0 });
    for (const { name } of mock.engines) {
      await mock.post('/api/incidents', {
        incident: 'client_giveup',
        target: name,
        parameters: { ratio: 0.3 },
      });
    }
    for (let minute = 0; minute < 4; minute += 1) await mock.post('/api/advance', { seconds: 60 });
    instants.calm = await atOneInstant(apps);
    await mock.post('/api/load', { factor: 10 });
    await until('all engines to hang with work in hand', async () => {
      await mock.post('/api/advance', { seconds: 5 });
      const truth = await scrape(mock);
      if (mock.engines.some(({ name }) => !truth.sum('sim_engine_requests_running', { engine: name })))
        return false;
      for (const { name } of mock.engines)
        await mock.post('/api/incidents', { incident: 'hang', target: name });
      return true;
    });
    await mock.post('/api/advance', { seconds: 10 });
    instants.stuck = await atOneInstant(apps);
  });
  after(stopAll);

  for (const [name, { version, detectedBy, values, notOfTheWorld }] of Object.entries(ENGINES)) {
    for (const when of /** @type {const} */ (['calm', 'stuck'])) {
      const instant = () => {
        const found = instants[when];
        assert.ok(found);
        return found;
      };
      const engine = { server: name, engine: name };

      it(`recognizes ${name}${when === 'stuck' ? ' that hangs' : ''}, and the truth of it is all it tells`, () => {
        const { said, truth } = instant();
        assert.deepEqual(
          said.all('llm_engine_info', engine).map(({ labels }) => [labels['version'], labels['detected_by']]),
          [[version, detectedBy]],
        );
        const [state] = said.all('llm_engine_state', engine).filter(({ value }) => value === 1);
        assert.equal(state?.labels['state'], version === undefined ? 'unknown' : 'ready');
        /** @type {string[]} */
        const wrong = [];
        for (const [selector, expected] of Object.entries(values)) {
          const problem = compare(said, truth, name, selector, expected);
          if (problem !== undefined) wrong.push(problem);
        }
        assert.deepEqual(wrong, []);
      });

      it(`tells nothing of ${name}${when === 'stuck' ? ' that hangs' : ''} that is not compared`, () => {
        const compared = Object.keys(values).map((selector) => selector.replace(/\{.*/, ''));
        const known = [...compared, ...Object.keys(notOfTheWorld), ...Object.keys(OF_THE_EXPORTER)];
        const told = instant()
          .said.all(undefined, engine)
          .map(({ name: metric }) => metric);
        assert.ok(told.length > 10);
        assert.deepEqual(
          [...new Set(told.map((metric) => metric.replace(/_(bucket|sum|count)$/, '')))].filter(
            (metric) => !known.includes(metric),
          ),
          [],
        );
      });
    }
  }

  it('compares an instant in which much had happened', () => {
    const { calm, stuck } = instants;
    for (const { name } of apps.mock.engines) {
      const least = (
        /** @type {Instant | undefined} */ instant,
        /** @type {string} */ selector,
        count = 1,
      ) => {
        const value = valueOf(instant?.truth, selector, { engine: name }) ?? 0;
        assert.ok(value >= count, `${name}: ${selector} is ${value}, below ${count}`);
      };
      least(calm, 'sim_engine_requests_finished_total{reason=stop}', 50);
      least(calm, 'sim_engine_requests_finished_total{reason=abort}');
      least(calm, 'sim_engine_generation_tokens_total', 5000);
      least(stuck, 'sim_engine_requests_running');
      least(stuck, 'sim_engine_requests_waiting');
    }
  });
});

/** Both apps while the world stands still. @param {{ mock: RunningMock, exporter: RunningApp }} apps */
async function atOneInstant({ mock, exporter }) {
  const truth = await scrape(mock);
  const said = await scrape(exporter);
  const later = await scrape(mock);
  assert.equal(later.sum('sim_time_seconds'), truth.sum('sim_time_seconds'));
  return { said, truth };
}

/**
 * What is wrong with one canonical metric, if anything.
 * @param {Exposition} said @param {Exposition} truth @param {string} name @param {string} selector @param {Expected} expected
 * @returns {string | undefined}
 */
function compare(said, truth, name, selector, expected) {
  const [server, engine] = [{ server: name }, { engine: name }];
  const wanted = wantedOf(truth, expected, engine);
  const histogram =
    typeof expected === 'string' ? expected : typeof expected === 'object' ? expected.plus[0] : '';
  if (truth.all(`${histogram}_count`, engine).length > 0) {
    const parts = ['bucket', 'count'].filter(
      (part) => series(said, `${selector}_${part}`, server) !== series(truth, `${histogram}_${part}`, engine),
    );
    const sum = compare(said, truth, name, `${selector}_sum`, {
      plus: [`${histogram}_sum`],
      within: wanted.within,
      because: 'a sum is compared as a number',
    });
    return parts.length === 0 ? sum : `${selector} has another ${parts.join(' and another ')}`;
  }
  const found = valueOf(said, selector, server);
  const { value, within, absentAtZero } = wanted;
  if (absentAtZero && found === undefined && value === 0) return undefined;
  const isSame =
    found !== undefined && value !== undefined && Math.abs(found - value) <= within * Math.abs(value);
  return isSame ? undefined : `${selector} is ${found} instead of ${value}`;
}

/** A histogram's series in the order of their bounds. @param {Exposition} from @param {string} name @param {Labels} labels */
function series(from, name, labels) {
  return from
    .all(name, labels)
    .map(
      ({ labels: { le = '' }, value }) =>
        `${le === '' ? '' : Number(le.replace('Inf', 'Infinity'))}=${value}`,
    )
    .join(' ');
}

/**
 * @param {Exposition} truth @param {Expected} expected @param {Labels} labels
 * @returns {{ value: number | undefined, within: number, absentAtZero: boolean }}
 */
function wantedOf(truth, expected, labels) {
  if (typeof expected === 'number') return { value: expected, within: 0, absentAtZero: false };
  if (typeof expected === 'string')
    return { value: valueOf(truth, expected, labels), within: 0, absentAtZero: false };
  const { plus, minus = [], times, within = 0, absentAtZero = false } = expected;
  const sum = (/** @type {readonly string[]} */ selectors) =>
    selectors.reduce((total, selector) => total + (valueOf(truth, selector, labels) ?? NaN), 0);
  const factor = times === undefined ? 1 : (valueOf(truth, times.replace(/^1\//, ''), labels) ?? NaN);
  const value = (sum(plus) - sum(minus)) * (times?.startsWith('1/') ? 1 / factor : factor);
  return { value, within, absentAtZero };
}

/** The value of `name{label=value,…}`. @param {Exposition | undefined} from @param {string} selector @param {Labels} labels */
function valueOf(from, selector, labels) {
  const [, name = '', pairs = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(selector) ?? [];
  const own = pairs.split(',').flatMap((pair) => {
    const [label = '', ...value] = pair.split('=');
    return label === '' ? [] : [[label, value.join('=')]];
  });
  return from?.sum(name, { ...labels, ...Object.fromEntries(own) });
}
