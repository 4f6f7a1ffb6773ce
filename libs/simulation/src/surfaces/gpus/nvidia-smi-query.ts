import type { ClockEvent } from '../../gpu/gpu.ts';
import type { NvidiaDriver } from './gpu-host.ts';
import { CLOCK_EVENT_BITS, type NvidiaProcess, type NvidiaReading } from './nvidia-reading.ts';
import { isFrom, smiLayoutOf, type SmiLayout } from './smi-layout.ts';
import { smiCsvTimestamp } from './smi-time.ts';

/** What the tables tell of beside the GPUs themselves. */
export interface SmiQuery {
  readonly driver: NvidiaDriver;
  readonly unixSeconds: number;
  /** Of the whole host. */
  readonly attachedGpus: number;
}

/** How a table is printed. */
export interface TableFormat {
  readonly header: boolean;
  readonly units: boolean;
}

/** A field that nvidia-smi of this driver does not know, so that it prints nothing at all. */
export interface UnknownField {
  readonly unknownField: string;
}

/** A cell: undefined is a figure that the board does not have. */
type Cell = string | number | undefined;

interface Column<Row> {
  /** The first is what the header says, the others are understood too. */
  readonly names: readonly string[];
  readonly unit?: string;
  /** What an absent figure reads; `[N/A]` unless told. */
  readonly absent?: string;
  /** The first layout whose nvidia-smi knows the field; all when left out. */
  readonly since?: SmiLayout;
  readonly value: (row: Row, query: SmiQuery) => Cell;
}

type GpuColumn = Column<NvidiaReading>;

const MEBIBYTE = 1024 ** 2;

const EVENT_REASONS: Readonly<Record<string, ClockEvent | undefined>> = {
  gpu_idle: 'gpu_idle',
  applications_clocks_setting: undefined,
  sw_power_cap: 'sw_power_cap',
  hw_slowdown: 'hw_slowdown',
  hw_thermal_slowdown: 'hw_thermal_slowdown',
  hw_power_brake_slowdown: 'hw_power_brake',
  sw_thermal_slowdown: 'sw_thermal_slowdown',
  sync_boost: undefined,
};

/** Fields of `--query-gpu`, with names, units and aliases of `nvidia-smi --help-query-gpu` (590.48). */
const GPU_COLUMNS: readonly GpuColumn[] = [
  { names: ['timestamp'], value: (_, { unixSeconds }) => smiCsvTimestamp(unixSeconds) },
  { names: ['driver_version'], value: (_, { driver }) => driver.version },
  { names: ['count'], value: (_, { attachedGpus }) => attachedGpus },
  { names: ['name', 'gpu_name'], value: ({ name }) => name },
  { names: ['serial', 'gpu_serial'], value: ({ serial }) => serial },
  { names: ['uuid', 'gpu_uuid'], value: ({ uuid }) => uuid },
  { names: ['pci.bus_id', 'gpu_bus_id'], value: ({ address }) => address },
  { names: ['pci.domain'], value: ({ address }) => `0x${address.slice(4, 8)}` },
  { names: ['pci.bus'], value: ({ address }) => `0x${address.slice(9, 11)}` },
  { names: ['pci.device'], value: ({ address }) => `0x${address.slice(12, 14)}` },
  { names: ['pci.device_id'], value: pciId },
  { names: ['pci.sub_device_id'], value: pciId },
  { names: ['pcie.link.gen.current'], value: ({ pcie }) => pcie.generation },
  { names: ['pcie.link.gen.gpucurrent'], since: 'r535', value: ({ pcie }) => pcie.generation },
  { names: ['pcie.link.gen.max'], value: ({ pcie }) => pcie.maximumGeneration },
  { names: ['pcie.link.gen.gpumax'], since: 'r535', value: ({ pcie }) => pcie.maximumGeneration },
  { names: ['pcie.link.width.current'], value: ({ pcie }) => pcie.width },
  { names: ['pcie.link.width.max'], value: ({ pcie }) => pcie.width },
  { names: ['index'], value: ({ index }) => index },
  { names: ['display_active'], value: () => 'Disabled' },
  { names: ['persistence_mode'], value: () => 'Enabled' },
  { names: ['accounting.mode'], value: () => 'Disabled' },
  { names: ['vbios_version'], value: ({ vbios }) => vbios },
  {
    names: ['gpu_recovery_action'],
    since: 'r570',
    value: ({ recoveryAction }) => (recoveryAction === 4 ? 'Drain and Reset' : 'None'),
  },
  { names: ['fan.speed'], unit: '%', value: ({ fans }) => fans[0]?.percent },
  { names: ['pstate'], value: ({ performanceState }) => `P${performanceState}` },
  ...eventColumns('clocks_event_reasons', ['clocks_throttle_reasons']),
  ...counterColumns(),
  { names: ['memory.total'], unit: 'MiB', value: ({ memory }) => mebibytes(memory.total) },
  {
    names: ['memory.reserved'],
    unit: 'MiB',
    since: 'r535',
    value: ({ memory }) => mebibytes(memory.reserved),
  },
  {
    names: ['memory.used'],
    unit: 'MiB',
    value: ({ memory }, { driver }) =>
      mebibytes(isFrom(smiLayoutOf(driver.version), 'r535') ? memory.used : memory.used + memory.reserved),
  },
  { names: ['memory.free'], unit: 'MiB', value: ({ memory }) => mebibytes(memory.free) },
  { names: ['compute_mode'], value: () => 'Default' },
  { names: ['compute_cap'], since: 'r535', value: ({ computeCapability }) => computeCapability },
  { names: ['utilization.gpu'], unit: '%', value: ({ percent }) => percent.gpu },
  { names: ['utilization.memory'], unit: '%', value: ({ percent }) => percent.memory },
  ...['encoder', 'decoder', 'jpeg', 'ofa'].map((engine): GpuColumn => ({
    names: [`utilization.${engine}`],
    unit: '%',
    since: 'r535',
    value: () => 0,
  })),
  { names: ['ecc.mode.current'], value: ({ ecc }) => (ecc === undefined ? undefined : 'Enabled') },
  { names: ['ecc.mode.pending'], value: ({ ecc }) => (ecc === undefined ? undefined : 'Enabled') },
  ...eccColumns(),
  { names: ['retired_pages.single_bit_ecc.count', 'retired_pages.sbe'], value: () => undefined },
  { names: ['retired_pages.double_bit.count', 'retired_pages.dbe'], value: () => undefined },
  { names: ['retired_pages.pending'], value: () => undefined },
  {
    names: ['remapped_rows.correctable', 'remapped_rows.sbe'],
    since: 'r535',
    value: ({ remappedRows }) => remappedRows?.corrected,
  },
  {
    names: ['remapped_rows.uncorrectable', 'remapped_rows.dbe'],
    since: 'r535',
    value: ({ remappedRows }) => remappedRows?.uncorrected,
  },
  {
    names: ['remapped_rows.pending'],
    since: 'r535',
    value: ({ remappedRows }) => remappedRows && (remappedRows.pending ? 'Yes' : 'No'),
  },
  {
    names: ['remapped_rows.failure'],
    since: 'r535',
    value: ({ remappedRows }) => (remappedRows === undefined ? undefined : 'No'),
  },
  { names: ['temperature.gpu'], value: ({ celsius }) => celsius.core },
  { names: ['temperature.gpu.tlimit'], since: 'r535', value: ({ celsius }) => celsius.margin },
  // Without brackets, as the captures have it.
  { names: ['temperature.memory'], absent: 'N/A', value: ({ celsius }) => celsius.memory },
  { names: ['power.draw'], unit: 'W', value: ({ milliwatts }) => watts(milliwatts.draw) },
  {
    names: ['power.draw.average', 'gpu.power.draw.average'],
    unit: 'W',
    since: 'r535',
    value: ({ milliwatts }) => watts(milliwatts.average),
  },
  {
    names: ['power.draw.instant', 'gpu.power.draw.instant'],
    unit: 'W',
    since: 'r535',
    value: ({ milliwatts }) => watts(milliwatts.draw),
  },
  {
    names: ['power.limit', 'gpu.power.requested_limit'],
    unit: 'W',
    value: ({ milliwatts }) => watts(milliwatts.limit),
  },
  {
    names: ['enforced.power.limit', 'gpu.power.current_limit'],
    unit: 'W',
    value: ({ milliwatts }) => watts(milliwatts.limit),
  },
  {
    names: ['power.default_limit', 'gpu.power.default_limit'],
    unit: 'W',
    value: ({ milliwatts }) => watts(milliwatts.default),
  },
  {
    names: ['power.min_limit', 'gpu.power.min_limit'],
    unit: 'W',
    value: ({ milliwatts }) => watts(milliwatts.minimum),
  },
  {
    names: ['power.max_limit', 'gpu.power.max_limit'],
    unit: 'W',
    value: ({ milliwatts }) => watts(milliwatts.maximum),
  },
  clockColumn(['clocks.current.graphics', 'clocks.gr'], ({ megahertz }) => megahertz.graphics),
  clockColumn(['clocks.current.sm', 'clocks.sm'], ({ megahertz }) => megahertz.sm),
  clockColumn(['clocks.current.memory', 'clocks.mem'], ({ megahertz }) => megahertz.memory),
  clockColumn(['clocks.current.video', 'clocks.video'], ({ megahertz }) => megahertz.video),
  clockColumn(['clocks.max.graphics', 'clocks.max.gr'], ({ maximumMegahertz }) => maximumMegahertz.graphics),
  clockColumn(['clocks.max.sm'], ({ maximumMegahertz }) => maximumMegahertz.sm),
  clockColumn(['clocks.max.memory', 'clocks.max.mem'], ({ maximumMegahertz }) => maximumMegahertz.memory),
  { names: ['mig.mode.current'], value: migMode },
  { names: ['mig.mode.pending'], value: migMode },
  {
    names: ['fabric.state'],
    absent: 'N/A',
    since: 'r535',
    value: ({ fabric }) => (fabric ? 'Completed' : undefined),
  },
  {
    names: ['fabric.status'],
    absent: 'N/A',
    since: 'r535',
    value: ({ fabric }) => (fabric ? 'Success' : undefined),
  },
];

interface ProcessRow {
  readonly gpu: NvidiaReading;
  readonly process: NvidiaProcess;
}

/** Fields of `--query-compute-apps`. */
const PROCESS_COLUMNS: readonly Column<ProcessRow>[] = [
  { names: ['timestamp'], value: (_, { unixSeconds }) => smiCsvTimestamp(unixSeconds) },
  { names: ['gpu_name'], value: ({ gpu }) => gpu.name },
  { names: ['gpu_bus_id'], value: ({ gpu }) => gpu.address },
  { names: ['gpu_serial'], value: ({ gpu }) => gpu.serial },
  { names: ['gpu_uuid'], value: ({ gpu }) => gpu.uuid },
  { names: ['pid'], value: ({ process }) => process.pid },
  { names: ['process_name', 'name'], value: ({ process }) => process.name },
  {
    names: ['used_gpu_memory', 'used_memory'],
    unit: 'MiB',
    value: ({ process }) => mebibytes(process.memoryBytes),
  },
];

/** The table of `--query-gpu`: a line per GPU. */
export function queryGpus(
  fields: readonly string[],
  format: TableFormat,
  gpus: readonly NvidiaReading[],
  query: SmiQuery,
): string | UnknownField {
  return table(GPU_COLUMNS, fields, format, gpus, query);
}

/** The table of `--query-compute-apps`: a line per process and GPU. */
export function queryComputeApps(
  fields: readonly string[],
  format: TableFormat,
  gpus: readonly NvidiaReading[],
  query: SmiQuery,
): string | UnknownField {
  const rows = gpus.flatMap((gpu) => gpu.processes.map((process) => ({ gpu, process })));
  return table(PROCESS_COLUMNS, fields, format, rows, query);
}

function table<Row>(
  known: readonly Column<Row>[],
  fields: readonly string[],
  { header, units }: TableFormat,
  rows: readonly Row[],
  query: SmiQuery,
): string | UnknownField {
  const layout = smiLayoutOf(query.driver.version);
  const columns: Column<Row>[] = [];
  for (const field of fields) {
    const column = known.find(({ names, since = 'r470' }) => names.includes(field) && isFrom(layout, since));
    if (column === undefined) return { unknownField: field };
    columns.push(column);
  }
  const head = columns.map(({ names, unit }) => `${names[0]}${unit === undefined ? '' : ` [${unit}]`}`);
  const lines = rows.map((row) => columns.map((column) => cellText(column, row, query, units)));
  return [...(header ? [head] : []), ...lines].map((cells) => `${cells.join(', ')}\n`).join('');
}

function cellText<Row>(
  { unit, absent = '[N/A]', value }: Column<Row>,
  row: Row,
  query: SmiQuery,
  units: boolean,
): string {
  const found = value(row, query);
  if (found === undefined) return absent;
  return unit === undefined || !units ? String(found) : `${found} ${unit}`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / MEBIBYTE);
}

function watts(milliwatts: number | undefined): string | undefined {
  return milliwatts === undefined ? undefined : (milliwatts / 1000).toFixed(2);
}

function pciId({ pciIds }: NvidiaReading): string {
  return `0x${pciIds.device.toUpperCase()}${pciIds.vendor.toUpperCase()}`;
}

function migMode({ mig }: NvidiaReading): string | undefined {
  if (mig === undefined) return undefined;
  return mig ? 'Enabled' : 'Disabled';
}

function clockColumn(names: readonly string[], value: (gpu: NvidiaReading) => number): GpuColumn {
  return { names, unit: 'MHz', value };
}

/** The name of R535 and later, and the one before, which stayed as another name for it. */
function eventColumns(name: string, before: readonly string[]): GpuColumn[] {
  const columns: readonly (readonly [field: string, value: GpuColumn['value']])[] = [
    ['supported', () => hexadecimal(0x1ff)],
    ['active', ({ clockEvents }) => hexadecimal(bitsOf(clockEvents))],
    ...Object.entries(EVENT_REASONS).map(
      ([reason, event]) =>
        [
          reason,
          ({ clockEvents }: NvidiaReading) =>
            event !== undefined && clockEvents.has(event) ? 'Active' : 'Not Active',
        ] as const,
    ),
  ];
  return columns.flatMap(([field, value]): GpuColumn[] => [
    { names: [name, ...before].map((block) => `${block}.${field}`), since: 'r535', value },
    { names: before.map((block) => `${block}.${field}`), value },
  ]);
}

function counterColumns(): GpuColumn[] {
  const counters: Readonly<Record<string, ClockEvent | undefined>> = {
    sw_power_cap: 'sw_power_cap',
    sync_boost: undefined,
    sw_thermal_slowdown: 'sw_thermal_slowdown',
    hw_thermal_slowdown: 'hw_thermal_slowdown',
    hw_power_brake_slowdown: 'hw_power_brake',
  };
  return Object.entries(counters).map(([field, event]) => ({
    names: [`clocks_event_reasons_counters.${field}`],
    unit: 'us',
    since: 'r580',
    value: ({ clockEventMicroseconds }) => (event === undefined ? 0 : clockEventMicroseconds[event]),
  }));
}

/** By place: the memory is `device_memory` and, from R450 on, `dram` too; caches count as `sram` since Turing. */
function eccColumns(): GpuColumn[] {
  return (['corrected', 'uncorrected'] as const).flatMap((type) =>
    ['volatile', 'aggregate'].flatMap((lifetime) => {
      const column = (place: string, value: GpuColumn['value']): GpuColumn => ({
        names: [`ecc.errors.${type}.${lifetime}.${place}`],
        value,
      });
      const none = ['register_file', 'l1_cache', 'l2_cache', 'texture_memory', 'cbu'];
      return [
        ...['device_memory', 'dram', 'total'].map((place) => column(place, ({ ecc }) => ecc?.[type])),
        column('sram', ({ ecc }) => (ecc === undefined ? undefined : 0)),
        ...none.map((place) => column(place, () => undefined)),
      ];
    }),
  );
}

function bitsOf(events: NvidiaReading['clockEvents']): number {
  return [...events].reduce((bits, event) => bits | CLOCK_EVENT_BITS[event], 0);
}

function hexadecimal(bits: number): string {
  return `0x${bits.toString(16).toUpperCase().padStart(16, '0')}`;
}
