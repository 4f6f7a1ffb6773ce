/** What the tables hold of a GPU; all else in them is not told, which they say by all ones. */
export interface TableFigures {
  readonly utilizationPercent: number;
  readonly memoryPercent: number;
  readonly watts: number;
  readonly joules: number;
  readonly junctionCelsius: number;
  readonly memoryCelsius: number | undefined;
  readonly graphicsMegahertz: number;
  readonly memoryMegahertz: number;
  readonly pcieReplays: number;
}

/** Sizes of the structures with the padding of the compiler. */
const V1_5_BYTES = 360;
const V3_0_BYTES = 264;
/** "15.259uJ (2^-16) units" */
const ENERGY_UNITS_PER_JOULE = 2 ** 16;

/**
 * The file `gpu_metrics` of an Instinct MI300 (Linux 6.9 to 6.10): `struct gpu_metrics_v1_5` of the kernel's
 * drivers/gpu/drm/amd/include/kgd_pp_interface.h, little-endian.
 */
export function gpuMetricsV15(figures: TableFigures): Uint8Array {
  const table = new Table(V1_5_BYTES, 1, 5);
  table.put16(4, figures.junctionCelsius);
  table.put16(6, figures.memoryCelsius);
  table.put16(10, figures.watts);
  table.put16(12, figures.utilizationPercent);
  table.put16(14, figures.memoryPercent);
  table.put64(88, figures.joules * ENERGY_UNITS_PER_JOULE);
  table.put64(152, figures.pcieReplays);
  for (let clock = 0; clock < 8; clock += 1) table.put16(312 + 2 * clock, figures.graphicsMegahertz);
  table.put16(352, figures.memoryMegahertz);
  return table.bytes;
}

/** The same file of a Strix processor: `struct gpu_metrics_v3_0`; temperatures in hundredths, powers in mW. */
export function gpuMetricsV30(figures: TableFigures): Uint8Array {
  const table = new Table(V3_0_BYTES, 3, 0);
  table.put16(4, figures.junctionCelsius * 100);
  table.put16(42, figures.utilizationPercent);
  table.put32(112, figures.watts * 1000);
  table.put32(124, figures.watts * 1000);
  table.put16(174, figures.graphicsMegahertz);
  table.put16(186, figures.memoryMegahertz);
  return table.bytes;
}

/** A table of which nothing is told yet. */
class Table {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(size: number, format: number, content: number) {
    this.bytes = new Uint8Array(size).fill(0xff);
    this.view = new DataView(this.bytes.buffer);
    this.view.setUint16(0, size, true);
    this.view.setUint8(2, format);
    this.view.setUint8(3, content);
  }

  put16(at: number, value: number | undefined): void {
    if (value !== undefined) this.view.setUint16(at, Math.round(value), true);
  }

  put32(at: number, value: number): void {
    this.view.setUint32(at, Math.round(value), true);
  }

  put64(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt(Math.round(value)), true);
  }
}
