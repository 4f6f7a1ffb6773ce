// What the gpu-exporter says of the GPUs of a mocked host, by each way that it has to read them, is what these GPUs truly
// are at that instant. The world stands still while it is compared, and what was read before has time to be replaced.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { builtInScenario, scrape, stopAll, until } from './pipeline.mjs';
import { noNvml, startGpuExporter, startMockedHost } from './pipeline-gpus.mjs';

/** @typedef {import('./pipeline.mjs').Exposition} Exposition */
/** @typedef {import('./pipeline.mjs').Sample} Sample */
/** @typedef {import('./pipeline.mjs').Labels} Labels */
/** @typedef {import('./pipeline.mjs').RunningApp} RunningApp */
/** @typedef {import('./pipeline-gpus.mjs').MockedHost} MockedHost */

/** Ways to read a GPU; amdgpu has other files of an accelerator than of a processor with graphics. */
/** @typedef {'nvidia-smi' | 'nvml' | 'instinct' | 'apu'} Surface */
/**
 * @typedef {object} Row
 * @property {string} metric of the gpu-exporter
 * @property {Labels} [labels]
 * @property {readonly string[]} truth its metrics, of which the sum is meant
 * @property {Labels} [truthLabels]
 * @property {string} [by] the label of which each value has a series of its own
 * @property {Partial<Record<Surface, number>>} error half the last digit that a surface tells (the whole one where it is
 *   cut off instead of rounded); a surface that is left out does not tell it
 */

const MEBIBYTE = 2 ** 20;
/** A percentage, a degree and a megahertz are whole numbers. */
const PERCENT = 0.005;
const DEGREE = 0.5;
const MEGAHERTZ = 0.5e6;
const MICROSECOND = 1e-6;
/** nvidia-smi rounds what NVML has rounded to milliwatts. */
const HUNDREDTH_OF_WATT = 0.0055;

/** @type {readonly Row[]} */
const ROWS = [
  {
    metric: 'gpu_up',
    truth: ['sim_gpu_up'],
    error: { 'nvidia-smi': 0, nvml: 0, instinct: 0, apu: 0 },
  },
  {
    metric: 'gpu_utilization_ratio',
    truth: ['sim_gpu_utilization_ratio'],
    error: { 'nvidia-smi': PERCENT, nvml: PERCENT, instinct: PERCENT, apu: PERCENT },
  },
  {
    metric: 'gpu_memory_utilization_ratio',
    truth: ['sim_gpu_memory_utilization_ratio'],
    error: { 'nvidia-smi': PERCENT, nvml: PERCENT, instinct: PERCENT },
  },
  {
    metric: 'gpu_memory_used_bytes',
    truth: ['sim_gpu_memory_used_bytes'],
    error: { 'nvidia-smi': MEBIBYTE / 2, nvml: 0 },
  },
  {
    metric: 'gpu_memory_reserved_bytes',
    truth: ['sim_gpu_memory_reserved_bytes'],
    error: { 'nvidia-smi': MEBIBYTE / 2, nvml: 0 },
  },
  // amdgpu does not tell apart what it keeps for itself.
  {
    metric: 'gpu_memory_used_bytes',
    truth: ['sim_gpu_memory_used_bytes', 'sim_gpu_memory_reserved_bytes'],
    error: { instinct: 0 },
  },
  // The memory of a processor's graphics is that of the host; what the firmware sets apart for it is the driver's.
  {
    metric: 'gpu_memory_used_bytes',
    truth: ['sim_gpu_memory_reserved_bytes'],
    error: { apu: 0 },
  },
  {
    metric: 'gpu_memory_gtt_used_bytes',
    truth: ['sim_gpu_memory_used_bytes'],
    error: { apu: 0 },
  },
  {
    metric: 'gpu_power_watts',
    truth: ['sim_gpu_power_watts'],
    error: { 'nvidia-smi': HUNDREDTH_OF_WATT, nvml: 0.0005, instinct: 5e-7, apu: 5e-7 },
  },
  {
    metric: 'gpu_power_limit_watts',
    labels: { kind: 'enforced' },
    truth: ['sim_gpu_power_limit_watts'],
    error: { 'nvidia-smi': HUNDREDTH_OF_WATT, nvml: 0.0005, instinct: 5e-7 },
  },
  {
    metric: 'gpu_energy_joules_total',
    truth: ['sim_gpu_energy_joules_total'],
    error: { nvml: 0.0005, instinct: 2 ** -17 },
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: { sensor: 'core' },
    truth: ['sim_gpu_temperature_celsius'],
    truthLabels: { sensor: 'core' },
    error: { 'nvidia-smi': DEGREE, nvml: DEGREE, apu: DEGREE },
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: { sensor: 'junction' },
    truth: ['sim_gpu_temperature_celsius'],
    truthLabels: { sensor: 'core' },
    error: { instinct: DEGREE },
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: { sensor: 'memory' },
    truth: ['sim_gpu_temperature_celsius'],
    truthLabels: { sensor: 'memory' },
    error: { 'nvidia-smi': DEGREE, nvml: DEGREE, instinct: DEGREE },
  },
  {
    metric: 'gpu_clock_hertz',
    labels: { domain: 'sm' },
    truth: ['sim_gpu_clock_hertz'],
    truthLabels: { domain: 'sm' },
    error: { 'nvidia-smi': MEGAHERTZ, nvml: MEGAHERTZ },
  },
  {
    metric: 'gpu_clock_hertz',
    labels: { domain: 'graphics' },
    truth: ['sim_gpu_clock_hertz'],
    truthLabels: { domain: 'sm' },
    error: { 'nvidia-smi': MEGAHERTZ, nvml: MEGAHERTZ, instinct: 0.5, apu: 0.5 },
  },
  {
    metric: 'gpu_clock_hertz',
    labels: { domain: 'memory' },
    truth: ['sim_gpu_clock_hertz'],
    truthLabels: { domain: 'memory' },
    error: { 'nvidia-smi': MEGAHERTZ, nvml: MEGAHERTZ, instinct: 0.5 },
  },
  {
    metric: 'gpu_clock_event_seconds_total',
    labels: { reason: 'sw_power_cap' },
    truth: ['sim_gpu_clock_event_seconds_total'],
    truthLabels: { reason: 'sw_power_cap' },
    error: { 'nvidia-smi': MICROSECOND, nvml: MICROSECOND },
  },
  {
    metric: 'gpu_clock_event_seconds_total',
    labels: { reason: 'sw_thermal' },
    truth: ['sim_gpu_clock_event_seconds_total'],
    truthLabels: { reason: 'sw_thermal_slowdown' },
    error: { 'nvidia-smi': MICROSECOND, nvml: MICROSECOND },
  },
  {
    metric: 'gpu_clock_event_seconds_total',
    labels: { reason: 'hw_thermal' },
    truth: ['sim_gpu_clock_event_seconds_total'],
    truthLabels: { reason: 'hw_thermal_slowdown' },
    error: { 'nvidia-smi': MICROSECOND, nvml: MICROSECOND },
  },
  {
    metric: 'gpu_clock_event_seconds_total',
    labels: { reason: 'hw_power_brake' },
    truth: ['sim_gpu_clock_event_seconds_total'],
    truthLabels: { reason: 'hw_power_brake' },
    error: { 'nvidia-smi': MICROSECOND, nvml: MICROSECOND },
  },
  {
    metric: 'gpu_fan_speed_ratio',
    labels: { fan: '0' },
    truth: ['sim_gpu_fan_speed_ratio'],
    error: { 'nvidia-smi': PERCENT, nvml: PERCENT },
  },
  {
    metric: 'gpu_ecc_errors_total',
    labels: { location: 'dram', lifetime: 'volatile' },
    truth: ['sim_gpu_ecc_errors_total'],
    by: 'type',
    error: { 'nvidia-smi': 0, nvml: 0 },
  },
  {
    metric: 'gpu_ecc_errors_total',
    labels: { location: 'umc', lifetime: 'volatile' },
    truth: ['sim_gpu_ecc_errors_total'],
    by: 'type',
    error: { instinct: 0 },
  },
  {
    metric: 'gpu_process_memory_bytes',
    truth: ['sim_gpu_process_memory_bytes'],
    by: 'pid',
    error: { 'nvidia-smi': MEBIBYTE / 2, nvml: 0, instinct: 512, apu: 512 },
  },
  {
    metric: 'gpu_process_sm_utilization_ratio',
    truth: ['sim_gpu_process_sm_utilization_ratio'],
    by: 'pid',
    error: { nvml: PERCENT },
  },
];

/** Among them two engines of one GPU, and a GPU with nothing to do. */
const NVIDIA = `
seed: nvidia
host:
  name: nvidia
  gpus:
    - { board: h100-sxm, count: 3, ambient: 26 }
    - { board: rtx-4090, count: 2, ambient: 24 }
    - { board: a100-sxm-80gb }
  driver: { nvidia: 580.105.08, cuda: "13.0" }
engines:
  - { name: wide, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0, 1] }
  - { name: editor, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [3], settings: { context_tokens: 16384, max_sequences: 2 } }
  - { name: desk, kind: ollama, port: 0, models: ["llama3.2:3b", qwen2.5:0.5b], gpus: [3], settings: { context_tokens: 8192 } }
  - { name: braked, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [4], settings: { context_tokens: 16384, max_sequences: 4 } }
  - { name: old, kind: tgi, port: 0, model: mistralai/Mistral-7B-Instruct-v0.3, gpus: [5] }
traffic:
  - { engine: wide, arrivals: { poisson: { rate: 4 } }, prompt: chat, output: chat, max_tokens: 256 }
  - { engine: editor, arrivals: { poisson: { rate: 0.3 } }, prompt: { shape: chat, max: 6000 }, output: chat, max_tokens: 256 }
  - { name: desk, engine: desk, model: "llama3.2:3b", arrivals: { poisson: { rate: 1 } }, prompt: { shape: chat, max: 6000 }, output: chat, max_tokens: 256 }
  - { name: desk-small, engine: desk, model: qwen2.5:0.5b, arrivals: { poisson: { rate: 1 } }, prompt: { shape: chat, max: 6000 }, output: chat, max_tokens: 256 }
  - { engine: braked, arrivals: { poisson: { rate: 2 } }, prompt: { shape: chat, max: 6000 }, output: chat, max_tokens: 256 }
  - { engine: old, arrivals: { poisson: { rate: 2 } }, prompt: chat, output: chat, max_tokens: 256 }
`;

/** Something to tell of, beside load. */
const NVIDIA_TROUBLES = [
  { incident: 'thermal_throttle', target: '0', parameters: {} },
  { incident: 'ecc', target: '1', parameters: { errors_per_second: 5 } },
  { incident: 'power_brake', target: '4' },
];
const AMD_TROUBLES = [{ incident: 'ecc', target: '0', parameters: { errors_per_second: 5 } }];

/** @type {Record<'nvidia' | 'amd', MockedHost>} */
let hosts;
/** @type {Record<'nvidia-smi' | 'nvml' | 'amdgpu', RunningApp | undefined>} */
let exporters;

before(async () => {
  const fast = { MOCK_EXPORTER_SPEED: '40', MOCK_EXPORTER_WARM_UP: '3m' };
  const [nvidia, amd] = await Promise.all([
    startMockedHost(NVIDIA, fast),
    startMockedHost(await builtInScenario('amd'), fast),
  ]);
  hosts = { nvidia, amd };
  const [smi, nvml, amdgpu] = await Promise.all([
    startGpuExporter(nvidia, 'nvidia-smi'),
    noNvml === false ? startGpuExporter(nvidia, 'nvml') : undefined,
    startGpuExporter(amd, 'amdgpu'),
  ]);
  exporters = { 'nvidia-smi': smi, nvml, amdgpu };
  await Promise.all([
    ...NVIDIA_TROUBLES.map((trouble) => nvidia.post('/api/incidents', trouble)),
    ...AMD_TROUBLES.map((trouble) => amd.post('/api/incidents', trouble)),
  ]);
  await until('GPUs that are read, and in trouble', async () => {
    const [told, truth, amdTruth] = await Promise.all([smi, nvidia, amd].map(scrape));
    return (
      (told?.sum('gpu_up') ?? 0) === 6 &&
      (truth?.sum('sim_gpu_clock_event_seconds_total', { gpu: '0', reason: 'sw_thermal_slowdown' }) ?? 0) >
        0 &&
      (truth?.sum('sim_gpu_clock_event_seconds_total', { gpu: '4', reason: 'hw_power_brake' }) ?? 0) > 0 &&
      (truth?.sum('sim_gpu_ecc_errors_total', { gpu: '1', type: 'corrected' }) ?? 0) > 0 &&
      (amdTruth?.sum('sim_gpu_ecc_errors_total', { gpu: '0', type: 'corrected' }) ?? 0) > 0
    );
  });
  await Promise.all([nvidia, amd].map((host) => host.post('/api/speed', { speed: 0 })));
});
after(stopAll);

/** @type {readonly { surface: Surface, host: 'nvidia' | 'amd', exporter: 'nvidia-smi' | 'nvml' | 'amdgpu', gpus: readonly string[] }[]} */
const SURFACES = [
  { surface: 'nvidia-smi', host: 'nvidia', exporter: 'nvidia-smi', gpus: ['0', '1', '2', '3', '4', '5'] },
  { surface: 'nvml', host: 'nvidia', exporter: 'nvml', gpus: ['0', '1', '2', '3', '4', '5'] },
  { surface: 'instinct', host: 'amd', exporter: 'amdgpu', gpus: ['0', '1'] },
  { surface: 'apu', host: 'amd', exporter: 'amdgpu', gpus: ['2'] },
];

describe('the gpu-exporter', () => {
  for (const { surface, host, exporter, gpus } of SURFACES) {
    it(`tells by ${surface} what is true`, { skip: surface === 'nvml' && noNvml }, async () => {
      const truth = await scrape(hosts[host]);
      assert.deepEqual(
        [...new Set(truth.all('sim_gpu_up').map(({ labels }) => labels['gpu']))].filter(
          (gpu) =>
            gpu !== undefined && !SURFACES.some((each) => each.host === host && each.gpus.includes(gpu)),
        ),
        [],
        'each GPU is compared',
      );
      await untilNone(`what ${surface} tells and is not true`, async () =>
        falseIn(await scrape(running(exporter)), truth, surface, gpus),
      );
    });
  }

  it('is compared with all that is known of a GPU', async () => {
    const truths = (await Promise.all(Object.values(hosts).map(scrape))).flatMap(({ samples }) => samples);
    const known = new Set(truths.map(({ name }) => name).filter((name) => name.startsWith('sim_gpu_')));
    assert.deepEqual([...known].sort(), [...new Set(ROWS.flatMap(({ truth }) => truth))].sort());
  });

  for (const { host, exporter } of SURFACES.filter(({ surface }) => surface !== 'apu')) {
    it(
      `knows by ${exporter} whose process is on a GPU`,
      { skip: exporter === 'nvml' && noNvml },
      async () => {
        const { engines } = hosts[host];
        const expected = OWNERS[host].map(({ name, ...owner }) => ({
          ...owner,
          port: portOf(engines.find((engine) => engine.name === name)),
        }));
        /** @type {readonly object[]} */
        let found = [];
        await until(
          'all processes with their engines',
          async () => {
            found = ownersIn(await scrape(running(exporter)));
            return isDeepStrictEqual(found, expected);
          },
          { describe: () => JSON.stringify(found, undefined, 1) },
        );
      },
    );
  }

  it('tells by nvidia-smi and by nvml the same', { skip: noNvml }, async () => {
    const smi = running('nvidia-smi');
    const nvml = running('nvml');
    await untilNone('differences', async () => {
      const [one, other] = await Promise.all([scrape(smi), scrape(nvml)]);
      return differences(one, other);
    });
    const [one, other] = await Promise.all([scrape(smi), scrape(nvml)]);
    assert.deepEqual(onlyIn(one, other), []);
    assert.deepEqual(onlyIn(other, one), ONLY_NVML);
  });

  it('was asked while the world stood still', async () => {
    const first = (await scrape(hosts.nvidia)).sum('sim_time_seconds');
    await pause(50);
    assert.equal((await scrape(hosts.nvidia)).sum('sim_time_seconds'), first);
  });
});

/**
 * What listens is not always what computes: Ollama's runners and TGI's server are processes apart, and those that have
 * the ports of these engines are on no GPU and so not among the processes of the mock.
 */
/** @type {Record<'nvidia' | 'amd', readonly { gpu: string, engine: string, model: string, name: string | undefined }[]>} */
const OWNERS = {
  nvidia: [
    { gpu: '0', engine: 'vllm', model: 'meta-llama/Llama-3.1-8B-Instruct', name: 'wide' },
    { gpu: '1', engine: 'vllm', model: 'meta-llama/Llama-3.1-8B-Instruct', name: 'wide' },
    { gpu: '3', engine: 'llamacpp', model: 'llama3.1:8b', name: 'editor' },
    { gpu: '4', engine: 'llamacpp', model: 'llama3.1:8b', name: 'braked' },
    { gpu: '5', engine: 'tgi', model: 'mistralai/Mistral-7B-Instruct-v0.3', name: undefined },
  ],
  amd: [
    { gpu: '0', engine: 'vllm', model: 'meta-llama/Llama-3.3-70B-Instruct', name: 'chat' },
    { gpu: '1', engine: 'sglang', model: 'mistralai/Mixtral-8x7B-Instruct-v0.1', name: 'experts' },
    { gpu: '2', engine: 'llamacpp', model: 'llama3.1:8b', name: 'editor' },
  ],
};

/** @param {{ url: string } | undefined} engine */
function portOf(engine) {
  return engine === undefined ? 'unknown' : new URL(engine.url).port;
}

/** By GPU. @param {Exposition} exposition */
function ownersIn(exposition) {
  return exposition
    .all('gpu_process_info')
    .filter(({ labels }) => labels['engine'] !== 'ollama')
    .map(({ labels: { gpu, engine, model, port } }) => ({ gpu, engine, model, port }))
    .sort((one, other) => Number(one.gpu) - Number(other.gpu));
}

/** What nvidia-smi does not print: the energy meter, NVLink, the second fan of a board, and its turns. */
const ONLY_NVML = [
  'gpu_energy_joules_total',
  'gpu_fan_speed_rpm',
  'gpu_nvlink_errors_total',
  'gpu_nvlink_receive_bytes_total',
  'gpu_nvlink_transmit_bytes_total',
  'gpu_nvlink_up',
  'gpu_process_sm_utilization_ratio',
];

/**
 * Not of this instant: statistics since the last scrape, the integral that stands in for a meter, and a measurement that
 * NVML makes of each GPU every 15 s.
 */
const NOT_OF_NOW = [
  'gpu_utilization_window_ratio',
  'gpu_power_window_watts',
  'gpu_energy_integrated_joules_total',
  'gpu_pcie_throughput_bytes_per_second',
];

/** What nvidia-smi rounds and NVML does not; all else is the same to the last digit. */
/** @type {readonly (readonly [RegExp, number])[]} */
const ROUNDED = [
  [/^gpu_(memory_.*|bar1_.*|process_memory)_bytes$/, MEBIBYTE / 2],
  [/^gpu_power_.*watts$/, 0.005],
  [/^gpu_clock_event_seconds_total$/, MICROSECOND],
];

/** @param {'nvidia-smi' | 'nvml' | 'amdgpu'} name @returns {RunningApp} */
function running(name) {
  const exporter = exporters[name];
  assert.ok(exporter);
  return exporter;
}

/** Waits until there is nothing of it any more. @param {string} what @param {() => Promise<string[]>} look */
async function untilNone(what, look) {
  /** @type {string[]} */
  let found = [];
  const describe = () => found.join('\n');
  await until(
    `no ${what}`,
    async () => {
      found = await look();
      if (found.length > 0) await pause(200);
      return found.length === 0;
    },
    { describe },
  );
}

/**
 * @param {Exposition} told @param {Exposition} truth @param {Surface} surface @param {readonly string[]} gpus
 * @returns {string[]} in words
 */
function falseIn(told, truth, surface, gpus) {
  return gpus.flatMap((gpu) => {
    const uuid = truth.all('sim_gpu_up', { gpu })[0]?.labels['uuid'] ?? '';
    const rows = ROWS.filter(({ error }) => error[surface] !== undefined);
    const untold = new Set(
      ROWS.map(({ metric }) => metric).filter((name) => !rows.some((row) => row.metric === name)),
    );
    return [
      ...rows.flatMap((row) => falseInRow(row, told, truth, surface, uuid)),
      ...[...untold].flatMap((metric) => told.all(metric, { uuid }).map(() => `${metric} of ${gpu} is told`)),
    ];
  });
}

/**
 * @param {Row} row @param {Exposition} told @param {Exposition} truth @param {Surface} surface @param {string} uuid
 * @returns {string[]}
 */
function falseInRow({ metric, labels, truth: names, truthLabels, by, error }, told, truth, surface, uuid) {
  const found = valuesBy(told.all(metric, { uuid, ...labels }), by);
  const expected = valuesBy(
    names.flatMap((name) => truth.all(name, { uuid, ...truthLabels })),
    by,
  );
  const keys = new Set([...found.keys(), ...expected.keys()]);
  return [...keys].flatMap((key) => {
    const [is, shouldBe] = [found.get(key), expected.get(key)];
    // A sum of floating point numbers is not exact to the last bit.
    const allowed = (error[surface] ?? 0) + Math.abs(shouldBe ?? 0) * 1e-12;
    const isTrue = is !== undefined && shouldBe !== undefined && Math.abs(is - shouldBe) <= allowed;
    return isTrue
      ? []
      : [`${metric} ${JSON.stringify({ uuid, ...labels })} ${key}: ${is}, in truth ${shouldBe}`];
  });
}

/** Sums by the value of a label. @param {readonly Sample[]} samples @param {string | undefined} label */
function valuesBy(samples, label) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const { labels, value } of samples) {
    const key = label === undefined ? '' : (labels[label] ?? '');
    sums.set(key, (sums.get(key) ?? 0) + value);
  }
  return sums;
}

/** Series of both that differ. @param {Exposition} smi @param {Exposition} nvml @returns {string[]} */
function differences(smi, nvml) {
  const theirs = new Map(gpuSeries(nvml).map((sample) => [seriesOf(sample), sample.value]));
  return gpuSeries(smi).flatMap((sample) => {
    const series = seriesOf(sample);
    const other = theirs.get(series);
    const error = ROUNDED.find(([name]) => name.test(sample.name))?.[1] ?? 0;
    if (other === undefined || Math.abs(sample.value - other) <= error + Math.abs(other) * 1e-12) return [];
    return [`${series}: ${sample.value} by nvidia-smi, ${other} by nvml`];
  });
}

/** Metrics that the second one has not. @param {Exposition} one @param {Exposition} other @returns {string[]} */
function onlyIn(one, other) {
  const theirs = new Set(other.samples.map(({ name }) => name));
  const names = gpuSeries(one).map(({ name }) => name);
  return [...new Set(names)].filter((name) => !theirs.has(name)).sort();
}

/** @param {Exposition} exposition @returns {Sample[]} */
function gpuSeries({ samples }) {
  return samples.filter(({ name }) => /^gpu_(?!exporter_)/.test(name) && !NOT_OF_NOW.includes(name));
}

/** @param {Sample} sample */
function seriesOf({ name, labels }) {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${pairs.sort().join()}}`;
}
