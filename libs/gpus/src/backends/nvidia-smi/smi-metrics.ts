import type { Labels } from '@llm-monitor/metrics-core';

import type { ClockEventReason, GpuMetricName } from '../../gpu-metrics.ts';
import {
  bytes,
  bytesPerSecond,
  celsius,
  count,
  hertz,
  lanes,
  percent,
  performanceState,
  seconds,
  watts,
  words,
  type CellReader,
} from './smi-cell.ts';

/** One figure of a GPU: where nvidia-smi has it, and how it is read. */
export interface SmiMetric {
  readonly metric: GpuMetricName;
  /**
   * Paths below `<gpu>`, the best first: the first with a value is taken. Drivers rename elements within one version of
   * their DTD, so that none is ever chosen by version.
   */
  readonly paths: readonly string[];
  /** Where none of the paths has a value: parts of which the figure is the sum. */
  readonly sumOf?: readonly string[];
  readonly read: CellReader;
  readonly labels?: Labels;
  /** Says whether the GPU is well: an error of the driver here is told, where elsewhere it is only no value. */
  readonly health?: true;
  /** Never nothing on a board that works: a 0 is a driver that does not say. */
  readonly zeroIsUnknown?: true;
}

const yesNo = words({ yes: 1, no: 0 });
const enabledDisabled = words({ enabled: 1, disabled: 0 });
const active = words({ active: 1, 'not active': 0 });

/** nvidia-smi's names in flags. The second ones are of the oldest drivers. */
const CLOCK_EVENT_FLAGS = {
  gpu_idle: ['gpu_idle'],
  applications_clocks: ['applications_clocks_setting', 'user_defined_clocks'],
  sw_power_cap: ['sw_power_cap'],
  hw_slowdown: ['hw_slowdown'],
  sync_boost: ['sync_boost'],
  sw_thermal: ['sw_thermal_slowdown'],
  hw_thermal: ['hw_thermal_slowdown'],
  hw_power_brake: ['hw_power_brake_slowdown'],
  display_clocks: ['display_clocks_setting'],
  other: ['unknown'],
} as const satisfies Record<ClockEventReason, readonly string[]>;
/** Blocks and the prefix of their elements; the second before R535. */
const CLOCK_EVENT_BLOCKS = [
  ['clocks_event_reasons', 'clocks_event_reason_'],
  ['clocks_throttle_reasons', 'clocks_throttle_reason_'],
] as const;

/** nvidia-smi's names in times (R575 and later), which are not those of the flags. */
const CLOCK_EVENT_TIMES: Readonly<Record<string, ClockEventReason>> = {
  sw_power_cap: 'sw_power_cap',
  sync_boost: 'sync_boost',
  sw_therm_slowdown: 'sw_thermal',
  hw_therm_slowdown: 'hw_thermal',
  hw_power_brake: 'hw_power_brake',
};

/** ECC counters of Volta and before, by place; their `total` is the sum of the others. */
const ECC_PLACES: Readonly<Record<string, string>> = {
  l1_cache: 'l1_cache',
  l2_cache: 'l2_cache',
  device_memory: 'dram',
  register_file: 'register_file',
  texture_memory: 'texture_memory',
  texture_shm: 'texture_shm',
  cbu: 'cbu',
};

/** All that the XML has of the canonical metrics, but for MIG devices, processes, and the recovery action. */
export const smiMetrics: readonly SmiMetric[] = [
  ratio('gpu_utilization_ratio', 'gpu_util'),
  ratio('gpu_memory_utilization_ratio', 'memory_util'),
  ratio('gpu_encoder_utilization_ratio', 'encoder_util'),
  ratio('gpu_decoder_utilization_ratio', 'decoder_util'),
  ratio('gpu_jpeg_utilization_ratio', 'jpeg_util'),
  ratio('gpu_ofa_utilization_ratio', 'ofa_util'),
  { metric: 'gpu_memory_size_bytes', paths: ['fb_memory_usage/total'], read: bytes },
  { metric: 'gpu_memory_used_bytes', paths: ['fb_memory_usage/used'], read: bytes },
  { metric: 'gpu_memory_free_bytes', paths: ['fb_memory_usage/free'], read: bytes },
  { metric: 'gpu_memory_reserved_bytes', paths: ['fb_memory_usage/reserved'], read: bytes },
  { metric: 'gpu_bar1_size_bytes', paths: ['bar1_memory_usage/total'], read: bytes },
  { metric: 'gpu_bar1_used_bytes', paths: ['bar1_memory_usage/used'], read: bytes },
  temperature('core', 'gpu_temp'),
  unlessZero(temperature('memory', 'memory_temp')),
  { metric: 'gpu_temperature_headroom_celsius', paths: ['temperature/gpu_temp_tlimit'], read: celsius },
  // Not the *_tlimit_threshold ones: those are offsets from the limit, and may be negative.
  threshold('shutdown', 'gpu_temp_max_threshold'),
  threshold('slowdown', 'gpu_temp_slow_threshold'),
  threshold('gpu_max', 'gpu_temp_max_gpu_threshold'),
  threshold('memory_max', 'gpu_temp_max_mem_threshold'),
  {
    metric: 'gpu_power_watts',
    paths: [
      'gpu_power_readings/instant_power_draw',
      'gpu_power_readings/power_draw',
      'power_readings/power_draw',
      'gpu_power_readings/average_power_draw',
    ],
    read: watts,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_average_watts',
    paths: ['gpu_power_readings/average_power_draw'],
    read: watts,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_module_power_watts',
    paths: [
      'module_power_readings/instant_power_draw',
      'module_power_readings/power_draw',
      'module_power_readings/average_power_draw',
    ],
    read: watts,
    zeroIsUnknown: true,
  },
  unlessZero(
    powerLimit('enforced', 'gpu_power_readings/current_power_limit', 'power_readings/enforced_power_limit'),
  ),
  unlessZero(
    powerLimit('requested', 'gpu_power_readings/requested_power_limit', 'power_readings/power_limit'),
  ),
  powerLimit('default', 'gpu_power_readings/default_power_limit', 'power_readings/default_power_limit'),
  powerLimit('min', 'gpu_power_readings/min_power_limit', 'power_readings/min_power_limit'),
  unlessZero(powerLimit('max', 'gpu_power_readings/max_power_limit', 'power_readings/max_power_limit')),
  ...(['graphics', 'sm', 'memory', 'video'] as const).flatMap((domain): SmiMetric[] => {
    const element = domain === 'memory' ? 'mem_clock' : `${domain}_clock`;
    return [
      { metric: 'gpu_clock_hertz', paths: [`clocks/${element}`], read: hertz, labels: { domain } },
      {
        metric: 'gpu_clock_max_hertz',
        paths: [`max_clocks/${element}`],
        read: hertz,
        labels: { domain },
        zeroIsUnknown: true,
      },
    ];
  }),
  { metric: 'gpu_performance_state', paths: ['performance_state'], read: performanceState },
  ...Object.entries(CLOCK_EVENT_FLAGS).map(([reason, names]): SmiMetric => ({
    metric: 'gpu_clock_event_active',
    paths: CLOCK_EVENT_BLOCKS.flatMap(([block, prefix]) => names.map((name) => `${block}/${prefix}${name}`)),
    read: active,
    labels: { reason },
  })),
  ...Object.entries(CLOCK_EVENT_TIMES).map(([name, reason]): SmiMetric => ({
    metric: 'gpu_clock_event_seconds_total',
    paths: [`clocks_event_reasons_counters/clocks_event_reasons_counters_${name}`],
    read: seconds,
    labels: { reason },
  })),
  // nvidia-smi has one speed for the whole board.
  { metric: 'gpu_fan_speed_ratio', paths: ['fan_speed'], read: percent, labels: { fan: '0' } },
  unlessZero(pcie('gpu_pcie_link_generation', 'pci_gpu_link_info/pcie_gen/current_link_gen', count)),
  unlessZero(pcie('gpu_pcie_link_generation_max', 'pci_gpu_link_info/pcie_gen/max_link_gen', count)),
  unlessZero(pcie('gpu_pcie_link_width', 'pci_gpu_link_info/link_widths/current_link_width', lanes)),
  unlessZero(pcie('gpu_pcie_link_width_max', 'pci_gpu_link_info/link_widths/max_link_width', lanes)),
  pcie('gpu_pcie_throughput_bytes_per_second', 'tx_util', bytesPerSecond, { direction: 'transmit' }),
  pcie('gpu_pcie_throughput_bytes_per_second', 'rx_util', bytesPerSecond, { direction: 'receive' }),
  pcie('gpu_pcie_replay_total', 'replay_counter', count),
  { metric: 'gpu_ecc_enabled', paths: ['ecc_mode/current_ecc'], read: enabledDisabled, health: true },
  // The shape follows the generation of the GPU, not of the driver: Turing and later, then Volta and before.
  ...(['volatile', 'aggregate'] as const).flatMap((lifetime) => [
    ecc(`${lifetime}/sram_correctable`, { type: 'corrected', location: 'sram', lifetime }),
    {
      ...ecc(`${lifetime}/sram_uncorrectable`, { type: 'uncorrected', location: 'sram', lifetime }),
      // R550 and later tell apart how they were found.
      sumOf: ['parity', 'secded'].map((found) => `ecc_errors/${lifetime}/sram_uncorrectable_${found}`),
    },
    ecc(`${lifetime}/dram_correctable`, { type: 'corrected', location: 'dram', lifetime }),
    ecc(`${lifetime}/dram_uncorrectable`, { type: 'uncorrected', location: 'dram', lifetime }),
    ...Object.entries(ECC_PLACES).flatMap(([place, location]) => [
      ecc(`${lifetime}/single_bit/${place}`, { type: 'corrected', location, lifetime }),
      ecc(`${lifetime}/double_bit/${place}`, { type: 'uncorrected', location, lifetime }),
    ]),
  ]),
  ...(['multiple_single_bit', 'double_bit'] as const).map((cause): SmiMetric => ({
    metric: 'gpu_retired_pages',
    paths: [`retired_pages/${cause}_retirement/retired_count`],
    read: count,
    labels: { cause },
    health: true,
  })),
  {
    metric: 'gpu_retired_pages_pending',
    paths: ['retired_pages/pending_retirement', 'retired_pages/pending_blacklist'],
    read: yesNo,
    health: true,
  },
  remapped('gpu_remapped_rows', 'remapped_row_corr', count, { type: 'corrected' }),
  remapped('gpu_remapped_rows', 'remapped_row_unc', count, { type: 'uncorrected' }),
  remapped('gpu_remapped_rows_pending', 'remapped_row_pending', yesNo),
  remapped('gpu_remapped_rows_failure', 'remapped_row_failure', yesNo),
  { metric: 'gpu_mig_enabled', paths: ['mig_mode/current_mig'], read: enabledDisabled },
  {
    metric: 'gpu_fabric_state',
    paths: ['fabric/state'],
    read: words({ 'not started': 1, 'in progress': 2, completed: 3 }),
  },
  {
    metric: 'gpu_fabric_healthy',
    paths: ['fabric/health/summary'],
    read: words({ healthy: 1, unhealthy: 0, 'limited capacity': 0 }),
  },
];

/** What the driver asks for, as R570 and later say it. */
export const recoveryAction: SmiMetric = {
  metric: 'gpu_recovery_action',
  paths: ['gpu_recovery_action'],
  read: words({
    none: 0,
    reset: 1,
    'gpu reset': 1,
    reboot: 2,
    'node reboot': 2,
    'drain p2p': 3,
    'drain and reset': 4,
    'drain + reset': 4,
    'drain+reset': 4,
    'recover imex': 5,
    'recover imex domain': 5,
  }),
  health: true,
};

/** The same as R535 to R565 say it: two questions, whose answers are actions too. */
export const resetStatus: readonly SmiMetric[] = [
  { ...recoveryAction, paths: ['gpu_reset_status/reset_required'], read: yesNo },
  {
    ...recoveryAction,
    paths: ['gpu_reset_status/drain_and_reset_recommended'],
    read: words({ yes: 4, no: 0 }),
  },
];

/** Of which any GPU that works has one at least, but for the oldest boards and those inside a chip. */
export const CORE_PATHS: readonly string[] = [
  'utilization/gpu_util',
  'fb_memory_usage/total',
  'fb_memory_usage/used',
  'temperature/gpu_temp',
  'performance_state',
  'clocks/sm_clock',
  'gpu_power_readings/instant_power_draw',
  'gpu_power_readings/power_draw',
  'gpu_power_readings/average_power_draw',
  'power_readings/power_draw',
];

function ratio(metric: GpuMetricName, element: string): SmiMetric {
  return { metric, paths: [`utilization/${element}`], read: percent };
}

function unlessZero(metric: SmiMetric): SmiMetric {
  return { ...metric, zeroIsUnknown: true };
}

function temperature(sensor: string, element: string): SmiMetric {
  return {
    metric: 'gpu_temperature_celsius',
    paths: [`temperature/${element}`],
    read: celsius,
    labels: { sensor },
  };
}

function threshold(kind: string, element: string): SmiMetric {
  return {
    metric: 'gpu_temperature_threshold_celsius',
    paths: [`temperature/${element}`],
    read: celsius,
    labels: { kind },
    zeroIsUnknown: true,
  };
}

function powerLimit(kind: string, ...paths: readonly string[]): SmiMetric {
  return { metric: 'gpu_power_limit_watts', paths, read: watts, labels: { kind } };
}

function pcie(metric: GpuMetricName, path: string, read: CellReader, labels?: Labels): SmiMetric {
  return { metric, paths: [`pci/${path}`], read, ...(labels === undefined ? {} : { labels }) };
}

function ecc(path: string, labels: Labels): SmiMetric {
  return { metric: 'gpu_ecc_errors_total', paths: [`ecc_errors/${path}`], read: count, labels, health: true };
}

function remapped(metric: GpuMetricName, element: string, read: CellReader, labels?: Labels): SmiMetric {
  const base = { metric, paths: [`remapped_rows/${element}`], read, health: true } as const;
  return labels === undefined ? base : { ...base, labels };
}
