import path from 'node:path';

import {
  gb10,
  gt730,
  h100,
  h100Host,
  h100Mig,
  hostOf,
  installFakeSmi,
  rtx4090,
  SMI_LAYOUTS,
  type FakeBoard,
  type FakeHost,
  type SmiLayout,
} from '@llm-monitor/fake-nvml';

import { createNvidiaSmiBackend } from './backends/nvidia-smi/nvidia-smi-backend.ts';
import { driverTests, read, type FakeDriver } from './backends/nvml/test-nvml.ts';
import type { GpuPoint, GpuProcess, GpuReading } from './reading.ts';
import { KnownGpus } from './watch/known-gpus.ts';

const withDriver = driverTests({ describe, it, afterAll });

/** Metrics, or single series, by the nvidia-smi that prints them first. */
interface OnlyNvml {
  readonly never: readonly string[];
  readonly beforeR580?: readonly string[];
  readonly beforeR535?: readonly string[];
}

/** A host, and what of it only one of the two backends has. It is exact: one line too many or too few is a failure. */
interface Host {
  readonly name: string;
  readonly boards: readonly FakeBoard[];
  /** What it is read as first. */
  readonly before?: readonly FakeBoard[];
  readonly onlyNvml: OnlyNvml;
  readonly onlySmi?: readonly string[];
}

const NVLINK = [
  'gpu_nvlink_errors_total',
  'gpu_nvlink_receive_bytes_total',
  'gpu_nvlink_transmit_bytes_total',
  'gpu_nvlink_up',
];
const PCIE_COUNTERS = ['gpu_pcie_receive_bytes_total', 'gpu_pcie_transmit_bytes_total'];
const GPM = [
  'gpu_dram_active_ratio',
  'gpu_sm_active_ratio',
  'gpu_sm_occupancy_ratio',
  'gpu_tensor_active_ratio',
];
const FANS = ['gpu_fan_speed_ratio{fan="1"}', 'gpu_fan_speed_rpm'];
const OTHER = 'gpu_clock_event_active{reason="other"}';
const ENERGY = 'gpu_energy_joules_total';
/** Where NVML has the counters of PCIe it is not asked for the throughput, which takes 40 ms. */
const THROUGHPUT = ['gpu_pcie_throughput_bytes_per_second'];
const AVERAGE = 'gpu_power_average_watts';
const CLOCK_TIMES = 'gpu_clock_event_seconds_total';
const ENGINES = ['gpu_jpeg_utilization_ratio', 'gpu_ofa_utilization_ratio'];
const HEADROOM = 'gpu_temperature_headroom_celsius';
const ACTION = 'gpu_recovery_action';

const ONLY_NVML_H100: OnlyNvml = {
  never: [OTHER, ENERGY, ...GPM, ...NVLINK, ...PCIE_COUNTERS],
  beforeR580: [CLOCK_TIMES, 'gpu_fabric_healthy', AVERAGE],
  beforeR535: [...ENGINES, 'gpu_fabric_state', ACTION, HEADROOM],
};
const ONLY_NVML_MIG: OnlyNvml = {
  never: [OTHER, ENERGY, 'gpu_mig_sm_active_ratio', ...NVLINK, ...PCIE_COUNTERS],
  beforeR580: [CLOCK_TIMES, 'gpu_fabric_healthy', AVERAGE],
  beforeR535: ['gpu_fabric_state', ACTION, HEADROOM],
};
const ONLY_NVML_RTX_4090: OnlyNvml = {
  never: [OTHER, ENERGY, ...FANS],
  beforeR580: [CLOCK_TIMES, AVERAGE],
  beforeR535: [...ENGINES, ACTION, HEADROOM],
};

const HOSTS: readonly Host[] = [
  { name: 'eight H100', boards: h100Host(8).boards, onlyNvml: ONLY_NVML_H100, onlySmi: THROUGHPUT },
  { name: 'an H100 in MIG', boards: [h100Mig()], onlyNvml: ONLY_NVML_MIG, onlySmi: THROUGHPUT },
  {
    name: 'an H100 in MIG whose driver says 0 for its load',
    boards: [{ ...h100Mig(), utilization: { gpu: 0, memory: 0, encoder: 0, decoder: 0, jpeg: 0, ofa: 0 } }],
    onlyNvml: ONLY_NVML_MIG,
    onlySmi: THROUGHPUT,
  },
  { name: 'an RTX 4090', boards: [rtx4090()], onlyNvml: ONLY_NVML_RTX_4090 },
  { name: 'a GT 730', boards: [gt730()], onlyNvml: { never: [] } },
  {
    name: 'a GB10',
    boards: [gb10()],
    onlyNvml: { never: [OTHER], beforeR580: [AVERAGE], beforeR535: ENGINES },
  },
  {
    name: 'one in MIG beside one that is not',
    boards: [h100Mig(0), rtx4090(1)],
    onlyNvml: {
      never: [...new Set([...ONLY_NVML_MIG.never, ...ONLY_NVML_RTX_4090.never])],
      beforeR580: ONLY_NVML_MIG.beforeR580 ?? [],
      beforeR535: [...ENGINES, ...(ONLY_NVML_MIG.beforeR535 ?? [])],
    },
    onlySmi: THROUGHPUT,
  },
  {
    name: 'two whose minor numbers are not in the order of their addresses',
    boards: [
      { ...rtx4090(0), minorNumber: 1 },
      { ...rtx4090(1), minorNumber: 0 },
    ],
    onlyNvml: ONLY_NVML_RTX_4090,
  },
  {
    name: 'one lost among three',
    before: [0, 1, 2].map(rtx4090),
    boards: [rtx4090(0), { ...rtx4090(1), lost: true }, rtx4090(2)],
    onlyNvml: ONLY_NVML_RTX_4090,
  },
  {
    name: 'one that requires a reset',
    before: [rtx4090(0), rtx4090(1)],
    boards: [{ ...rtx4090(0), resetRequired: true }, rtx4090(1)],
    onlyNvml: ONLY_NVML_RTX_4090,
  },
  {
    name: 'ECC errors and replaced rows of an H100',
    boards: [
      {
        ...h100(),
        ecc: {
          enabled: true,
          corrected: { volatile: { dram: 12, sram: 3 }, aggregate: { dram: '3000000000', sram: 9 } },
          uncorrected: { volatile: { dram: 1, sram: 2 }, aggregate: { dram: 4, sram: 5 } },
        },
        remappedRows: { corrected: 2, uncorrected: 7, pending: true, failure: true },
        recoveryAction: 1,
      },
    ],
    onlyNvml: ONLY_NVML_H100,
    onlySmi: THROUGHPUT,
  },
  {
    name: 'ECC errors and retired pages of a V100',
    boards: [v100()],
    onlyNvml: { never: [ENERGY], beforeR580: [AVERAGE] },
  },
  {
    name: 'an ECC that is off',
    boards: [{ ...v100(), ecc: { enabled: false } }],
    onlyNvml: { never: [ENERGY], beforeR580: [AVERAGE] },
  },
  {
    name: 'throttling for every reason at once, one of them new',
    boards: [
      {
        ...rtx4090(),
        clockEventReasons: 0x7ff,
        clockEventCounters: {
          swPowerCap: 7_015_662_857_499,
          syncBoost: 1,
          swThermal: 1_500_000_999,
          hwThermal: 2_000_000_000,
          hwPowerBrake: 3_000_000_000,
        },
      },
    ],
    onlyNvml: ONLY_NVML_RTX_4090,
  },
  {
    name: 'figures that nvidia-smi rounds, and a process whose memory nobody tells',
    boards: [
      {
        ...rtx4090(),
        memory: { totalBytes: 25_757_220_864, reservedBytes: 361_759_744, usedBytes: 18_874_368_123 },
        power: {
          ...rtx4090().power,
          usageMilliwatts: 210_557,
          averageMilliwatts: 210_557,
          instantMilliwatts: 214_904,
        },
        processes: [
          { pid: 7, type: 'compute', name: '/bin/ollama', memoryBytes: 1_234_567_890 },
          { pid: 8, type: 'compute+graphics', name: '/bin/game' },
        ],
      },
    ],
    onlyNvml: ONLY_NVML_RTX_4090,
  },
  {
    name: 'a module (GH200)',
    boards: [
      {
        ...h100(),
        power: { ...h100().power, moduleAverageMilliwatts: 901_000, moduleInstantMilliwatts: 905_500 },
      },
    ],
    onlyNvml: {
      ...ONLY_NVML_H100,
      beforeR580: [...(ONLY_NVML_H100.beforeR580 ?? []), 'gpu_module_power_watts'],
    },
    onlySmi: THROUGHPUT,
  },
  {
    name: 'zeros that mean unknown',
    boards: [
      {
        ...rtx4090(),
        temperatures: { core: 40, memory: 0, thresholds: { shutdown: 0, slowdown: 0, gpuMaximum: 0 } },
        power: {
          usageMilliwatts: 0,
          averageMilliwatts: 0,
          instantMilliwatts: 0,
          enforcedLimitMilliwatts: 0,
          requestedLimitMilliwatts: 0,
          defaultLimitMilliwatts: 0,
          minimumLimitMilliwatts: 0,
          maximumLimitMilliwatts: 0,
        },
        maxClocks: { graphics: 0, sm: 0, memory: 0, video: 0 },
        memory: { totalBytes: 0, usedBytes: 0 },
        bar1: { totalBytes: 0, usedBytes: 0 },
        pcie: { generation: 0, maximumGeneration: 0, width: 0, maximumWidth: 0, replays: 0 },
      },
    ],
    onlyNvml: {
      never: [OTHER, ENERGY, ...FANS],
      beforeR580: [CLOCK_TIMES],
      beforeR535: [...ENGINES, ACTION],
    },
  },
];

/** Counts its errors by the bits and the place, and takes single pages out of use. */
function v100(): FakeBoard {
  return {
    ...gt730(),
    name: 'Tesla V100-SXM2-16GB',
    architecture: 5,
    fans: [],
    energyMillijoules: 1_000,
    power: { usageMilliwatts: 60_000, averageMilliwatts: 60_000, instantMilliwatts: 61_000 },
    ecc: {
      enabled: true,
      corrected: {
        volatile: { dram: 1, l1: 2, l2: 3, registerFile: 4, textureMemory: 5, textureShared: 6, cbu: 0 },
        aggregate: {
          dram: 11,
          l1: 12,
          l2: 13,
          registerFile: 14,
          textureMemory: 15,
          textureShared: 16,
          cbu: 0,
        },
      },
      uncorrected: {
        volatile: { dram: 7, l1: 0, l2: 0, registerFile: 0, cbu: 8 },
        aggregate: { dram: 17, l1: 0, l2: 0, registerFile: 0, cbu: 18 },
      },
    },
    retiredPages: { multipleSingleBit: 3, doubleBit: 2, pending: true },
  };
}

/** Before R510 there was no function that tells what the driver keeps for itself apart from what is used. */
function hostAt(layout: SmiLayout, boards: readonly FakeBoard[]): FakeHost {
  const host = { ...hostOf(boards), smiLayout: layout };
  return layout === 'r470' ? { ...host, refuseStructVersions: ['nvmlDeviceGetMemoryInfo_v2'] } : host;
}

/** Half of the last digit that nvidia-smi prints; all that is not here is the same to the last bit. */
const ROUNDED = [
  { metrics: /^gpu_(mig_)?(memory|bar1)_.*_bytes$/, to: 2 ** 19, as: 'MiB' },
  { metrics: /^gpu_.*_watts$/, to: 0.005 + 1e-9, as: 'W with two decimals' },
  // Cut off, not rounded.
  { metrics: /^gpu_clock_event_seconds_total$/, to: 1e-6, as: 'us' },
] as const;

function toleranceOf(metric: string): number {
  return ROUNDED.find(({ metrics }) => metrics.test(metric))?.to ?? 0;
}

/** Series to value. nvidia-smi's XML has neither the profile of a MIG device nor its UUID, and says so by no text. */
function seriesOf({ points }: GpuReading): Map<string, GpuPoint> {
  return new Map(
    points.map((point) => {
      const labels = Object.entries(point.labels ?? {}).filter(
        ([name]) => name !== 'profile' && name !== 'mig_uuid',
      );
      const pairs = labels.map(([name, value]) => `${name}="${value}"`).join();
      return [`${point.metric}${pairs === '' ? '' : `{${pairs}}`}`, point];
    }),
  );
}

/** What only the first has: the metric, where the second has none of its series. */
function onlyIn(first: readonly GpuReading[], second: readonly GpuReading[]): string[] {
  const only = first.flatMap((gpu, index) => {
    const other = second[index];
    const theirs = other === undefined ? new Map<string, GpuPoint>() : seriesOf(other);
    const metrics = new Set([...theirs.values()].map(({ metric }) => metric));
    return [...seriesOf(gpu)].flatMap(([series, { metric }]) =>
      theirs.has(series) ? [] : [metrics.has(metric) ? series : metric],
    );
  });
  return [...new Set(only)].sort();
}

function sortedLines(lines: readonly string[]): string[] {
  return [...lines].sort();
}

/** `series nvml nvidia-smi`, for each that differs by more than nvidia-smi rounds. */
function differences(layout: SmiLayout, nvml: GpuReading, smi: GpuReading): string[] {
  const theirs = seriesOf(smi);
  const ours = seriesOf(nvml);
  return [...ours].flatMap(([series, { metric, value }]) => {
    const other = theirs.get(series);
    if (other === undefined) return [];
    // Before R570 nvidia-smi has no power of this moment: its `power_draw` is the driver's average of a second.
    const same =
      series === 'gpu_power_watts' && layout !== 'r580' ? (ours.get(AVERAGE)?.value ?? value) : value;
    return Math.abs(same - other.value) <= toleranceOf(metric)
      ? []
      : [`${series} ${String(same)} ${String(other.value)}`];
  });
}

/** Name, place and numbers; NVML alone knows the compute capability, and nvidia-smi the architecture from R510 on. */
function identityOf(layout: SmiLayout, { gpu, uuid, condition, facts }: GpuReading): unknown {
  const { computeCapability: _, architecture, ...shared } = facts;
  return { gpu, uuid, condition, ...shared, ...(layout === 'r470' ? {} : { architecture }) };
}

/** Memory in MiB, as nvidia-smi rounds it; the share of the multiprocessors is NVML's alone. */
function processesOf({ processes }: GpuReading): unknown {
  return processes?.map(({ smUtilizationRatio: _, memoryBytes, ...process }: GpuProcess) => ({
    ...process,
    ...(memoryBytes === undefined ? {} : { mebibytes: Math.round(memoryBytes / 1024 ** 2) }),
  }));
}

/** Both backends' GPUs, as the parent of the gpu-reader knows them. */
async function readBoth(
  driver: FakeDriver,
  hosts: readonly FakeHost[],
): Promise<{ nvml: readonly GpuReading[]; smi: readonly GpuReading[] }> {
  const { hostFile, procRoot, clock } = driver;
  const program = installFakeSmi(path.join(procRoot, 'bin'), hostFile);
  const nvml = driver.backend();
  const smi = createNvidiaSmiBackend({ program, procRoot });
  const known = { nvml: new KnownGpus('nvml'), smi: new KnownGpus('nvidia-smi') };
  for (const host of hosts) {
    driver.host(host);
    // GPM needs two readings, and of PCIe's throughput there is one measurement in each.
    for (let times = 0; times <= host.boards.length; times++) {
      known.nvml.see((await read(nvml)).gpus, clock.seconds);
      clock.seconds += 6;
    }
    const { gpus, unparsed } = await read(smi);
    expect(unparsed).toEqual([]);
    known.smi.see(gpus, clock.seconds);
  }
  nvml.close();
  return { nvml: listed(known.nvml), smi: listed(known.smi) };
}

function listed(known: KnownGpus): readonly GpuReading[] {
  return known
    .list(0, Infinity)
    .map(({ reading }) => reading)
    .sort((a, b) => Number(a.gpu) - Number(b.gpu));
}

const CASES = HOSTS.flatMap((host) => SMI_LAYOUTS.map((layout) => ({ layout, host, name: host.name })));

withDriver('nvml and nvidia-smi', (driver) => {
  it.each(CASES)('tell the same of $name ($layout)', async ({ layout, host }) => {
    const { before, boards, onlyNvml, onlySmi = [] } = host;
    const states = before === undefined ? [boards] : [before, boards];
    const { nvml, smi } = await readBoth(
      driver,
      states.map((state) => hostAt(layout, state)),
    );

    expect(smi.map((gpu) => identityOf(layout, gpu))).toEqual(nvml.map((gpu) => identityOf(layout, gpu)));
    expect(smi.map(processesOf)).toEqual(nvml.map(processesOf));
    expect(nvml.flatMap((gpu, index) => differences(layout, gpu, smi[index] ?? gpu))).toEqual([]);
    expect(onlyIn(nvml, smi)).toEqual(
      sortedLines([
        ...onlyNvml.never,
        ...(layout === 'r580' ? [] : (onlyNvml.beforeR580 ?? [])),
        ...(layout === 'r470' ? (onlyNvml.beforeR535 ?? []) : []),
      ]),
    );
    expect(onlyIn(smi, nvml)).toEqual(sortedLines(onlySmi));
  });
});
