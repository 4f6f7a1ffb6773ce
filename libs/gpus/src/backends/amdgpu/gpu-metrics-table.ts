import type { ClockEventReason } from '../../gpu-metrics.ts';

/**
 * What the binary file `gpu_metrics` tells beyond the other files of sysfs. Layouts and units are of the kernel's
 * `drivers/gpu/drm/amd/include/kgd_pp_interface.h`, and only what is the same for every chip is taken:
 * - activity of v2.x and v3.0 is not: percent, or hundredths of it (a Phoenix with `gpu_busy_percent` 0 says 79);
 * - socket power of v2.x is not: W or mW (amdgpu_top#30);
 * - energy of v1.3 is not: on a RX 6900 XT it counts in thousandths of a joule, on Navi 10 it is not set at all, and only
 *   from v1.4 on does the header state the unit.
 */
export interface GpuMetricsTable {
  /** Tables of the 2nd and 3rd format are those of processors with graphics. */
  readonly apu: boolean;
  readonly activityPercent?: number;
  readonly memoryActivityPercent?: number;
  readonly videoActivityPercent?: number;
  readonly powerWatts?: number;
  readonly averagePowerWatts?: number;
  readonly energyJoules?: number;
  readonly pcieReplays?: number;
  /** Reasons that hold the clocks back now; undefined where the chip does not say. */
  readonly throttledBy?: ReadonlySet<ThrottleReason>;
}

/** What the bits of `indep_throttle_status` can say, in our words. */
export const THROTTLE_REASONS = [
  'sw_power_cap',
  'sw_thermal',
  'hw_thermal',
  'other',
] as const satisfies readonly ClockEventReason[];
export type ThrottleReason = (typeof THROTTLE_REASONS)[number];

interface Field {
  readonly offset: number;
  readonly bytes: 2 | 4 | 8;
  /** Multiplied with the raw value. */
  readonly scale: number;
}

type FigureName = Exclude<keyof GpuMetricsTable, 'apu' | 'throttledBy'>;

interface Layout {
  readonly size: number;
  readonly figures: Readonly<Partial<Record<FigureName, Field>>>;
  readonly throttleOffset?: number;
}

const field = (offset: number, bytes: Field['bytes'], scale = 1): Field => ({ offset, bytes, scale });

/** "15.259uJ (2^-16) units" */
const ENERGY_UNIT_JOULES = 2 ** -16;

/** By format and content revision. */
const LAYOUTS: Readonly<Record<string, Layout>> = {
  '1.3': {
    size: 120,
    figures: {
      activityPercent: field(16, 2),
      memoryActivityPercent: field(18, 2),
      videoActivityPercent: field(20, 2),
    },
    throttleOffset: 112,
  },
  '1.4': {
    size: 288,
    figures: {
      powerWatts: field(10, 2),
      activityPercent: field(12, 2),
      memoryActivityPercent: field(14, 2),
      energyJoules: field(24, 8, ENERGY_UNIT_JOULES),
      pcieReplays: field(88, 8),
    },
  },
  '1.5': {
    size: 360,
    figures: {
      powerWatts: field(10, 2),
      activityPercent: field(12, 2),
      memoryActivityPercent: field(14, 2),
      energyJoules: field(88, 8, ENERGY_UNIT_JOULES),
      pcieReplays: field(152, 8),
    },
  },
  '2.2': { size: 128, figures: {}, throttleOffset: 120 },
  '2.3': { size: 152, figures: {}, throttleOffset: 120 },
  '2.4': { size: 164, figures: {}, throttleOffset: 120 },
  '3.0': { size: 264, figures: { averagePowerWatts: field(112, 4, 1e-3) } },
};

/**
 * Reads the file `gpu_metrics`.
 * @returns undefined where it is none, or is cut off; a layout that is not known tells only whether it is an APU's
 */
export function readGpuMetricsTable(content: Buffer): GpuMetricsTable | undefined {
  if (content.length < 4) return undefined;
  const size = content.readUInt16LE(0);
  const format = content.readUInt8(2);
  if (size < 4 || size > content.length || format === 0) return undefined;
  const layout = LAYOUTS[`${format}.${content.readUInt8(3)}`];
  const apu = format === 2 || format === 3;
  // The compiler may have padded the end of a structure to 8 bytes.
  if (layout === undefined || Math.ceil(size / 8) !== Math.ceil(layout.size / 8)) return { apu };
  const figures = Object.entries(layout.figures).flatMap(([name, { offset, bytes, scale }]) => {
    const raw = readUnsigned(content, offset, bytes);
    return raw === undefined ? [] : [[name, raw * scale] as const];
  });
  const throttle =
    layout.throttleOffset === undefined ? undefined : throttleAt(content, layout.throttleOffset);
  return {
    apu,
    ...Object.fromEntries(figures),
    ...(throttle === undefined ? {} : { throttledBy: throttle }),
  };
}

/** A value of all ones is one that the chip does not have: the driver fills the table with them. */
function readUnsigned(content: Buffer, offset: number, bytes: Field['bytes']): number | undefined {
  if (bytes === 8) {
    const value = content.readBigUInt64LE(offset);
    return value === 2n ** 64n - 1n ? undefined : Number(value);
  }
  const value = content.readUIntLE(offset, bytes);
  return value === 2 ** (8 * bytes) - 1 ? undefined : value;
}

/**
 * Bits that are the same on all chips, by the kernel's `amdgpu_smu.h`: 0-7 power limits, 16-22 current limits, 23 voltage
 * droop, 32-43 temperatures, 44-47 signals of the voltage regulators and the board, 56-57 others.
 */
function throttleAt(content: Buffer, offset: number): ReadonlySet<ThrottleReason> | undefined {
  const low = content.readUInt32LE(offset);
  const high = content.readUInt32LE(offset + 4);
  if (low === 0xffffffff && high === 0xffffffff) return undefined;
  const reasons: Readonly<Record<ThrottleReason, boolean>> = {
    sw_power_cap: (low & 0xff) !== 0,
    sw_thermal: (high & 0xfff) !== 0,
    hw_thermal: (high & 0xf000) !== 0,
    other: low >>> 8 !== 0 || high >>> 16 !== 0,
  };
  return new Set(THROTTLE_REASONS.filter((reason) => reasons[reason]));
}
