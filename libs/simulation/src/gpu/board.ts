/** Number formats by which a kernel's peak differs. */
export type Precision = 'fp32' | 'fp16' | 'fp8' | 'int8';

/** A GPU as its maker publishes it; what is not published is estimated, and `estimated` says so. */
export interface Board {
  /** How scenarios name it: `h100-sxm`. */
  readonly key: string;
  /** As the driver names it. */
  readonly name: string;
  readonly vendor: 'nvidia' | 'amd';
  readonly architecture: string;
  readonly computeCapability?: string;
  /** As the driver reports the total. */
  readonly memoryBytes: number;
  /** What driver and firmware keep of it; 0 where undefined. */
  readonly memoryReservedBytes?: number;
  /** System memory serves as the GPU's own (APU). */
  readonly unifiedMemory: boolean;
  readonly memoryBytesPerSecond: number;
  /** Dense peaks of the matrix units; a format that is not there runs as the next wider one. */
  readonly peakFlopsPerSecond: Readonly<Partial<Record<Precision, number>>> & { readonly fp16: number };
  readonly powerLimitWatts: { readonly default: number; readonly min: number; readonly max: number };
  readonly idleWatts: number;
  readonly clocksHertz: {
    readonly smIdle: number;
    readonly smBase: number;
    /** Highest that the driver tells. */
    readonly smMax: number;
    /** Highest under load, at which the peaks are quoted, where that is below `smMax` (GeForce). */
    readonly smBoost?: number;
    readonly memoryIdle: number;
    readonly memoryMax: number;
  };
  readonly thermal: {
    /** Software slows down from here (NVML: GPU max operating / slowdown). */
    readonly slowdownCelsius: number;
    /** Hardware halves the clocks from here. */
    readonly hardwareSlowdownCelsius: number;
    readonly shutdownCelsius: number;
    /** From junction to the room at full air flow. */
    readonly celsiusPerWatt: number;
    readonly joulesPerCelsius: number;
    /** Memory over core at full bandwidth; undefined where the board does not report its memory's temperature. */
    readonly memoryOffsetCelsius?: number;
  };
  /** Undefined where the chassis cools it, as in servers. */
  readonly fan?: { readonly fans: number; readonly maxRpm: number; readonly stopsBelowCelsius?: number };
  readonly pcie: { readonly generation: number; readonly width: number };
  /** Links to the other GPUs: NVLink, or Infinity Fabric on AMD. The rate is that of one direction. */
  readonly nvlink?: { readonly links: number; readonly bytesPerSecondPerLink: number };
  readonly ecc: boolean;
  readonly mig: boolean;
  /** Where the published figures are from. */
  readonly sources: readonly string[];
  /** Fields that nobody publishes, with how they were estimated. */
  readonly estimated: Readonly<Record<string, string>>;
}
