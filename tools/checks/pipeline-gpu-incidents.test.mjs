// Each incident that shows in the metrics of GPUs is started over the mock's control API, seen by the gpu-exporter as the
// incident's own signs say, stopped, and seen to go away.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Exposition, scrape, stopAll, until } from './pipeline.mjs';
import { noNvml, startGpuExporter, startMockedHost } from './pipeline-gpus.mjs';

const { fetch, performance } = globalThis;

/** @typedef {import('./pipeline.mjs').Sample} Sample */
/** @typedef {import('./pipeline.mjs').Labels} Labels */
/** @typedef {import('./pipeline.mjs').RunningApp} RunningApp */
/** @typedef {import('./pipeline-gpus.mjs').MockedHost} MockedHost */
/** @typedef {{ seconds: number, samples: readonly Sample[] }} Look what was seen, and when */
/** @typedef {{ words: string, holds: (looks: readonly Look[]) => boolean }} Condition of all looks since a phase began, the last one last */
/** @typedef {{ metric: string, labels?: Labels, before: Condition, during: Condition, after: Condition }} Sign */
/**
 * @typedef {object} Case
 * @property {string} incident
 * @property {string} [target]
 * @property {Readonly<Record<string, number | string>>} [parameters]
 * @property {string} [gpu] whose series the signs are; those of the exporter itself where it is left out
 * @property {readonly Sign[]} signs
 */

/** @param {readonly Look[]} looks */
const samplesNow = (looks) => looks.at(-1)?.samples ?? [];
/** @param {Look | undefined} look */
const sum = (look) => (look?.samples ?? []).reduce((total, { value }) => total + value, 0);
/** @param {string} words @param {(value: number) => boolean} holds @returns {Condition} */
const each = (words, holds) => ({
  words,
  holds: (looks) => samplesNow(looks).length > 0 && samplesNow(looks).every(({ value }) => holds(value)),
});
/** @param {number} wanted */
const is = (wanted) => each(`is ${wanted}`, (value) => value === wanted);
/** @param {number} bound */
const above = (bound) => each(`is above ${bound}`, (value) => value > bound);
/** @param {number} bound */
const below = (bound) => each(`is below ${bound}`, (value) => value < bound);
/** @type {Condition} */
const absent = { words: 'is absent', holds: (looks) => samplesNow(looks).length === 0 };
/** @param {readonly string[]} reasons @returns {Condition} */
const says = (...reasons) => ({
  words: `has reason ${reasons.join(' or ')}`,
  holds: (looks) =>
    samplesNow(looks).length > 0 &&
    samplesNow(looks).every(({ labels }) => reasons.includes(labels['reason'] ?? '')),
});
/** @type {Condition} */
const rises = { words: 'rises', holds: (looks) => sum(looks.at(-1)) > sum(looks[0]) };
/** @type {Condition} */
const fallsAndRises = {
  words: 'falls and rises',
  holds: (looks) => {
    const steps = looks.slice(1).map((look, index) => Math.sign(sum(look) - sum(looks[index])));
    return steps.includes(-1) && steps.includes(1);
  },
};
/** NVML's counters of errors are read every 5 s, and the mock writes its files once a second. */
const STANDS_SECONDS = 7;
/** @type {Condition} */
const stands = {
  words: `is the same for ${STANDS_SECONDS} s`,
  holds: (looks) => {
    const end = looks.at(-1)?.seconds ?? 0;
    const late = looks.filter(({ seconds }) => seconds >= end - STANDS_SECONDS);
    return late.length < looks.length && late.every((look) => sum(look) === sum(looks.at(-1)));
  },
};

/** Each incident has a GPU of its own, so that all go on at once. */
const SCENARIO = `
seed: gpu-incidents
host:
  name: gpu-incidents
  gpus:
    - { board: h100-sxm, count: 5, ambient: 26 }
    - { board: rtx-4090, count: 4, ambient: 40 }
  driver: { nvidia: 580.105.08, cuda: "13.0" }
engines:
  - { name: hot, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0, 1] }
  - { name: stuck, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [2] }
  - { name: quiet, kind: sglang, port: 0, model: Qwen/Qwen2.5-7B-Instruct, gpus: [3] }
  - { name: fans, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [5], settings: { context_tokens: 16384, max_sequences: 4 } }
  - { name: braked, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [6], settings: { context_tokens: 16384, max_sequences: 4 } }
  - { name: fallback, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [7], settings: { context_tokens: 16384, max_sequences: 4 } }
  - { name: desk, kind: ollama, port: 0, models: ["llama3.2:3b", "llama3.1:8b"], gpus: [8], settings: { context_tokens: 65536, max_sequences: 2 } }
traffic:
  - { engine: hot, arrivals: { poisson: { rate: 3 } }, prompt: chat, output: chat, max_tokens: 256 }
  - { engine: stuck, arrivals: { poisson: { rate: 3 } }, prompt: chat, output: chat, max_tokens: 256 }
  - { name: quiet, engine: quiet, arrivals: { poisson: { rate: 0.01 } }, prompt: chat, output: chat, max_tokens: 256 }
  - { engine: fans, arrivals: { poisson: { rate: 3 } }, prompt: { shape: chat, max: 4000 }, output: chat, max_tokens: 256 }
  - { engine: braked, arrivals: { poisson: { rate: 3 } }, prompt: { shape: chat, max: 4000 }, output: chat, max_tokens: 256 }
  - { engine: fallback, arrivals: { poisson: { rate: 3 } }, prompt: { shape: chat, max: 4000 }, output: chat, max_tokens: 256 }
`;

/** @type {readonly Case[]} */
const CASES = [
  {
    incident: 'hang',
    target: 'stuck',
    gpu: '2',
    signs: [
      { metric: 'gpu_utilization_ratio', before: above(0.3), during: is(0), after: above(0.3) },
      { metric: 'gpu_memory_used_bytes', before: above(70e9), during: above(70e9), after: above(70e9) },
    ],
  },
  {
    incident: 'overload',
    target: 'quiet',
    parameters: { factor: 500 },
    gpu: '3',
    signs: [
      { metric: 'gpu_utilization_ratio', before: below(0.05), during: above(0.95), after: below(0.05) },
    ],
  },
  {
    incident: 'xid_79',
    target: '4',
    gpu: '4',
    signs: [
      { metric: 'gpu_up', before: is(1), during: is(0), after: is(1) },
      { metric: 'gpu_down_info', before: absent, during: says('lost', 'vanished'), after: absent },
      // It has happened, once.
      { metric: 'gpu_xid_errors_total', labels: { xid: '79' }, before: is(0), during: is(1), after: is(1) },
    ],
  },
  {
    incident: 'thermal_throttle',
    target: '0',
    gpu: '0',
    signs: [
      {
        metric: 'gpu_temperature_celsius',
        labels: { sensor: 'core' },
        before: below(70),
        during: above(86),
        after: below(70),
      },
      {
        metric: 'gpu_clock_event_active',
        labels: { reason: 'sw_thermal' },
        before: is(0),
        during: is(1),
        after: is(0),
      },
      {
        metric: 'gpu_clock_hertz',
        labels: { domain: 'sm' },
        before: above(1.9e9),
        during: below(1.9e9),
        after: above(1.9e9),
      },
    ],
  },
  {
    incident: 'power_brake',
    target: '6',
    gpu: '6',
    signs: [
      {
        metric: 'gpu_clock_event_active',
        labels: { reason: 'hw_power_brake' },
        before: is(0),
        during: is(1),
        after: is(0),
      },
      {
        metric: 'gpu_clock_hertz',
        labels: { domain: 'sm' },
        before: is(2520e6),
        during: is(1260e6),
        after: is(2520e6),
      },
      { metric: 'gpu_power_watts', before: above(180), during: below(150), after: above(180) },
      { metric: 'gpu_utilization_ratio', before: above(0.9), during: above(0.9), after: above(0.9) },
    ],
  },
  {
    incident: 'fan_stop',
    target: '5',
    gpu: '5',
    signs: [
      { metric: 'gpu_fan_speed_ratio', before: above(0.3), during: is(0), after: above(0.3) },
      {
        metric: 'gpu_temperature_celsius',
        labels: { sensor: 'core' },
        before: below(75),
        during: above(82),
        after: below(75),
      },
      {
        metric: 'gpu_clock_event_seconds_total',
        labels: { reason: 'sw_thermal' },
        before: is(0),
        during: rises,
        after: stands,
      },
    ],
  },
  {
    incident: 'ecc',
    target: '1',
    parameters: { errors_per_second: 2 },
    gpu: '1',
    signs: [
      {
        metric: 'gpu_ecc_errors_total',
        labels: { type: 'corrected', location: 'dram', lifetime: 'volatile' },
        before: is(0),
        during: rises,
        after: stands,
      },
    ],
  },
  {
    incident: 'cpu_fallback',
    target: 'fallback',
    gpu: '7',
    signs: [
      { metric: 'gpu_utilization_ratio', before: above(0.9), during: is(0), after: above(0.9) },
      { metric: 'gpu_memory_used_bytes', before: above(7e9), during: is(0), after: above(7e9) },
    ],
  },
  {
    incident: 'model_thrash',
    target: 'desk',
    // Of the world, which runs at forty times the speed.
    parameters: { every: '80s' },
    gpu: '8',
    signs: [{ metric: 'gpu_memory_used_bytes', before: is(0), during: fallsAndRises, after: is(0) }],
  },
];

/** Those of the driver as a whole, one after the other. */
/** @type {readonly Case[]} */
const DRIVER_CASES = [
  {
    incident: 'exporter_freeze',
    signs: [
      { metric: 'gpu_exporter_reading_age_seconds', before: below(4), during: above(5), after: below(4) },
      { metric: 'gpu_up', before: is(1), during: is(0), after: is(1) },
      {
        metric: 'gpu_down_info',
        before: absent,
        during: says('driver_unreachable', 'hung'),
        after: absent,
      },
      {
        metric: 'gpu_exporter_backend_failure_info',
        before: absent,
        during: says('hung'),
        after: absent,
      },
    ],
  },
  {
    incident: 'driver_mismatch',
    signs: [
      { metric: 'gpu_exporter_backend_up', before: is(1), during: is(0), after: is(1) },
      {
        metric: 'gpu_exporter_backend_failure_info',
        before: absent,
        during: says('driver_mismatch'),
        after: absent,
      },
    ],
  },
];

const DRIVER_SCENARIO = `
seed: driver-incidents
host:
  name: driver-incidents
  gpus:
    - { board: l4, count: 2 }
  driver: { nvidia: 580.105.08, cuda: "13.0" }
engines:
  - { name: chat, kind: vllm, port: 0, model: Qwen/Qwen2.5-7B-Instruct, gpus: [0] }
traffic:
  - { engine: chat, arrivals: { poisson: { rate: 0.1 } }, prompt: chat, output: chat }
`;

const BACKENDS = /** @type {const} */ ([
  { backend: 'nvidia-smi', skip: false },
  { backend: 'nvml', skip: noNvml },
]);
const present = BACKENDS.filter(({ skip }) => skip === false).map(({ backend }) => backend);

after(stopAll);

// Most of the time is spent waiting for the next reading.
describe('the gpu-exporter', { concurrency: true }, () => {
  describe('incidents of GPUs', { concurrency: true }, () => {
    /** @type {MockedHost} */
    let host;
    /** @type {readonly Watched[]} */
    let watched;

    before(async () => {
      host = await startMockedHost(SCENARIO, { MOCK_EXPORTER_SPEED: '40', MOCK_EXPORTER_WARM_UP: '2m' });
      watched = await Promise.all(
        present.map(async (backend) => new Watched(await startGpuExporter(host, backend))),
      );
    });

    for (const play of CASES) {
      it(`${play.incident} shows, and goes away`, async () => {
        const uuid = (await scrape(host)).all('sim_gpu_up', { gpu: play.gpu ?? '' })[0]?.labels['uuid'];
        assert.ok(uuid);
        const all = (/** @type {Phase} */ phase) =>
          Promise.all(watched.map((exporter) => exporter.sees(play, phase, { uuid })));
        await all('before');
        await start(host, play);
        await all('during');
        await host.remove(`/api/incidents/${play.incident}`);
        await all('after');
      });
    }

    it('are in this table with all their signs', async () => {
      const answer = await fetch(`${host.url}/api/incidents`);
      const { incidents } =
        /** @type {{ incidents: readonly { name: string, signs: readonly { metric: string }[] }[] }} */ (
          await answer.json()
        );
      const told = incidents.flatMap(({ name, signs }) =>
        signs.filter(({ metric }) => metric.startsWith('gpu_')).map(({ metric }) => `${name}: ${metric}`),
      );
      const tested = [...CASES, ...DRIVER_CASES].flatMap(({ incident, signs }) =>
        signs.map(({ metric }) => `${incident}: ${metric}`),
      );
      assert.ok(told.length > 20);
      assert.deepEqual(
        told.filter((sign) => !tested.includes(sign)),
        [],
      );
    });
  });

  describe('incidents of the driver', { concurrency: false }, () => {
    /** @type {MockedHost} */
    let host;
    /** Quick to notice, as far as that goes. */
    const env = { GPU_EXPORTER_DEADLINE: '5s', GPU_EXPORTER_STALE_AFTER: '6s' };
    /** @type {Map<string, Watched>} */
    const watched = new Map();
    const [freeze, mismatch] = DRIVER_CASES;

    before(async () => {
      host = await startMockedHost(DRIVER_SCENARIO, { MOCK_EXPORTER_WARM_UP: '2m' });
      for (const backend of present)
        watched.set(backend, new Watched(await startGpuExporter(host, backend, env)));
    });

    it('exporter_freeze shows, and goes away', async () => {
      assert.ok(freeze);
      const all = (/** @type {Phase} */ phase) =>
        Promise.all([...watched.values()].map((exporter) => exporter.sees(freeze, phase)));
      await all('before');
      await start(host, freeze);
      await all('during');
      await host.remove('/api/incidents/exporter_freeze');
      await all('after');
    });

    it('driver_mismatch shows in what is started from then on, and goes away', async () => {
      assert.ok(mismatch);
      const smi = watched.get('nvidia-smi');
      const old = watched.get('nvml');
      await Promise.all([smi?.sees(mismatch, 'before'), old?.sees(mismatch, 'before')]);
      await start(host, mismatch);
      await smi?.sees(mismatch, 'during');
      const young = old === undefined ? undefined : new Watched(await startGpuExporter(host, 'nvml', env));
      await young?.sees(mismatch, 'during');
      // It has the library of before the upgrade.
      await old?.sees(mismatch, 'before');
      await host.remove('/api/incidents/driver_mismatch');
      await Promise.all([smi?.sees(mismatch, 'after'), young?.sees(mismatch, 'after')]);
    });
  });
});

/** @param {MockedHost} host @param {Case} play */
function start(host, { incident, target, parameters }) {
  return host.post('/api/incidents', { incident, target, parameters });
}

/** @typedef {'before' | 'during' | 'after'} Phase */

/** An exporter that is scraped a few times a second, however many wait for what it says. */
class Watched {
  static INTERVAL_MILLISECONDS = 200;

  /** @param {RunningApp} exporter */
  constructor(exporter) {
    this.exporter = exporter;
    this.last = { atMilliseconds: -Infinity, exposition: Promise.resolve(new Exposition('')) };
  }

  /** Waits until all signs show at once. @param {Case} play @param {Phase} phase @param {Labels} [labels] */
  async sees({ incident, signs }, phase, labels = {}) {
    /** @type {Map<Sign, Look[]>} */
    const looks = new Map(signs.map((sign) => [sign, []]));
    const wanting = () => signs.filter((sign) => !sign[phase].holds(looks.get(sign) ?? []));
    const describe = () =>
      wanting()
        .map(
          (sign) => `${sign.metric} ${sign[phase].words}; it was ${JSON.stringify(looks.get(sign)?.at(-1))}`,
        )
        .join('\n');
    await until(
      `what the gpu-exporter says ${phase} ${incident}`,
      async () => {
        const exposition = await this.look();
        const seconds = performance.now() / 1000;
        for (const sign of signs) {
          const samples = exposition.all(sign.metric, { ...labels, ...sign.labels });
          looks.get(sign)?.push({ seconds, samples });
        }
        return wanting().length === 0;
      },
      { describe },
    );
  }

  /** @returns {Promise<Exposition>} */
  async look() {
    const now = performance.now();
    if (now - this.last.atMilliseconds > Watched.INTERVAL_MILLISECONDS) {
      this.last = { atMilliseconds: now, exposition: scrape(this.exporter) };
    } else {
      await pause(Watched.INTERVAL_MILLISECONDS / 2);
    }
    return this.last.exposition;
  }
}
