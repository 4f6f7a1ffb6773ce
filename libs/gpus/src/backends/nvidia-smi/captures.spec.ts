import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { gpuMetrics, RANGES, type GpuMetric, type GpuMetricName } from '../../gpu-metrics.ts';
import type { GpuReading } from '../../reading.ts';
import { readSmi } from './test-smi-lines.ts';

const folder = 'nvidia-smi';
const captures = captureFiles(folder).filter((file) => file.endsWith('.xml'));

function readCapture(file: string) {
  return readSmi(readFileSync(path.join(capturesDirectory() ?? '', folder, file), 'utf8'));
}

type Labels = Readonly<Record<string, string>>;

/** Values as they stand in the file, of the GPU at that place; undefined where there must be no figure. */
const SPOT_VALUES: readonly (readonly [
  file: string,
  gpu: number,
  metric: GpuMetricName,
  labels: Labels,
  value: number | undefined,
])[] = [
  // <power_draw>17.97 W</power_draw>, <clocks_throttle_reason_unknown>Not Active
  ['grid-k520_352_v7.xml', 0, 'gpu_power_watts', {}, 17.97],
  ['grid-k520_352_v7.xml', 0, 'gpu_power_limit_watts', { kind: 'min' }, 85],
  ['grid-k520_352_v7.xml', 0, 'gpu_clock_event_active', { reason: 'other' }, 0],
  ['grid-k520_352_v7.xml', 0, 'gpu_memory_used_bytes', {}, 11 * 1024 ** 2],
  // <sw_power_cap>Active, <current_link_width>8x, 12 %
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_clock_event_active', { reason: 'sw_power_cap' }, 1],
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_clock_event_active', { reason: 'gpu_idle' }, 0],
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_pcie_link_width', {}, 8],
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_pcie_link_width_max', {}, 16],
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_pcie_link_generation', {}, 2],
  ['gtx-1080-ti_390_v9.xml', 0, 'gpu_fan_speed_ratio', { fan: '0' }, 0.12],
  ['gtx-1070_6x_384_v9.xml', 5, 'gpu_fan_speed_ratio', { fan: '0' }, 0.4],
  ['gtx-1070_6x_384_v9.xml', 3, 'gpu_power_watts', {}, 141.53],
  ['rtx-2080-ti_2x_410_v10_ecc-na.xml', 0, 'gpu_power_watts', {}, 2.12],
  ['rtx-2080-ti_2x_410_v10_ecc-na.xml', 0, 'gpu_ecc_enabled', {}, undefined],
  ['gtx-1050-ti_418_v10.xml', 0, 'gpu_power_watts', {}, undefined],
  ['gtx-1050-ti_418_v10.xml', 0, 'gpu_processes', { type: 'compute' }, 1],
  // <clocks_throttle_reasons>N/A</clocks_throttle_reasons>, <power_draw>N/A
  ['gt-730_440_v10.xml', 0, 'gpu_temperature_celsius', { sensor: 'core' }, 44],
  ['gt-730_440_v10.xml', 0, 'gpu_clock_event_active', { reason: 'gpu_idle' }, undefined],
  ['gt-730_440_v10.xml', 0, 'gpu_utilization_ratio', {}, undefined],
  ['gtx-1080_2x_460_v11.xml', 1, 'gpu_clock_hertz', { domain: 'sm' }, 1657e6],
  ['gtx-1080_2x_460_v11.xml', 1, 'gpu_clock_max_hertz', { domain: 'sm' }, 1936e6],
  ['gtx-1080_2x_460_v11.xml', 0, 'gpu_processes', { type: 'graphics' }, 1],
  ['v100-pcie-32gb_460_v11.xml', 0, 'gpu_utilization_ratio', {}, 0.91],
  ['v100-pcie-32gb_460_v11.xml', 0, 'gpu_temperature_celsius', { sensor: 'memory' }, 65],
  ['v100-pcie-32gb_460_v11.xml', 0, 'gpu_temperature_threshold_celsius', { kind: 'memory_max' }, 85],
  ['v100-pcie-32gb_460_v11.xml', 0, 'gpu_retired_pages', { cause: 'double_bit' }, 0],
  [
    'tesla-p100_510_v11.xml',
    0,
    'gpu_ecc_errors_total',
    { type: 'corrected', location: 'dram', lifetime: 'aggregate' },
    3,
  ],
  ['tesla-t4_515_v11.xml', 0, 'gpu_memory_reserved_bytes', {}, 388 * 1024 ** 2],
  ['tesla-t4_515_v11.xml', 0, 'gpu_power_limit_watts', { kind: 'enforced' }, 70],
  ['rtx-3060-laptop_515_v11.xml', 0, 'gpu_power_watts', {}, 8.7],
  ['rtx-3060-laptop_515_v11.xml', 0, 'gpu_power_limit_watts', { kind: 'enforced' }, undefined],
  ['rtx-3060-laptop_515_v11.xml', 0, 'gpu_fan_speed_ratio', { fan: '0' }, undefined],
  ['quadro-p2000_525_v12.xml', 0, 'gpu_power_watts', {}, 4.61],
  ['quadro-p2000_525_v12.xml', 0, 'gpu_clock_event_active', { reason: 'gpu_idle' }, 1],
  // The offsets from the limit are no thresholds; the module's <power_draw>N/A is not the GPU's.
  ['rtx-4090_535_v12.xml', 0, 'gpu_temperature_headroom_celsius', {}, 43],
  ['rtx-4090_535_v12.xml', 0, 'gpu_temperature_threshold_celsius', { kind: 'shutdown' }, undefined],
  ['rtx-4090_535_v12.xml', 0, 'gpu_power_watts', {}, 26.84],
  ['rtx-4090_535_v12.xml', 0, 'gpu_power_limit_watts', { kind: 'min' }, 10],
  ['rtx-4090_535_v12.xml', 0, 'gpu_ecc_enabled', {}, 0],
  ['rtx-4090_535_v12.xml', 0, 'gpu_recovery_action', {}, 0],
  ['a100-sxm4-80gb_mig4_535_v12.xml', 0, 'gpu_utilization_ratio', {}, undefined],
  ['a100-sxm4-80gb_mig4_535_v12.xml', 0, 'gpu_power_watts', {}, 67.03],
  ['a100-sxm4-80gb_mig4_535_v12.xml', 0, 'gpu_mig_enabled', {}, 1],
  [
    'a100-sxm4-80gb_mig4_535_v12.xml',
    0,
    'gpu_mig_memory_used_bytes',
    { gpu_instance_id: '6', compute_instance_id: '0' },
    12 * 1024 ** 2,
  ],
  [
    'a100-sxm4-80gb_mig4_535_v12.xml',
    0,
    'gpu_pcie_throughput_bytes_per_second',
    { direction: 'transmit' },
    4e6,
  ],
  ['a100-sxm4-40gb_570_v12.xml', 0, 'gpu_power_watts', {}, 49.68],
  ['a100-sxm4-40gb_570_v12.xml', 0, 'gpu_power_average_watts', {}, undefined],
  ['rtx-3060_570_v12.xml', 0, 'gpu_power_watts', {}, 11.63],
  ['rtx-3060_570_v12.xml', 0, 'gpu_power_average_watts', {}, 11.6],
  [
    'h100-sxm-80gb_8x_580_v13.xml',
    0,
    'gpu_clock_event_seconds_total',
    { reason: 'sw_power_cap' },
    7015.662857,
  ],
  ['h100-sxm-80gb_8x_580_v13.xml', 0, 'gpu_pcie_replay_total', {}, 150],
  ['h100-sxm-80gb_8x_580_v13.xml', 0, 'gpu_temperature_headroom_celsius', {}, 58],
  ['h100-sxm-80gb_8x_580_v13.xml', 0, 'gpu_fabric_state', {}, 3],
  ['b200_8x_580_v13.xml', 1, 'gpu_power_watts', {}, 205.94],
  ['b200_8x_580_v13.xml', 1, 'gpu_temperature_headroom_celsius', {}, 35],
  ['gb200_4x_580_v13.xml', 0, 'gpu_module_power_watts', {}, 467.68],
  ['gb200_4x_580_v13.xml', 1, 'gpu_clock_event_seconds_total', { reason: 'sw_thermal' }, 3.360324],
  ['gb200_4x_580_v13.xml', 0, 'gpu_fabric_healthy', {}, 1],
  [
    'gb200_2x_mocknvml_ecc_580_v13.xml',
    0,
    'gpu_ecc_errors_total',
    { type: 'uncorrected', location: 'dram', lifetime: 'aggregate' },
    8,
  ],
  [
    'gb200_2x_mocknvml_ecc_580_v13.xml',
    0,
    'gpu_ecc_errors_total',
    { type: 'uncorrected', location: 'sram', lifetime: 'volatile' },
    undefined,
  ],
  ['gb200_2x_mocknvml_ecc_580_v13.xml', 0, 'gpu_remapped_rows_failure', {}, 1],
  ['gb200_2x_mocknvml_ecc_580_v13.xml', 1, 'gpu_remapped_rows_failure', {}, 0],
  [
    'gb200_2x_mocknvml_throttle_580_v13.xml',
    0,
    'gpu_clock_event_seconds_total',
    { reason: 'sw_power_cap' },
    0.039595,
  ],
  ['rtx-3080_595_v13.xml', 0, 'gpu_power_watts', {}, 142.33],
  ['rtx-3080_595_v13.xml', 0, 'gpu_memory_used_bytes', {}, 9184 * 1024 ** 2],
  ['rtx-3080_595_v13.xml', 0, 'gpu_clock_hertz', { domain: 'memory' }, 9251e6],
  ['l40s_595_v13.xml', 0, 'gpu_temperature_headroom_celsius', {}, 59],
];

const FACTS: readonly (readonly [file: string, gpu: number, facts: Partial<GpuReading['facts']>])[] = [
  ['graphics-device_418_nodtd.xml', 0, { name: 'Graphics Device', driverVersion: '418.43' }],
  ['gtx-1050_515_noprolog.xml', 0, { pciBusId: '0000:01:00.0', architecture: 'Pascal' }],
  ['b200_8x_580_v13.xml', 0, { pciBusId: '0000:8f:00.0', name: 'NVIDIA B200', cudaVersion: '13.0' }],
  ['grid-k520_352_v7.xml', 0, { serial: '0321014026924', vbiosVersion: '80.04.D4.00.03' }],
];

const PROCESSES: readonly (readonly [file: string, gpu: number, processes: readonly unknown[]])[] = [
  [
    'tesla-t4_515_v11.xml',
    0,
    [
      { pid: 675, memoryBytes: 22 * 1024 ** 2 },
      { pid: 5762, memoryBytes: 1005 * 1024 ** 2 },
    ],
  ],
  [
    'gtx-1080_2x_460_v11.xml',
    1,
    [
      { pid: 450, type: 'graphics', memoryBytes: 5 * 1024 ** 2 },
      { pid: 8991, type: 'compute', memoryBytes: 2883 * 1024 ** 2 },
    ],
  ],
  ['rtx-3080_595_v13.xml', 0, []],
];

if (captures.length === 0) {
  it.skip(`reads real outputs of nvidia-smi (${capturesReason})`, () => undefined);
} else {
  describe('real outputs of nvidia-smi', () => {
    it.each(captures)('%s gives what it has, and nothing that cannot be', (file) => {
      const { gpus, unparsed } = readCapture(file);
      expect(gpus.length).toBeGreaterThan(0);
      expect(unparsed).toEqual([]);
      for (const { condition, points, uuid } of gpus) {
        expect(condition).toBe('up');
        expect(uuid).toMatch(/^GPU-/);
        for (const { metric, value } of points) {
          const { range }: GpuMetric = gpuMetrics[metric];
          expect(value).toBeGreaterThanOrEqual(RANGES[range][0]);
          expect(value).toBeLessThanOrEqual(RANGES[range][1]);
        }
        const series = points.map(({ metric, labels }) => `${metric} ${JSON.stringify(labels)}`);
        expect(new Set(series).size).toBe(series.length);
      }
      expect(new Set(gpus.map(({ uuid }) => uuid)).size).toBe(gpus.length);
    });

    it.each(captures)('%s has the labels that its metrics declare', (file) => {
      for (const { metric, labels } of readCapture(file).gpus.flatMap(({ points }) => points)) {
        expect([metric, ...Object.keys(labels ?? {})]).toEqual([metric, ...gpuMetrics[metric].labels]);
      }
    });

    it.each(SPOT_VALUES)('%s, GPU %i: %s %j is %s', (file, index, metric, labels, value) => {
      const found = readCapture(file)
        .gpus[index]?.points.filter((point) => point.metric === metric)
        .find((point) => JSON.stringify(point.labels ?? {}) === JSON.stringify(labels));
      expect(found?.value).toBe(value);
    });

    it.each(FACTS)('%s, GPU %i is %j', (file, index, facts) => {
      expect(readCapture(file).gpus[index]?.facts).toMatchObject(facts);
    });

    it.each(PROCESSES)('%s, GPU %i has its processes', (file, index, processes) => {
      expect(readCapture(file).gpus[index]?.processes).toMatchObject(processes);
    });
  });
}
