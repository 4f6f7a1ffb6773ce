/**
 * Writes what many vLLM engines behind one /metrics would answer, in the very shape of python's prometheus_client:
 * family by family, labels sorted with `le` among them, floats with a fraction, a `_created` gauge after each counter
 * and histogram. Deterministic: the same size gives the same bytes.
 */

const LATENCY =
  '0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 160.0 640.0 2560.0';
const GAP = '0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0';
const REQUEST =
  '0.3 0.5 0.8 1.0 1.5 2.0 2.5 5.0 10.0 15.0 20.0 30.0 40.0 50.0 60.0 120.0 240.0 480.0 960.0 1920.0 7680.0';
const TOKENS = '1.0 2.0 5.0 10.0 20.0 50.0 100.0 200.0 500.0 1000.0 2000.0 5000.0 10000.0 20000.0';
const STEP = '1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 16384.0';

const HISTOGRAMS = {
  time_to_first_token_seconds: LATENCY,
  inter_token_latency_seconds: GAP,
  request_time_per_output_token_seconds: GAP,
  e2e_request_latency_seconds: REQUEST,
  request_queue_time_seconds: REQUEST,
  request_inference_time_seconds: REQUEST,
  request_prefill_time_seconds: REQUEST,
  request_decode_time_seconds: REQUEST,
  request_prompt_tokens: TOKENS,
  request_generation_tokens: TOKENS,
  request_max_num_generation_tokens: TOKENS,
  request_params_max_tokens: TOKENS,
  request_prefill_kv_computed_tokens: TOKENS,
  request_params_n: '1.0 2.0 5.0 10.0 20.0',
  iteration_tokens_total: STEP,
};

const GAUGES = ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc'];

const COUNTERS = {
  prefix_cache_queries: [''],
  prefix_cache_hits: [''],
  external_prefix_cache_queries: [''],
  external_prefix_cache_hits: [''],
  mm_cache_queries: [''],
  mm_cache_hits: [''],
  num_preemptions: [''],
  prompt_tokens: [''],
  prompt_tokens_by_source: ['local_compute', 'local_cache_hit', 'external_kv_transfer'].map(
    (name) => `,source="${name}"`,
  ),
  prompt_tokens_cached: [''],
  generation_tokens: [''],
  request_success: ['stop', 'length', 'abort', 'error', 'repetition'].map(
    (name) => `,finished_reason="${name}"`,
  ),
};

const MODELS = [
  'Qwen/Qwen3-8B',
  'meta-llama/Llama-3.3-70B-Instruct',
  'mistralai/Mixtral-8x22B-Instruct-v0.1',
  'deepseek-ai/DeepSeek-R1-Distill-Qwen-32B',
];

/** An exposition of at least so many bytes. */
export function vllmExposition(bytes) {
  const base = expositionOf(MODELS.length);
  const perEngine = (expositionOf(2 * MODELS.length).length - base.length) / MODELS.length;
  let engines = Math.max(1, Math.floor((0.95 * bytes) / perEngine));
  let text = expositionOf(engines);
  while (text.length < bytes) text = expositionOf(++engines);
  return text;
}

function expositionOf(engineCount) {
  const random = generator(42);
  const engines = Array.from({ length: engineCount }, (_, index) => ({
    engine: `engine="${index}"`,
    model: `model_name="${MODELS[index % MODELS.length]}"`,
  }));
  const lines = [];
  const head = (name, type) =>
    lines.push(`# HELP ${name} Measured by the engine: ${name}.`, `# TYPE ${name} ${type}`);
  const created = (name, labels) => {
    head(`${name}_created`, 'gauge');
    for (const set of labels) lines.push(`${name}_created{${set}} ${spell(1.79e9 + random() * 1e6)}`);
  };
  for (const gauge of GAUGES) {
    head(`vllm:${gauge}`, 'gauge');
    for (const { engine, model } of engines) {
      const value = gauge.endsWith('perc') ? random() : Math.floor(random() * 64);
      lines.push(`vllm:${gauge}{${engine},${model}} ${spell(value)}`);
    }
  }
  for (const [counter, extras] of Object.entries(COUNTERS)) {
    const name = `vllm:${counter}`;
    const labels = engines.flatMap(({ engine, model }) =>
      extras.map((extra) => `${engine},${model}${extra}`),
    );
    head(`${name}_total`, 'counter');
    for (const set of labels)
      lines.push(`${name}_total{${set}} ${spell(Math.floor(random() * 10 ** (1 + random() * 8)))}`);
    created(name, labels);
  }
  for (const [histogram, bounds] of Object.entries(HISTOGRAMS)) {
    const name = `vllm:${histogram}`;
    head(name, 'histogram');
    for (const { engine, model } of engines) {
      let count = 0;
      for (const bound of [...bounds.split(' '), '+Inf']) {
        count += Math.floor(random() * 5000);
        lines.push(`${name}_bucket{${engine},le="${bound}",${model}} ${spell(count)}`);
      }
      lines.push(`${name}_count{${engine},${model}} ${spell(count)}`);
      lines.push(`${name}_sum{${engine},${model}} ${spell(count * random() * 3)}`);
    }
    created(
      name,
      engines.map(({ engine, model }) => `${engine},${model}`),
    );
  }
  return `${lines.join('\n')}\n`;
}

/** As python's prometheus_client writes floats: a fraction always, an exponent from a million on. */
function spell(value) {
  if (value < 1e6) return Number.isInteger(value) ? `${value}.0` : `${value}`;
  const digits = `${value}`.replace('.', '').replace(/0+$/, '');
  const exponent = `${Math.floor(Math.log10(value))}`.padStart(2, '0');
  return `${digits[0]}.${digits.slice(1) || '0'}e+${exponent}`;
}

/** A small linear congruential generator: numbers from 0 to 1, the same for the same seed. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
