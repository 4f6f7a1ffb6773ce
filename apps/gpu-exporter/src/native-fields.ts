import type { ExporterMetricName, GpuMetricName, WatchedGpu } from '@llm-monitor/gpus';

type MetricName = GpuMetricName | ExporterMetricName;
/** A metric, or those series of it that have one label: `gpu_temperature_celsius{sensor="memory"}`. */
export type SeriesName = MetricName | `${MetricName}{${string}="${string}"}`;

const MIG = ['gpu_mig_info', 'gpu_mig_memory_size_bytes', 'gpu_mig_memory_used_bytes'] as const;
const GPM = [
  'gpu_sm_active_ratio',
  'gpu_sm_occupancy_ratio',
  'gpu_tensor_active_ratio',
  'gpu_dram_active_ratio',
] as const;

/**
 * What a GPU is without that does not have a native reading: an NVML function, a field of NVML (in parentheses), or a
 * file of amdgpu. Nothing where another reading stands in for it, or nothing is exported of it alone.
 */
const NATIVE_FIELDS: Readonly<Record<string, readonly SeriesName[]>> = {
  nvmlDeviceGetIndex: [],
  nvmlDeviceGetUUID: [],
  nvmlDeviceGetName: ['gpu_info{name="*"}'],
  nvmlDeviceGetSerial: ['gpu_info{serial="*"}'],
  nvmlDeviceGetVbiosVersion: ['gpu_info{vbios_version="*"}'],
  nvmlDeviceGetPciInfo_v3: ['gpu_info{pci_bus_id="*"}'],
  nvmlDeviceGetArchitecture: ['gpu_info{architecture="*"}'],
  nvmlDeviceGetCudaComputeCapability: ['gpu_info{compute_capability="*"}'],
  nvmlDeviceGetUtilizationRates: ['gpu_utilization_ratio', 'gpu_memory_utilization_ratio'],
  nvmlDeviceGetEncoderUtilization: ['gpu_encoder_utilization_ratio'],
  nvmlDeviceGetDecoderUtilization: ['gpu_decoder_utilization_ratio'],
  nvmlDeviceGetJpgUtilization: ['gpu_jpeg_utilization_ratio'],
  nvmlDeviceGetOfaUtilization: ['gpu_ofa_utilization_ratio'],
  nvmlDeviceGetMemoryInfo_v2: ['gpu_memory_used_bytes', 'gpu_memory_size_bytes', 'gpu_memory_reserved_bytes'],
  nvmlDeviceGetMemoryInfo: ['gpu_memory_used_bytes', 'gpu_memory_size_bytes'],
  nvmlDeviceGetBAR1MemoryInfo: ['gpu_bar1_size_bytes', 'gpu_bar1_used_bytes'],
  nvmlDeviceGetTemperatureV: ['gpu_temperature_celsius{sensor="core"}'],
  nvmlDeviceGetTemperature: ['gpu_temperature_celsius{sensor="core"}'],
  nvmlDeviceGetTemperatureThreshold: ['gpu_temperature_threshold_celsius'],
  nvmlDeviceGetMarginTemperature: ['gpu_temperature_headroom_celsius'],
  nvmlDeviceGetPowerUsage: ['gpu_power_watts'],
  nvmlDeviceGetEnforcedPowerLimit: ['gpu_power_limit_watts{kind="enforced"}'],
  nvmlDeviceGetPowerManagementLimit: ['gpu_power_limit_watts{kind="requested"}'],
  nvmlDeviceGetPowerManagementDefaultLimit: ['gpu_power_limit_watts{kind="default"}'],
  nvmlDeviceGetPowerManagementLimitConstraints: [
    'gpu_power_limit_watts{kind="min"}',
    'gpu_power_limit_watts{kind="max"}',
  ],
  nvmlDeviceGetTotalEnergyConsumption: ['gpu_energy_joules_total'],
  nvmlDeviceGetClockInfo: ['gpu_clock_hertz'],
  nvmlDeviceGetMaxClockInfo: ['gpu_clock_max_hertz'],
  nvmlDeviceGetPerformanceState: ['gpu_performance_state'],
  nvmlDeviceGetCurrentClocksEventReasons: ['gpu_clock_event_active'],
  nvmlDeviceGetCurrentClocksThrottleReasons: ['gpu_clock_event_active'],
  nvmlDeviceGetNumFans: ['gpu_fan_speed_ratio', 'gpu_fan_speed_rpm'],
  nvmlDeviceGetFanSpeed_v2: ['gpu_fan_speed_ratio'],
  nvmlDeviceGetFanSpeedRPM: ['gpu_fan_speed_rpm'],
  nvmlDeviceGetEccMode: ['gpu_ecc_enabled'],
  nvmlDeviceGetMemoryErrorCounter: ['gpu_ecc_errors_total'],
  nvmlDeviceGetRetiredPages: ['gpu_retired_pages'],
  nvmlDeviceGetRetiredPagesPendingStatus: ['gpu_retired_pages_pending'],
  nvmlDeviceGetRemappedRows: ['gpu_remapped_rows', 'gpu_remapped_rows_pending', 'gpu_remapped_rows_failure'],
  nvmlDeviceGetCurrPcieLinkGeneration: ['gpu_pcie_link_generation'],
  nvmlDeviceGetMaxPcieLinkGeneration: ['gpu_pcie_link_generation_max'],
  nvmlDeviceGetCurrPcieLinkWidth: ['gpu_pcie_link_width'],
  nvmlDeviceGetMaxPcieLinkWidth: ['gpu_pcie_link_width_max'],
  nvmlDeviceGetPcieThroughput: ['gpu_pcie_throughput_bytes_per_second'],
  nvmlDeviceGetPcieReplayCounter: ['gpu_pcie_replay_total'],
  nvmlDeviceGetNvLinkState: ['gpu_nvlink_up'],
  nvmlDeviceGetNvLinkErrorCounter: ['gpu_nvlink_errors_total'],
  nvmlDeviceGetGpuFabricInfoV: ['gpu_fabric_state', 'gpu_fabric_healthy'],
  nvmlDeviceGetMigMode: ['gpu_mig_enabled'],
  nvmlDeviceGetMaxMigDeviceCount: MIG,
  nvmlDeviceGetMigDeviceHandleByIndex: MIG,
  nvmlDeviceGetGpuInstanceId: MIG,
  nvmlDeviceGetComputeInstanceId: MIG,
  nvmlDeviceGetAttributes_v2: [],
  nvmlGpmQueryDeviceSupport: GPM,
  nvmlGpmSampleAlloc: GPM,
  nvmlGpmSampleGet: GPM,
  nvmlGpmMigSampleGet: ['gpu_mig_sm_active_ratio'],
  nvmlGpmMetricsGet: GPM,
  nvmlDeviceGetComputeRunningProcesses_v3: ['gpu_processes{type="compute"}', 'gpu_process_info'],
  nvmlDeviceGetComputeRunningProcesses_v2: ['gpu_processes{type="compute"}', 'gpu_process_info'],
  nvmlDeviceGetGraphicsRunningProcesses_v3: ['gpu_processes{type="graphics"}'],
  nvmlDeviceGetGraphicsRunningProcesses_v2: ['gpu_processes{type="graphics"}'],
  nvmlDeviceGetMPSComputeRunningProcesses_v3: [],
  nvmlDeviceGetMPSComputeRunningProcesses_v2: [],
  nvmlDeviceGetProcessUtilization: ['gpu_process_sm_utilization_ratio'],
  nvmlDeviceGetProcessesUtilizationInfo: ['gpu_process_sm_utilization_ratio'],
  // The readings of each second stand in for the driver's own samples, and the kernel log for its events.
  nvmlDeviceGetSamples: [],
  nvmlEventSetCreate: ['gpu_xid_errors_total'],
  nvmlDeviceGetSupportedEventTypes: ['gpu_xid_errors_total'],
  nvmlDeviceRegisterEvents: ['gpu_xid_errors_total'],
  nvmlDeviceGetFieldValues: [
    'gpu_temperature_celsius{sensor="memory"}',
    'gpu_power_average_watts',
    'gpu_clock_event_seconds_total',
    'gpu_recovery_action',
  ],
  'nvmlDeviceGetFieldValues(74)': ['gpu_clock_event_seconds_total{reason="sw_power_cap"}'],
  'nvmlDeviceGetFieldValues(76)': ['gpu_clock_event_seconds_total{reason="sync_boost"}'],
  'nvmlDeviceGetFieldValues(82)': ['gpu_temperature_celsius{sensor="memory"}'],
  'nvmlDeviceGetFieldValues(91)': [],
  // Traffic is counted in KiB up to NVLink 4 (138, 139), in bytes from NVLink 5 on (202, 204).
  'nvmlDeviceGetFieldValues(138)': ['gpu_nvlink_transmit_bytes_total'],
  'nvmlDeviceGetFieldValues(139)': ['gpu_nvlink_receive_bytes_total'],
  'nvmlDeviceGetFieldValues(185)': ['gpu_power_average_watts'],
  'nvmlDeviceGetFieldValues(186)': ['gpu_power_watts'],
  'nvmlDeviceGetFieldValues(197)': ['gpu_pcie_transmit_bytes_total'],
  'nvmlDeviceGetFieldValues(198)': ['gpu_pcie_receive_bytes_total'],
  'nvmlDeviceGetFieldValues(202)': ['gpu_nvlink_transmit_bytes_total'],
  'nvmlDeviceGetFieldValues(204)': ['gpu_nvlink_receive_bytes_total'],
  // The kinds of errors that only NVLink 5 counts.
  'nvmlDeviceGetFieldValues(207)': ['gpu_nvlink_errors_total'],
  'nvmlDeviceGetFieldValues(211)': ['gpu_nvlink_errors_total'],
  'nvmlDeviceGetFieldValues(219)': ['gpu_nvlink_errors_total'],
  'nvmlDeviceGetFieldValues(221)': ['gpu_nvlink_errors_total'],
  'nvmlDeviceGetFieldValues(230)': ['gpu_recovery_action'],
  'nvmlDeviceGetFieldValues(269)': ['gpu_clock_event_seconds_total{reason="sw_thermal"}'],
  'nvmlDeviceGetFieldValues(270)': ['gpu_clock_event_seconds_total{reason="hw_thermal"}'],
  'nvmlDeviceGetFieldValues(271)': ['gpu_clock_event_seconds_total{reason="hw_power_brake"}'],

  gpu_busy_percent: ['gpu_utilization_ratio'],
  mem_busy_percent: ['gpu_memory_utilization_ratio'],
  vcn_busy_percent: ['gpu_decoder_utilization_ratio'],
  mem_info_vram_total: ['gpu_memory_size_bytes'],
  mem_info_vram_used: ['gpu_memory_used_bytes'],
  mem_info_gtt_total: ['gpu_memory_gtt_size_bytes'],
  mem_info_gtt_used: ['gpu_memory_gtt_used_bytes'],
  mem_info_vis_vram_total: ['gpu_bar1_size_bytes'],
  mem_info_vis_vram_used: ['gpu_bar1_used_bytes'],
  pcie_replay_count: ['gpu_pcie_replay_total'],
  pp_dpm_sclk: ['gpu_clock_max_hertz{domain="graphics"}'],
  pp_dpm_mclk: ['gpu_clock_max_hertz{domain="memory"}'],
  current_link_speed: ['gpu_pcie_link_generation'],
  current_link_width: ['gpu_pcie_link_width'],
  max_link_speed: ['gpu_pcie_link_generation_max'],
  max_link_width: ['gpu_pcie_link_width_max'],
  ras: ['gpu_ecc_errors_total', 'gpu_retired_pages'],
  'ras/gpu_vram_bad_pages': ['gpu_retired_pages'],
  current_compute_partition: ['gpu_partition_info'],
  current_memory_partition: [],
  gpu_metrics: ['gpu_clock_event_active'],
  'hwmon/': ['gpu_temperature_celsius', 'gpu_power_watts', 'gpu_clock_hertz', 'gpu_fan_speed_rpm'],
  'hwmon/in1_label': [],
  'hwmon/power1_input': ['gpu_power_watts'],
  'hwmon/power1_average': ['gpu_power_average_watts'],
  'hwmon/power1_cap': ['gpu_power_limit_watts{kind="enforced"}'],
  'hwmon/power1_cap_default': ['gpu_power_limit_watts{kind="default"}'],
  'hwmon/power1_cap_min': ['gpu_power_limit_watts{kind="min"}'],
  'hwmon/power1_cap_max': ['gpu_power_limit_watts{kind="max"}'],
  'hwmon/energy1_input': ['gpu_energy_joules_total'],
  'hwmon/freq*_label': ['gpu_clock_hertz'],
  'hwmon/freq*_input': ['gpu_clock_hertz'],
  'hwmon/temp*_label': ['gpu_temperature_celsius'],
  'hwmon/temp*_input': ['gpu_temperature_celsius'],
  'hwmon/temp*_crit': ['gpu_temperature_threshold_celsius'],
  'hwmon/temp*_emergency': ['gpu_temperature_threshold_celsius'],
  'hwmon/pwm1': ['gpu_fan_speed_ratio'],
  'hwmon/pwm1_max': [],
  'hwmon/fan1_input': ['gpu_fan_speed_rpm'],

  processes: ['gpu_process_info', 'gpu_processes'],
};

/** The metrics that come from a native reading; undefined for a reading that is not in the table. */
export function seriesOfField(field: string): readonly SeriesName[] | undefined {
  const numbered = field.replace(/^(hwmon\/(?:temp|freq))\d+_/, '$1*_');
  return Object.hasOwn(NATIVE_FIELDS, numbered) ? NATIVE_FIELDS[numbered] : undefined;
}

/** Those of which nobody knows what they cost: to be told by their native names. */
export function unexplainedFields(fields: readonly string[]): readonly string[] {
  return fields.filter((field) => seriesOfField(field) === undefined);
}

/** Whether a GPU gives such a series. */
export function tells(watched: WatchedGpu, series: SeriesName): boolean {
  const [, name = series, label, value] = /^(\w+)\{(\w+)="([^"]*)"\}$/.exec(series) ?? [];
  const { facts, points } = watched.reading;
  if (name === 'gpu_info') return label !== undefined && isKnown(facts, label);
  if (name === 'gpu_process_info') return watched.processes !== undefined;
  if (name === 'gpu_process_sm_utilization_ratio') return tellsShares(watched);
  if (name === 'gpu_xid_errors_total') return watched.xids !== undefined;
  return points.some(
    ({ metric, labels }) => metric === name && (label === undefined || labels?.[label] === value),
  );
}

function isKnown(facts: WatchedGpu['reading']['facts'], label: string): boolean {
  const property = label.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  return Object.hasOwn(facts, property);
}

/** Of a GPU without processes nobody can tell. */
function tellsShares({ processes }: WatchedGpu): boolean {
  if (processes === undefined) return false;
  return (
    processes.length === 0 || processes.some(({ smUtilizationRatio }) => smUtilizationRatio !== undefined)
  );
}

/** As it is shown: `gpu_info{serial}` has any value. */
export function shownSeries(series: SeriesName): string {
  return series.replace('="*"', '');
}
