import type { NvidiaDriver } from './gpu-host.ts';
import type { Limits, Megahertz, NvidiaProcess, NvidiaReading } from './nvidia-reading.ts';
import { smiTimestamp } from './smi-time.ts';
import { isFrom, smiLayoutOf, type SmiLayout } from './smi-layout.ts';
import { when, xmlLines, type XmlContent, type XmlElement } from './xml-elements.ts';

const NONE = 'N/A';
const DEPRECATED = 'Requested functionality has been deprecated';
const TURING = 6;

const DTD_VERSIONS: Readonly<Record<SmiLayout, number>> = { r470: 11, r535: 12, r570: 12, r580: 13 };

/** Clock event reasons in nvidia-smi's order and words; those without a name of ours never happen here. */
const EVENT_REASONS = [
  ['gpu_idle', 'gpu_idle'],
  ['applications_clocks_setting', undefined],
  ['sw_power_cap', 'sw_power_cap'],
  ['hw_slowdown', 'hw_slowdown'],
  ['hw_thermal_slowdown', 'hw_thermal_slowdown'],
  ['hw_power_brake_slowdown', 'hw_power_brake'],
  ['sync_boost', undefined],
  ['sw_thermal_slowdown', 'sw_thermal_slowdown'],
  ['display_clocks_setting', undefined],
] as const;

/** Fields of `ecc_errors` before Turing, which counts by place. */
const OLD_ECC_PLACES = [
  'device_memory',
  'register_file',
  'l1_cache',
  'l2_cache',
  'texture_memory',
  'texture_shm',
  'cbu',
  'total',
] as const;

/** What `nvidia-smi -q -x` tells of, beside the GPUs themselves. */
export interface SmiDocument {
  readonly driver: NvidiaDriver;
  readonly unixSeconds: number;
  /** Of the whole host, also when some of them are not shown. */
  readonly attachedGpus: number;
}

/** The output of `nvidia-smi -q -x` for these GPUs, in the layout of the driver's branch. */
export function nvidiaSmiXml(gpus: readonly NvidiaReading[], document: SmiDocument): string {
  const { driver, unixSeconds, attachedGpus } = document;
  const layout = smiLayoutOf(driver.version);
  const head: readonly XmlElement[] = [
    ['timestamp', smiTimestamp(unixSeconds)],
    ['driver_version', driver.version],
    ['cuda_version', driver.cudaVersion],
    ['attached_gpus', attachedGpus],
  ];
  const lines = [
    '<?xml version="1.0" ?>',
    `<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v${DTD_VERSIONS[layout]}.dtd">`,
    '<nvidia_smi_log>',
    ...xmlLines(head, 1),
    ...gpus.flatMap((gpu) => [
      `\t<gpu id="${gpu.address}">`,
      ...xmlLines(gpuElements(gpu, layout, driver), 2),
      '\t</gpu>',
      '',
    ]),
    '</nvidia_smi_log>',
  ];
  return `${lines.join('\n')}\n`;
}

/** All elements of one GPU, in the order of the captures of that generation. */
function gpuElements(gpu: NvidiaReading, layout: SmiLayout, driver: NvidiaDriver): XmlElement[] {
  const since535 = isFrom(layout, 'r535');
  const since570 = isFrom(layout, 'r570');
  const since580 = isFrom(layout, 'r580');
  // GSP firmware has the version of the driver; it is optional before R570, and then off.
  const gspFirmware: XmlElement = ['gsp_firmware_version', since570 ? driver.version : NONE];
  return [
    ['product_name', gpu.name],
    ['product_brand', gpu.brand],
    ...when(since535, ['product_architecture', gpu.architecture.name]),
    ['display_mode', since580 ? DEPRECATED : 'Disabled'],
    ...when(since580, ['display_attached', 'No']),
    ['display_active', 'Disabled'],
    ['persistence_mode', 'Enabled'],
    ...when(since535, ['addressing_mode', since570 ? 'HMM' : 'None']),
    ['mig_mode', same(['current_mig', 'pending_mig'], flag(gpu.mig, 'Enabled', 'Disabled'))],
    ['mig_devices', '\n\t\t\tNone\n\t\t'],
    ['accounting_mode', 'Disabled'],
    ['accounting_mode_buffer_size', 4000],
    ['driver_model', same(['current_dm', 'pending_dm'], NONE)],
    ['serial', gpu.serial ?? NONE],
    ['uuid', gpu.uuid],
    ...when(since580, ['pdi', NONE]),
    ['minor_number', gpu.index],
    ['vbios_version', gpu.vbios ?? NONE],
    ['multigpu_board', 'No'],
    ['board_id', `0x${pciPart(gpu, 'bus').toLowerCase().replace(/^0/, '')}00`],
    ...when(since535, ['board_part_number', NONE]),
    ['gpu_part_number', NONE],
    ...when(since535, ['gpu_fru_part_number', NONE]),
    ...when(!since570, ['gpu_module_id', gpu.index + 1]),
    ...when(since570, ['platformInfo', platformInfo(gpu)]),
    ['inforom_version', same(['img_version', 'oem_object', 'ecc_object', 'pwr_object'], NONE)],
    ...when(since570, ['inforom_bbx_flush', same(['latest_timestamp', 'latest_duration'], NONE)]),
    ['gpu_operation_mode', same(['current_gom', 'pending_gom'], NONE)],
    ...when(since570, ['c2c_mode', NONE]),
    ...when(!since570, gspFirmware),
    [
      'gpu_virtualization_mode',
      [
        ['virtualization_mode', 'None'],
        ['host_vgpu_mode', NONE],
        ...when(since570, ['vgpu_heterogeneous_mode', NONE]),
      ],
    ],
    ...when(since535 && !since580, ['gpu_reset_status', resetStatus(gpu, since570)]),
    ...when(since570, ['gpu_recovery_action', gpu.recoveryAction === 4 ? 'Drain and Reset' : 'None']),
    ...when(since570, gspFirmware),
    ['ibmnpu', [['relaxed_ordering_mode', NONE]]],
    ['pci', pci(gpu, layout)],
    ['fan_speed', percent(gpu.fans[0]?.percent)],
    ['performance_state', `P${gpu.performanceState}`],
    eventReasons(gpu, since535 ? 'clocks_event_reason' : 'clocks_throttle_reason'),
    ...when(since580, ['clocks_event_reasons_counters', eventCounters(gpu)]),
    ...when(since570, ['sparse_operation_mode', NONE]),
    ['fb_memory_usage', frameBuffer(gpu, since535)],
    ['bar1_memory_usage', memoryUsage(gpu.bar1)],
    ...when(since535, ['cc_protected_memory_usage', memoryUsage({ total: 0, used: 0, free: 0 })]),
    ['compute_mode', 'Default'],
    [
      'utilization',
      [
        ['gpu_util', percent(gpu.percent.gpu)],
        ['memory_util', percent(gpu.percent.memory)],
        ...same(['encoder_util', 'decoder_util'], percent(0)),
        ...when(since535, ...same(['jpeg_util', 'ofa_util'], percent(0))),
      ],
    ],
    ['encoder_stats', same(['session_count', 'average_fps', 'average_latency'], 0)],
    ['fbc_stats', same(['session_count', 'average_fps', 'average_latency'], 0)],
    ...when(since570, [
      'dram_encryption_mode',
      same(['current_dram_encryption', 'pending_dram_encryption'], NONE),
    ]),
    ['ecc_mode', same(['current_ecc', 'pending_ecc'], gpu.ecc === undefined ? NONE : 'Enabled')],
    ['ecc_errors', eccErrors(gpu, layout)],
    ['retired_pages', retiredPages()],
    ['remapped_rows', remappedRows(gpu)],
    ['temperature', temperature(gpu, since535)],
    ['supported_gpu_target_temp', same(['gpu_target_temp_min', 'gpu_target_temp_max'], NONE)],
    ...powerReadings(gpu, layout),
    ['clocks', clocks(gpu.megahertz)],
    ['applications_clocks', applicationClocks(gpu)],
    ['default_applications_clocks', applicationClocks(gpu)],
    ...when(since535, ['deferred_clocks', [['mem_clock', NONE]]]),
    ['max_clocks', clocks(gpu.maximumMegahertz)],
    [
      'max_customer_boost_clocks',
      [['graphics_clock', isGeForce(gpu) ? NONE : megahertz(gpu.maximumMegahertz.graphics)]],
    ],
    ['clock_policy', same(['auto_boost', 'auto_boost_default'], NONE)],
    ...when(!since580, ['voltage', [['graphics_volt', NONE]]]),
    ...when(since535, ['fabric', fabric(gpu, layout)]),
    ['supported_clocks', supportedClocks(gpu)],
    ['processes', gpu.processes.map((process) => ['process_info', processInfo(process)] as const)],
    ['accounted_processes', []],
    ...when(since570, ['capabilities', [['egm', 'disabled']]]),
  ];
}

/** Elements that all say the same. */
function same(names: readonly string[], content: XmlContent): readonly XmlElement[] {
  return names.map((name) => [name, content]);
}

function flag(value: boolean | undefined, yes: string, no: string): string {
  if (value === undefined) return NONE;
  return value ? yes : no;
}

function percent(value: number | undefined): string {
  return value === undefined ? NONE : `${value} %`;
}

function megahertz(value: number): string {
  return `${value} MHz`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}

function watts(milliwatts: number | undefined): string {
  return milliwatts === undefined ? NONE : `${(milliwatts / 1000).toFixed(2)} W`;
}

function celsius(degrees: number | undefined): string {
  return degrees === undefined ? NONE : `${degrees} C`;
}

function isGeForce({ brand }: NvidiaReading): boolean {
  return brand === 'GeForce';
}

/** Of `00000000:53:00.0`. */
function pciPart({ address }: NvidiaReading, part: 'domain' | 'bus' | 'device'): string {
  const [domain = '', bus = '', rest = ''] = address.split(':');
  return { domain: domain.slice(-4), bus, device: rest.slice(0, 2) }[part];
}

function platformInfo({ index }: NvidiaReading): readonly XmlElement[] {
  return [
    ...same(['chassis_serial_number', 'slot_number', 'tray_index', 'host_id', 'peer_type'], NONE),
    ['module_id', index + 1],
    ['gpu_fabric_guid', NONE],
  ];
}

function resetStatus({ recoveryAction }: NvidiaReading, isDeprecated: boolean): readonly XmlElement[] {
  return [
    ['reset_required', isDeprecated ? DEPRECATED : 'No'],
    ['drain_and_reset_recommended', isDeprecated ? DEPRECATED : flag(recoveryAction === 4, 'Yes', 'No')],
  ];
}

function pci(gpu: NvidiaReading, layout: SmiLayout): readonly XmlElement[] {
  const { pcie, pciIds } = gpu;
  const since535 = isFrom(layout, 'r535');
  const since570 = isFrom(layout, 'r570');
  const id = `${pciIds.device}${pciIds.vendor}`.toUpperCase();
  const atomics = ['atomic_caps_outbound', 'atomic_caps_inbound'];
  return [
    ['pci_bus', pciPart(gpu, 'bus')],
    ['pci_device', pciPart(gpu, 'device')],
    ['pci_domain', pciPart(gpu, 'domain')],
    ...when(
      since570,
      ['pci_base_class', Number(pciIds.pciClass.slice(0, 2))],
      ['pci_sub_class', Number(pciIds.pciClass.slice(2, 4))],
    ),
    ['pci_device_id', id],
    ['pci_bus_id', gpu.address],
    ['pci_sub_system_id', id],
    [
      'pci_gpu_link_info',
      [
        [
          'pcie_gen',
          [
            ['max_link_gen', pcie.maximumGeneration],
            ['current_link_gen', pcie.generation],
            ...when(
              since535,
              ['device_current_link_gen', pcie.generation],
              ['max_device_link_gen', pcie.maximumGeneration],
              ['max_host_link_gen', NONE],
            ),
          ],
        ],
        ['link_widths', same(['max_link_width', 'current_link_width'], `${pcie.width}x`)],
      ],
    ],
    ['pci_bridge_chip', same(['bridge_chip_type', 'bridge_chip_fw'], NONE)],
    ['replay_counter', pcie.replays],
    ['replay_rollover_counter', 0],
    ['tx_util', `${pcie.transmitKilobytesPerSecond} KB/s`],
    ['rx_util', `${pcie.receiveKilobytesPerSecond} KB/s`],
    ...when(since535, ...same(since570 ? atomics : atomics.toReversed(), NONE)),
  ];
}

function eventReasons({ clockEvents }: NvidiaReading, prefix: string): XmlElement {
  const elements = EVENT_REASONS.map(
    ([word, event]) =>
      [`${prefix}_${word}`, event !== undefined && clockEvents.has(event) ? 'Active' : 'Not Active'] as const,
  );
  return [`${prefix}s`, elements];
}

/** Whose names are not those of the flags. */
function eventCounters({ clockEventMicroseconds }: NvidiaReading): readonly XmlElement[] {
  const counters = {
    sw_power_cap: clockEventMicroseconds.sw_power_cap,
    sync_boost: 0,
    sw_therm_slowdown: clockEventMicroseconds.sw_thermal_slowdown,
    hw_therm_slowdown: clockEventMicroseconds.hw_thermal_slowdown,
    hw_power_brake: clockEventMicroseconds.hw_power_brake,
  };
  return Object.entries(counters).map(([word, microseconds]) => [
    `clocks_event_reasons_counters_${word}`,
    `${microseconds} us`,
  ]);
}

/** Before R510 what is reserved is part of what is used. */
function frameBuffer({ memory }: NvidiaReading, tellsReserved: boolean): readonly XmlElement[] {
  const { total, reserved, used, free } = memory;
  return [
    ['total', mebibytes(total)],
    ...when(tellsReserved, ['reserved', mebibytes(reserved)]),
    ['used', mebibytes(tellsReserved ? used : used + reserved)],
    ['free', mebibytes(free)],
  ];
}

function memoryUsage(bytes: NvidiaReading['bar1']): readonly XmlElement[] {
  return [
    ['total', mebibytes(bytes.total)],
    ['used', mebibytes(bytes.used)],
    ['free', mebibytes(bytes.free)],
  ];
}

/** Which shape it has follows the generation of the GPU; how it is split, that of the driver. */
function eccErrors({ architecture, ecc }: NvidiaReading, layout: SmiLayout): readonly XmlElement[] {
  if (architecture.number < TURING) return oldEccErrors(ecc);
  const since570 = isFrom(layout, 'r570');
  const none = ecc === undefined ? NONE : 0;
  const counters: readonly XmlElement[] = [
    ['sram_correctable', none],
    ...(since570
      ? same(['sram_uncorrectable_parity', 'sram_uncorrectable_secded'], none)
      : same(['sram_uncorrectable'], none)),
    ['dram_correctable', ecc?.corrected ?? NONE],
    ['dram_uncorrectable', ecc?.uncorrected ?? NONE],
  ];
  const sources = ['sram_l2', 'sram_sm', 'sram_microcontroller', 'sram_pcie', 'sram_other'];
  const no = ecc === undefined ? NONE : 'No';
  return [
    ['volatile', counters],
    ['aggregate', [...counters, ...when(since570, ['sram_threshold_exceeded', no])]],
    ...when(since570, ['aggregate_uncorrectable_sram_sources', same(sources, none)]),
    ...when(isFrom(layout, 'r580'), ...same(['channel_repair_pending', 'tpc_repair_pending'], 'No')),
  ];
}

function oldEccErrors(ecc: NvidiaReading['ecc']): readonly XmlElement[] {
  const bits = (errors: number | undefined): readonly XmlElement[] =>
    OLD_ECC_PLACES.map((place) => [
      place,
      place === 'device_memory' || place === 'total' ? (errors ?? NONE) : errors === undefined ? NONE : 0,
    ]);
  const block: readonly XmlElement[] = [
    ['single_bit', bits(ecc?.corrected)],
    ['double_bit', bits(ecc?.uncorrected)],
  ];
  return [
    ['volatile', block],
    ['aggregate', block],
  ];
}

function retiredPages(): readonly XmlElement[] {
  const none = same(['retired_count', 'retired_pagelist'], NONE);
  return [
    ['multiple_single_bit_retirement', none],
    ['double_bit_retirement', none],
    ['pending_blacklist', NONE],
    ['pending_retirement', NONE],
  ];
}

/** The whole block is a text where the board has none. */
function remappedRows({ remappedRows: rows }: NvidiaReading): XmlContent {
  if (rows === undefined) return NONE;
  // Each row takes one of the spare ones of its bank, and errors are so few that no bank has two.
  const used = rows.corrected + rows.uncorrected;
  const banks = (count: number): string => (rows.banks === undefined ? NONE : `${count} bank(s)`);
  return [
    ['remapped_row_corr', rows.corrected],
    ['remapped_row_unc', rows.uncorrected],
    ['remapped_row_pending', flag(rows.pending, 'Yes', 'No')],
    ['remapped_row_failure', 'No'],
    [
      'row_remapper_histogram',
      [
        ['row_remapper_histogram_max', banks(Math.max(0, (rows.banks ?? 0) - used))],
        ['row_remapper_histogram_high', banks(used)],
        ...same(
          ['row_remapper_histogram_partial', 'row_remapper_histogram_low', 'row_remapper_histogram_none'],
          banks(0),
        ),
      ],
    ],
  ];
}

/** Absolute limits, or offsets from one; a driver that knows no offsets tells no limits of boards that have only those. */
function temperature({ celsius: found }: NvidiaReading, knowsOffsets: boolean): readonly XmlElement[] {
  const { core, memory, margin, limits } = found;
  const kind = limits.kind === 'offset' && knowsOffsets ? 'tlimit_threshold' : 'threshold';
  const limit = (name: keyof Omit<Limits, 'kind'>): string =>
    celsius(limits.kind === 'offset' && !knowsOffsets ? undefined : limits[name]);
  const memoryMaximum = limits.kind === 'offset' && knowsOffsets && memory !== undefined ? 0 : undefined;
  return [
    ['gpu_temp', celsius(core)],
    ...when(knowsOffsets, ['gpu_temp_tlimit', celsius(margin)]),
    [`gpu_temp_max_${kind}`, limit('shutdown')],
    [`gpu_temp_slow_${kind}`, limit('slowdown')],
    [`gpu_temp_max_gpu_${kind}`, limit('gpuMaximum')],
    ['gpu_target_temperature', NONE],
    ['memory_temp', celsius(memory)],
    [`gpu_temp_max_mem_${kind}`, celsius(memoryMaximum)],
  ];
}

function powerReadings(gpu: NvidiaReading, layout: SmiLayout): readonly XmlElement[] {
  const { milliwatts, performanceState } = gpu;
  const state: XmlElement = ['power_state', `P${performanceState}`];
  const bounds: readonly XmlElement[] = [
    ['min_power_limit', watts(milliwatts.minimum)],
    ['max_power_limit', watts(milliwatts.maximum)],
  ];
  if (!isFrom(layout, 'r535')) {
    const elements: readonly XmlElement[] = [
      state,
      ['power_management', 'Supported'],
      ['power_draw', watts(milliwatts.draw)],
      ['power_limit', watts(milliwatts.limit)],
      ['default_power_limit', watts(milliwatts.default)],
      ['enforced_power_limit', watts(milliwatts.limit)],
      ...bounds,
    ];
    return [['power_readings', elements]];
  }
  const since570 = isFrom(layout, 'r570');
  const draws = since570 ? ['average_power_draw', 'instant_power_draw'] : ['power_draw'];
  const limits = ['current_power_limit', 'requested_power_limit', 'default_power_limit'];
  const own: readonly XmlElement[] = since570
    ? [
        ['average_power_draw', watts(milliwatts.average)],
        ['instant_power_draw', watts(milliwatts.draw)],
      ]
    : [['power_draw', watts(milliwatts.draw)]];
  return [
    [
      'gpu_power_readings',
      [
        state,
        ...own,
        ...same(['current_power_limit', 'requested_power_limit'], watts(milliwatts.limit)),
        ['default_power_limit', watts(milliwatts.default)],
        ...bounds,
      ],
    ],
    ...when(since570, ['gpu_memory_power_readings', same(draws, NONE)]),
    [
      'module_power_readings',
      [state, ...same([...draws, ...limits, 'min_power_limit', 'max_power_limit'], NONE)],
    ],
    ...when(
      since570,
      ['power_smoothing', NONE],
      ['power_profiles', same(['power_profile_requested_profiles', 'power_profile_enforced_profiles'], NONE)],
    ),
  ];
}

function clocks({ graphics, sm, memory, video }: Megahertz): readonly XmlElement[] {
  return [
    ['graphics_clock', megahertz(graphics)],
    ['sm_clock', megahertz(sm)],
    ['mem_clock', megahertz(memory)],
    ['video_clock', megahertz(video)],
  ];
}

/** GeForce has none. */
function applicationClocks(gpu: NvidiaReading): readonly XmlElement[] {
  const { graphics, memory } = gpu.maximumMegahertz;
  return [
    ['graphics_clock', isGeForce(gpu) ? NONE : megahertz(graphics)],
    ['mem_clock', isGeForce(gpu) ? NONE : megahertz(memory)],
  ];
}

function fabric({ fabric: isPart }: NvidiaReading, layout: SmiLayout): readonly XmlElement[] {
  const since580 = isFrom(layout, 'r580');
  const health = [
    ...(since580 ? ['summary'] : []),
    'bandwidth',
    'route_recovery_in_progress',
    'route_unhealthy',
    'access_timeout_recovery',
    ...(since580 ? ['incorrect_configuration'] : []),
  ];
  return [
    ['state', isPart ? 'Completed' : NONE],
    ['status', isPart ? 'Success' : NONE],
    ...when(
      isFrom(layout, 'r570'),
      ['cliqueId', isPart ? 0 : NONE],
      ['clusterUuid', isPart ? '00000000-0000-0000-0000-000000000000' : NONE],
      ['health', same(health, NONE)],
    ),
  ];
}

/** The real list has a hundred graphics clocks per memory clock; this one has the highest. */
function supportedClocks({ maximumMegahertz }: NvidiaReading): readonly XmlElement[] {
  return [
    [
      'supported_mem_clock',
      [
        ['value', megahertz(maximumMegahertz.memory)],
        ['supported_graphics_clock', megahertz(maximumMegahertz.graphics)],
      ],
    ],
  ];
}

function processInfo({ pid, name, memoryBytes }: NvidiaProcess): readonly XmlElement[] {
  return [
    ['gpu_instance_id', NONE],
    ['compute_instance_id', NONE],
    ['pid', pid],
    ['type', 'C'],
    ['process_name', name],
    ['used_memory', mebibytes(memoryBytes)],
  ];
}
