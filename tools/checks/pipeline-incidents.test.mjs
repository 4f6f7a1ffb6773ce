// Every incident, started and stopped over the mock's control API, shows in what the real llm-exporter tells of engines,
// as its signs in libs/simulation/src/scenario/incidents.ts say. Signs in `gpu_*` are in pipeline-gpus.test.mjs.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { scrape, startApp, startMock, stopAll } from './pipeline.mjs';

/** @typedef {import('./pipeline.mjs').Exposition} Exposition */
/** @typedef {import('./pipeline.mjs').Labels} Labels */
/** @typedef {import('./pipeline.mjs').RunningApp} RunningApp */
/** @typedef {import('./pipeline.mjs').RunningMock} RunningMock */

/**
 * Each kind of engine on a small GPU, where steps are slow and the world is cheap, half busy, so that an incident shows
 * within a minute of the world. Little memory is left to keys and values.
 */
const SCENARIO = `
seed: incidents
host:
  name: incidents
  gpus: [{ board: l4, count: 6 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: vllm, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0], settings: { max_sequences: 12, memory_ratio: 0.82, context_tokens: 2048 } }
  - { name: sglang, kind: sglang, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [1], settings: { max_sequences: 12, memory_ratio: 0.82, context_tokens: 2048 } }
  - { name: tgi, kind: tgi, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [2], settings: { max_sequences: 12, memory_ratio: 0.82, context_tokens: 2048, max_waiting: 1000 } }
  - { name: triton, kind: triton, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [3], settings: { max_sequences: 12, memory_ratio: 0.82, context_tokens: 2048 } }
  - { name: llamacpp, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [4], settings: { max_sequences: 4, context_tokens: 16384 } }
  - { name: ollama, kind: ollama, port: 0, models: ["llama3.1:8b", "llama3.2:3b"], gpus: [5], settings: { max_sequences: 2, context_tokens: 49152 } }
traffic:
  - { engine: vllm, arrivals: { poisson: { rate: 1 } }, prompt: &prompt { median: 300, sigma: 0.4, max: 1000 }, output: &output { median: 60, sigma: 0.4 }, max_tokens: 512 }
  - { engine: sglang, arrivals: { poisson: { rate: 1 } }, prompt: *prompt, output: *output, max_tokens: 512 }
  - { engine: tgi, arrivals: { poisson: { rate: 1 } }, prompt: *prompt, output: *output, max_tokens: 512 }
  - { engine: triton, arrivals: { poisson: { rate: 1 } }, prompt: *prompt, output: *output, max_tokens: 512 }
  - { engine: llamacpp, arrivals: { poisson: { rate: 0.8 } }, prompt: *prompt, output: *output, max_tokens: 512 }
  - { engine: ollama, model: "llama3.1:8b", arrivals: { poisson: { rate: 0.4 } }, prompt: *prompt, output: *output, max_tokens: 512 }
`;
/** World seconds from one look to the next, and over how many of them a sign is judged. */
const STEP_SECONDS = 10;
const WINDOW_SECONDS = 60;
/** In the world: what has not shown by then, or is not over, never will be. */
const MOST_SECONDS = 900;
/** Requests that each engine takes at once. */
const CAPACITY = { vllm: 12, sglang: 12, tgi: 12, triton: 12, llamacpp: 4, ollama: 2 };

/** @typedef {'vllm' | 'sglang' | 'tgi' | 'triton' | 'llamacpp' | 'ollama'} Kind */

/** What one engine said over a time, by the looks that were taken. */
class View {
  /** @param {readonly Look[]} looks @param {Kind} kind */
  constructor(looks, kind) {
    this.looks = looks;
    this.kind = kind;
  }

  /** The sum of a metric's series at each look at which it had some. @param {string} metric @param {Labels} [labels] */
  values(metric, labels = {}) {
    return this.looks.flatMap(({ said }) => said.sum(metric, { server: this.kind, ...labels }) ?? []);
  }

  /** @param {string} metric @param {Labels} [labels] */
  least(metric, labels) {
    return Math.min(...this.values(metric, labels));
  }

  /** @param {string} metric @param {Labels} [labels] */
  most(metric, labels) {
    return Math.max(...this.values(metric, labels));
  }

  /** @param {string} metric @param {Labels} [labels] */
  last(metric, labels) {
    return this.values(metric, labels).at(-1) ?? NaN;
  }

  /** Over the looks. @param {string} metric @param {Labels} [labels] */
  average(metric, labels) {
    const values = this.values(metric, labels);
    return values.reduce((total, value) => total + value, 0) / values.length;
  }

  /** Of a counter, from the first look to the last; a series that is not there has counted nothing. @param {string} metric @param {Labels} [labels] */
  increase(metric, labels = {}) {
    const at = (/** @type {Look | undefined} */ look) =>
      look?.said.sum(metric, { server: this.kind, ...labels }) ?? 0;
    return at(this.looks.at(-1)) - at(this.looks[0]);
  }

  /** Of a counter, in a second of the world. @param {string} metric */
  rate(metric) {
    return this.increase(metric) / spanOf(this.looks);
  }

  /** Of a histogram, over what was observed in that time; NaN of too few. @param {string} metric */
  mean(metric) {
    const count = this.increase(`${metric}_count`);
    return count < 8 ? NaN : this.increase(`${metric}_sum`) / count;
  }

  /** Whether a counter has fallen. @param {string} metric */
  hasReset(metric) {
    return this.values(metric).some((value, index, all) => value < (all[index - 1] ?? 0));
  }
}

/**
 * @typedef {{ seconds: number, said: Exposition }} Look
 * @typedef {{ now: View, calm: View, since: View }} Views the last minute; one before any incident; and all since it began or ended
 * @typedef {{ shows: (views: Views) => boolean, isOver: (views: Views) => boolean }} Check
 * @typedef {{
 *   parameters?: Readonly<Record<string, number | string>>,
 *   isForTheBusy?: true,
 *   signs: Readonly<Record<string, Check>>,
 * }} IncidentCase
 */

/** @param {string} metric @param {number} value @returns {Check} */
const stays = (metric, value) => {
  const holds = (/** @type {Views} */ { now }) => now.least(metric) === value && now.most(metric) === value;
  return { shows: holds, isOver: holds };
};

/** Above all that it was before, and back there. @param {string} metric @param {number} by @returns {Check} */
const climbs = (metric, by) => ({
  shows: ({ now, calm }) => now.last(metric) >= calm.most(metric) + by,
  isOver: ({ now, calm }) => now.last(metric) <= calm.most(metric),
});

/** The mean of a histogram. @param {string} metric @param {number} least @param {number} [most] times what it was @returns {Check} */
const meanRises = (metric, least, most = Infinity) => ({
  shows: ({ now, calm }) =>
    now.mean(metric) >= least * calm.mean(metric) && now.mean(metric) <= most * calm.mean(metric),
  isOver: ({ now, calm }) => now.mean(metric) < (1 + (least - 1) / 2) * calm.mean(metric),
});

/** What it does is done again once it is over. @param {string} metric @param {Labels} [labels] @returns {Check} */
const counts = (metric, labels) => ({
  shows: ({ since }) => since.increase(metric, labels) > 0,
  isOver: ({ now }) => now.increase(metric, labels) === 0,
});

/** @param {string} metric @returns {Check} */
const comesAndGoes = (metric) => ({
  shows: ({ since }) => since.least(metric) === 0 && since.most(metric) === 1,
  isOver: ({ now }) => now.least(metric) === 1,
});

const FULL = 0.88;

/** The checks of every sign that an engine's metric has, by incident. @type {Readonly<Record<string, IncidentCase>>} */
const INCIDENTS = {
  hang: {
    isForTheBusy: true,
    signs: {
      llm_up: stays('llm_up', 1),
      llm_generation_tokens_total: {
        shows: ({ now }) =>
          now.increase('llm_generation_tokens_total') === 0 && now.least('llm_requests_running') > 0,
        isOver: ({ now }) => now.increase('llm_generation_tokens_total') > 0,
      },
      llm_requests_waiting: climbs('llm_requests_waiting', 10),
    },
  },
  kv_starvation: {
    signs: {
      llm_kv_cache_usage_ratio: {
        shows: ({ now }) => now.least('llm_kv_cache_usage_ratio') >= FULL,
        isOver: ({ now }) => now.last('llm_kv_cache_usage_ratio') < FULL,
      },
      llm_requests_waiting: {
        shows: ({ now, calm }) =>
          now.last('llm_requests_waiting') >= calm.most('llm_requests_waiting') + 5 &&
          !(now.most('llm_requests_running') >= now.last('llm_requests_capacity')),
        isOver: ({ now, calm }) => now.last('llm_requests_waiting') <= calm.most('llm_requests_waiting'),
      },
      llm_request_queue_time_seconds: meanRises('llm_request_queue_time_seconds', 3),
      llm_time_to_first_token_seconds: meanRises('llm_time_to_first_token_seconds', 3),
    },
  },
  overload: {
    signs: {
      llm_requests_running: {
        shows: ({ now }) => now.average('llm_requests_running') >= 0.9 * CAPACITY[now.kind],
        isOver: ({ now }) => now.average('llm_requests_running') < 0.9 * CAPACITY[now.kind],
      },
      llm_requests_waiting: climbs('llm_requests_waiting', 10),
      llm_time_to_first_token_seconds: meanRises('llm_time_to_first_token_seconds', 3),
    },
  },
  preemption_storm: {
    signs: {
      llm_requests_preempted_total: counts('llm_requests_preempted_total'),
      llm_kv_cache_usage_ratio: {
        shows: ({ now }) => now.least('llm_kv_cache_usage_ratio') >= FULL,
        isOver: ({ now }) => now.last('llm_kv_cache_usage_ratio') < FULL,
      },
      llm_inter_token_latency_seconds: meanRises('llm_inter_token_latency_seconds', 1.1),
    },
  },
  xid_79: {
    signs: {
      llm_up: {
        shows: ({ now }) => now.most('llm_up') === 0,
        isOver: ({ now }) => now.least('llm_up') === 1,
      },
    },
  },
  thermal_throttle: {
    signs: { llm_inter_token_latency_seconds: meanRises('llm_inter_token_latency_seconds', 1.1) },
  },
  driver_mismatch: { signs: { llm_up: stays('llm_up', 1) } },
  cpu_fallback: {
    signs: {
      llm_generation_tokens_total: {
        shows: ({ now, calm }) =>
          now.average('llm_requests_running') >= 0.9 * CAPACITY[now.kind] &&
          now.rate('llm_generation_tokens_total') < 0.7 * calm.rate('llm_generation_tokens_total'),
        isOver: ({ now, calm }) =>
          now.rate('llm_generation_tokens_total') > 0.7 * calm.rate('llm_generation_tokens_total'),
      },
      llm_model_memory_bytes: {
        shows: ({ now }) =>
          now.last('llm_model_memory_bytes', { kind: 'vram' }) <
          now.last('llm_model_memory_bytes', { kind: 'total' }),
        isOver: ({ now }) =>
          now.last('llm_model_memory_bytes', { kind: 'vram' }) ===
          now.last('llm_model_memory_bytes', { kind: 'total' }),
      },
    },
  },
  model_thrash: {
    signs: {
      llm_model_loaded: {
        shows: ({ since }) =>
          ['llama3.1:8b', 'llama3.2:3b'].every(
            (model) =>
              since.least('llm_model_loaded', { model }) === 0 &&
              since.most('llm_model_loaded', { model }) === 1,
          ),
        isOver: ({ now }) => now.least('llm_model_loaded', { model: 'llama3.1:8b' }) === 1,
      },
      llm_model_unload_time_seconds: {
        shows: ({ since }) =>
          since.values('llm_model_unload_time_seconds', { model: 'llama3.2:3b' }).length > 0 &&
          since.values('llm_model_unload_time_seconds', { model: 'llama3.2:3b' }).length < since.looks.length,
        isOver: ({ now }) =>
          now.values('llm_model_unload_time_seconds', { model: 'llama3.2:3b' }).length === 0,
      },
    },
  },
  metric_rename: {
    signs: {
      llm_source_metrics_missing: {
        shows: ({ now }) => now.last('llm_source_metrics_missing') > 0,
        isOver: ({ now }) => now.last('llm_source_metrics_missing') === 0,
      },
      llm_metric_unavailable_info: {
        shows: ({ now }) => now.last('llm_metric_unavailable_info', { reason: 'not_in_answer' }) > 0,
        isOver: ({ now }) =>
          now.looks
            .at(-1)
            ?.said.sum('llm_metric_unavailable_info', { server: now.kind, reason: 'not_in_answer' }) ===
          undefined,
      },
      llm_engine_info: {
        shows: ({ now, calm }) => versionOf(now) !== versionOf(calm),
        isOver: ({ now, calm }) => versionOf(now) === versionOf(calm),
      },
    },
  },
  engine_crash_loop: {
    signs: {
      llm_up: comesAndGoes('llm_up'),
      llm_ready: comesAndGoes('llm_ready'),
      llm_engine_start_time_seconds: {
        shows: ({ since }) => new Set(since.values('llm_engine_start_time_seconds')).size > 1,
        isOver: ({ now }) => new Set(now.values('llm_engine_start_time_seconds')).size === 1,
      },
      llm_generation_tokens_total: {
        shows: ({ since }) => since.hasReset('llm_generation_tokens_total'),
        isOver: ({ now }) =>
          now.increase('llm_generation_tokens_total') > 0 && !now.hasReset('llm_generation_tokens_total'),
      },
    },
  },
  client_giveup: {
    signs: {
      llm_requests_finished_total: {
        shows: ({ now }) => now.increase('llm_requests_finished_total', { finish_reason: 'abort' }) >= 10,
        isOver: ({ now }) => now.increase('llm_requests_finished_total', { finish_reason: 'abort' }) === 0,
      },
      llm_request_errors_total: {
        shows: ({ now }) => now.increase('llm_request_errors_total', { error_type: 'aborted' }) >= 10,
        isOver: ({ now }) => now.increase('llm_request_errors_total', { error_type: 'aborted' }) === 0,
      },
      llm_request_generation_tokens: {
        shows: ({ now, calm }) =>
          now.mean('llm_request_generation_tokens') < 0.9 * calm.mean('llm_request_generation_tokens'),
        isOver: ({ now, calm }) =>
          now.mean('llm_request_generation_tokens') > 0.9 * calm.mean('llm_request_generation_tokens'),
      },
    },
  },
  slow_regression: {
    parameters: { slower: 0.5 },
    signs: {
      llm_inter_token_latency_seconds: meanRises('llm_inter_token_latency_seconds', 1.8, 2.6),
      llm_request_duration_seconds: meanRises('llm_request_duration_seconds', 1.5),
      llm_requests_running: {
        shows: ({ now, calm }) =>
          now.average('llm_requests_running') > 1.4 * calm.average('llm_requests_running'),
        isOver: ({ now, calm }) =>
          now.average('llm_requests_running') < 1.4 * calm.average('llm_requests_running'),
      },
    },
  },
  tenant_flood: {
    signs: {
      llm_requests_waiting: climbs('llm_requests_waiting', 10),
      llm_request_queue_time_seconds: meanRises('llm_request_queue_time_seconds', 3),
    },
  },
};

/**
 * @typedef {{ metric: string, how: string, engines?: readonly Kind[] }} Sign
 * @typedef {{ name: string, target: 'engine' | 'traffic' | 'gpu' | 'host', needs?: { engineKinds?: readonly Kind[] }, signs: readonly Sign[] }} Incident
 */

const KINDS = /** @type {const} */ (['vllm', 'sglang', 'tgi', 'triton', 'llamacpp', 'ollama']);

describe('incidents over the control API', () => {
  /** @type {RunningMock} */
  let mock;
  /** @type {RunningApp} */
  let exporter;
  /** @type {readonly Incident[]} */
  let incidents = [];
  /** @type {Look[]} */
  const calm = [];

  before(async () => {
    mock = await startMock(SCENARIO, { MOCK_EXPORTER_WARM_UP: '180s' });
    await mock.post('/api/speed', { speed: 0 }); // time passes in steps: nothing depends on how fast this machine is
    exporter = await startApp('llm-exporter', {
      LLM_EXPORTER_TARGETS: mock.engines.map(({ name, url }) => `${name}=${url}`).join(','),
      LLM_EXPORTER_DISCOVERY: 'false',
    });
    incidents = /** @type {readonly Incident[]} */ ((await mock.get('/api/incidents'))['incidents']);
    for (let seconds = 0; seconds < 5 * WINDOW_SECONDS; seconds += STEP_SECONDS) calm.push(await look());
  });
  after(stopAll);

  /** What the exporter says a little later. @returns {Promise<Look>} */
  async function look() {
    const { now } = await mock.post('/api/advance', { seconds: STEP_SECONDS });
    return { seconds: Number(now), said: await scrape(exporter) };
  }

  /** Looks until nothing is left of what is waited for. @param {string} what @param {(looks: readonly Look[]) => readonly string[] | undefined} left */
  async function watch(what, left) {
    /** @type {Look[]} */
    const looks = [];
    for (;;) {
      looks.push(await look());
      const waiting = left(looks);
      if (waiting?.length === 0) return;
      assert.ok(spanOf(looks) < MOST_SECONDS, `${what}, but of ${waiting?.join(', ')}`);
    }
  }

  for (const [name, { parameters = {}, isForTheBusy, signs }] of Object.entries(INCIDENTS)) {
    it(`${name} shows, and is gone when it is stopped`, { timeout: 120_000 }, async () => {
      const incident = incidents.find((each) => each.name === name);
      assert.ok(incident);
      const checks = checksOf(incident, signs);
      assert.ok(checks.length > 0);
      await start(incident, parameters, isForTheBusy === true);
      const left = (/** @type {'shows' | 'isOver'} */ phase) => (/** @type {readonly Look[]} */ looks) => {
        if (spanOf(looks) < WINDOW_SECONDS) return undefined;
        const last = looks.at(-1)?.seconds ?? 0;
        const recent = looks.filter(({ seconds }) => last - seconds <= WINDOW_SECONDS);
        return checks
          .filter(({ kind, check }) => {
            const views = {
              now: new View(recent, kind),
              calm: new View(calm, kind),
              since: new View(looks, kind),
            };
            return !check[phase](views);
          })
          .map(({ kind, metric }) => `${metric} of ${kind}`);
      };
      try {
        await watch(`${name} shows`, left('shows'));
      } finally {
        await mock.remove(`/api/incidents/${name}`);
      }
      await watch(`${name} is over`, left('isOver'));
    });
  }

  it("have a check for every sign that is an engine's metric, and no other", () => {
    const said = incidents.flatMap((incident) =>
      incident.signs
        .filter(({ metric }) => metric.startsWith('llm_'))
        .map(({ metric }) => `${incident.name}: ${metric}`),
    );
    const checked = Object.entries(INCIDENTS).flatMap(([name, { signs }]) =>
      Object.keys(signs).map((metric) => `${name}: ${metric}`),
    );
    assert.deepEqual(checked.sort(), said.sort());
  });

  /** @param {Incident} incident @param {object} parameters @param {boolean} isForTheBusy */
  async function start({ name, target, needs }, parameters, isForTheBusy) {
    const kinds = needs?.engineKinds ?? KINDS;
    const targets =
      target === 'host' ? [undefined] : target === 'gpu' ? KINDS.map((_, index) => String(index)) : kinds;
    const todo = new Set(targets);
    while (todo.size > 0) {
      const truth = await scrape(mock);
      for (const each of todo) {
        const running = truth.sum('sim_engine_requests_running', { engine: String(each) });
        if (isForTheBusy && running === 0) continue;
        await mock.post('/api/incidents', { incident: name, target: each, parameters });
        todo.delete(each);
      }
      if (todo.size > 0) await mock.post('/api/advance', { seconds: 0.5 });
    }
  }
});

/** @param {View} view */
function versionOf({ looks, kind }) {
  return looks.at(-1)?.said.all('llm_engine_info', { server: kind })[0]?.labels['version'];
}

/** @param {Incident} incident @param {Readonly<Record<string, Check>>} signs */
function checksOf({ signs: said, needs }, signs) {
  return said.flatMap(({ metric, engines }) => {
    const check = signs[metric];
    if (check === undefined) return [];
    return (engines ?? needs?.engineKinds ?? KINDS).map((kind) => ({ kind, metric, check }));
  });
}

/** @param {readonly Look[]} looks */
function spanOf(looks) {
  return (looks.at(-1)?.seconds ?? 0) - (looks[0]?.seconds ?? 0);
}
