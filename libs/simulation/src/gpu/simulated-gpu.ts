import type { Random } from '../random.ts';
import type { Board } from './board.ts';
import { CLOCK_EVENTS, Clocks } from './clocks.ts';
import { celsiusPerWatt, Cooling } from './cooling.ts';
import type { GpuFaults, GpuSpeed, GpuState, GpuWork } from './gpu.ts';
import { MemoryErrors } from './memory-errors.ts';
import { bandwidthRatioAt } from './power.ts';
import { type GpuProcess, Processes } from './processes.ts';
import { Samples } from './samples.ts';
import { type WorkAmounts, Workload } from './workload.ts';

export interface GpuParts {
  /** Place among the host's GPUs. */
  readonly index: number;
  readonly board: Board;
  readonly random: Random;
  /** As sysfs writes it: `0000:8f:00.0`. */
  readonly pciBusId: string;
  /** In the form of the maker's driver; drawn when undefined. */
  readonly uuid?: string | undefined;
  readonly serial?: string | undefined;
  /** Air at its inlet. */
  readonly ambientCelsius?: number | undefined;
  /** The board's default when undefined. */
  readonly powerLimitWatts?: number | undefined;
}

/** Inside a server or a tower, where the air has passed disks and memory. */
const AMBIENT_CELSIUS = 30;
/** Without work for so long, it goes to its idle clocks. */
const IDLE_AFTER_SECONDS = 3;
/** The latest ones, so that a GPU that fails for days does not fill the memory. */
const XIDS_KEPT = 1024;
const FALLEN_OFF_THE_BUS = 79;
/** Of its limit, what a GPU draws that serves at an easy pace. */
const WORKING_POWER_SHARE = 0.25;
/** What the driver logs of an uncorrected error since Ampere: the error, the row's remapping, that it is contained. */
const UNCORRECTED_XIDS = [48, 63, 94];

/**
 * A GPU as physics has it: work becomes activity, activity power, power heat; power cap and heat set the clocks, and the
 * clocks how fast the next work is. A world ticks it; engines tell it their work and ask for its speed.
 */
export class SimulatedGpu {
  readonly faults: GpuFaults = {
    fanStopped: false,
    ambientRiseCelsius: 0,
    powerBrake: false,
    correctedErrorsPerSecond: 0,
  };
  readonly board: Board;
  private readonly index: number;
  private readonly uuid: string;
  private readonly serial: string;
  private readonly pciBusId: string;
  private readonly ambientCelsius: number;
  private readonly workload: Workload;
  private readonly clocks: Clocks;
  private readonly cooling: Cooling;
  private readonly samples = new Samples();
  private readonly errors: MemoryErrors;
  private readonly processes = new Processes();
  private lostByXid: number | undefined;
  private powerLimitWatts: number;
  private powerWatts: number;
  private energyJoules = 0;
  private nvlinkBytes = 0;
  private xids: { readonly xid: number; readonly seconds: number }[] = [];
  private speedNow: GpuSpeed;
  private speedRatio = 1;
  private speedOverlap = 1;

  constructor({ index, board, random, pciBusId, ...parts }: GpuParts) {
    this.board = board;
    this.index = index;
    this.pciBusId = pciBusId;
    this.uuid = parts.uuid ?? drawUuid(board, pciBusId, random.fork('uuid'));
    this.serial = parts.serial ?? drawSerial(random.fork('serial'));
    this.ambientCelsius = parts.ambientCelsius ?? AMBIENT_CELSIUS;
    this.workload = new Workload(board);
    this.clocks = new Clocks(board);
    this.cooling = new Cooling(board, this.ambientCelsius);
    this.errors = new MemoryErrors(random.fork('memory errors'));
    this.powerLimitWatts = board.powerLimitWatts.default;
    this.powerWatts = board.idleWatts;
    this.speedNow = this.speedAt(1, 1);
    if (parts.powerLimitWatts !== undefined) this.setPowerLimit(parts.powerLimitWatts);
  }

  /** At the clocks of now; the object stays as it is when they change. Of a lost GPU: as it was. */
  speed(): GpuSpeed {
    return this.speedNow;
  }

  /** Told when it has run. What a lost GPU is told is ignored. */
  work(work: GpuWork): void {
    if (this.lostByXid !== undefined) return;
    this.workload.add(work);
    if (work.flops > 0) this.processes.addWork(work.pid, work.toSeconds - work.fromSeconds);
  }

  /**
   * A process says how much memory it holds from now on, instead of what it held before.
   * @returns false, and nothing changes, when so much is not free or the GPU is lost
   */
  allocate(process: GpuProcess): boolean {
    if (this.lostByXid !== undefined) return false;
    const { memoryBytes, memoryReservedBytes = 0 } = this.board;
    return this.processes.allocate(process, memoryBytes - memoryReservedBytes);
  }

  /** Gives back what that process holds; a pid that holds nothing is no error. */
  release(pid: number): void {
    this.processes.release(pid);
  }

  /** Kept within what the board allows. */
  setPowerLimit(watts: number): void {
    const { min, max } = this.board.powerLimitWatts;
    this.powerLimitWatts = Math.min(Math.max(watts, min), max);
  }

  /**
   * By how much the air has to be warmer for the core to come to `celsius`, at the power of the last minutes; one that
   * draws little is taken to work again soon.
   */
  airRiseTo(celsius: number): number {
    const { coreCelsius, fanRatio = 1 } = this.cooling;
    const air = this.ambientCelsius + this.faults.ambientRiseCelsius;
    const watts = (coreCelsius - air) / celsiusPerWatt(this.board, fanRatio);
    const working = Math.max(watts, this.powerLimitWatts * WORKING_POWER_SHARE);
    // Where it is that warm, fans turn at full speed.
    return Math.max(celsius - this.ambientCelsius - working * celsiusPerWatt(this.board, 1), 0);
  }

  isLost(): boolean {
    return this.lostByXid !== undefined;
  }

  /** It answers no more. Processes keep what they hold until they are released: they die of it themselves. */
  lose(xid: number, seconds: number): void {
    if (this.lostByXid !== undefined) return;
    this.lostByXid = xid;
    this.raiseXid(xid, seconds);
    this.workload.drop();
    this.clocks.reset();
    this.samples.reset();
    this.powerWatts = 0;
  }

  /** Comes back as after a reset, in which rows that waited for it are replaced. */
  restore(): void {
    if (this.lostByXid === undefined) return;
    this.lostByXid = undefined;
    this.errors.pending = false;
    this.powerWatts = this.board.idleWatts;
    this.refreshSpeed();
  }

  /** The driver logs an error. AMD's drivers number theirs not at all. */
  raiseXid(xid: number, seconds: number): void {
    if (this.board.vendor !== 'nvidia') return;
    if (this.xids.length >= XIDS_KEPT) this.xids.shift();
    this.xids.push({ xid, seconds });
  }

  /** An error of the memory that ECC could only find. Without ECC nobody notices. */
  addUncorrectedError(seconds: number): void {
    if (!this.board.ecc || this.lostByXid !== undefined) return;
    this.errors.addUncorrected();
    for (const xid of UNCORRECTED_XIDS) this.raiseXid(xid, seconds);
  }

  /** Lets that time pass, in which all is taken as constant: a tenth of a second is meant. */
  tick(fromSeconds: number, toSeconds: number): void {
    const seconds = toSeconds - fromSeconds;
    if (!(seconds > 0)) return;
    const bandwidthRatio = this.lostByXid === undefined ? this.run(seconds, toSeconds) : 0;
    this.energyJoules += this.powerWatts * seconds;
    this.cooling.advance({
      seconds,
      watts: this.powerWatts,
      bandwidthRatio,
      ambientCelsius: this.ambientCelsius + this.faults.ambientRiseCelsius,
      fanStopped: this.faults.fanStopped,
    });
    if (this.cooling.coreCelsius >= this.board.thermal.shutdownCelsius)
      this.lose(FALLEN_OFF_THE_BUS, toSeconds);
  }

  /** The truth at this instant. */
  state(): GpuState {
    const { samples, clocks, cooling, errors } = this;
    return {
      index: this.index,
      uuid: this.uuid,
      serial: this.serial,
      pciBusId: this.pciBusId,
      board: this.board,
      lostByXid: this.lostByXid,
      utilizationRatio: samples.utilizationRatio,
      memoryUtilizationRatio: samples.memoryUtilizationRatio,
      memoryUsedBytes: this.processes.usedBytes,
      memoryReservedBytes: this.board.memoryReservedBytes ?? 0,
      smClockHertz: clocks.smHertz,
      memoryClockHertz: clocks.memoryHertz,
      powerWatts: this.powerWatts,
      powerLimitWatts: this.powerLimitWatts,
      energyJoules: this.energyJoules,
      coreCelsius: cooling.coreCelsius,
      memoryCelsius: cooling.memoryCelsius,
      fanRatio: cooling.fanRatio,
      fanRpm: cooling.fanRpm,
      clockEvents: CLOCK_EVENTS.filter((event) => clocks.active[event]),
      clockEventSeconds: { ...clocks.eventSeconds },
      pcieReceivedBytesPerSecond: samples.pcieReceivedBytesPerSecond,
      pcieSentBytesPerSecond: samples.pcieSentBytesPerSecond,
      pcieReplays: 0,
      // Collective operations send as much as they receive.
      nvlinkSentBytes: this.nvlinkBytes,
      nvlinkReceivedBytes: this.nvlinkBytes,
      eccCorrected: errors.corrected,
      eccUncorrected: errors.uncorrected,
      remappedRows: { correctable: 0, uncorrectable: errors.remappedUncorrectable, pending: errors.pending },
      xids: [...this.xids],
      processes: this.processes.states(samples.utilizationRatio),
    };
  }

  /** Sets power and clocks by what ran. @returns share of the memory's peak bandwidth */
  private run(seconds: number, toSeconds: number): number {
    const work = this.workload.take(seconds, toSeconds);
    const activity = activityOf(this.board, seconds, work);
    this.powerWatts = this.clocks.settle({
      seconds,
      awake: work.busySeconds > 0 || toSeconds - this.workload.lastSeconds < IDLE_AFTER_SECONDS,
      activity,
      powerLimitWatts: this.powerLimitWatts,
      coreCelsius: this.cooling.coreCelsius,
      powerBrake: this.faults.powerBrake,
    });
    this.nvlinkBytes += work.nvlinkBytes;
    if (this.board.ecc) this.errors.advance(seconds, this.faults.correctedErrorsPerSecond);
    if (this.samples.add(seconds, activity.bandwidthRatio, work)) this.processes.divideTime();
    this.refreshSpeed();
    return activity.bandwidthRatio;
  }

  private refreshSpeed(): void {
    const { ratio } = this.clocks;
    const { overlap } = this.workload;
    if (ratio === this.speedRatio && overlap === this.speedOverlap) return;
    this.speedRatio = ratio;
    this.speedOverlap = overlap;
    this.speedNow = this.speedAt(ratio, overlap);
  }

  private speedAt(clockRatio: number, overlap: number): GpuSpeed {
    const bandwidth = (this.board.memoryBytesPerSecond * bandwidthRatioAt(clockRatio)) / overlap;
    return {
      flopsPerSecond: (precision) => (this.workload.peak(precision) * clockRatio) / overlap,
      memoryBytesPerSecond: bandwidth,
    };
  }
}

function activityOf(board: Board, seconds: number, work: Readonly<WorkAmounts>) {
  return {
    busyRatio: Math.min(work.busySeconds / seconds, 1),
    computeRatio: Math.min(work.computeSeconds / seconds, 1),
    bandwidthRatio: Math.min(work.memoryBytes / board.memoryBytesPerSecond / seconds, 1),
  };
}

/** NVIDIA's are UUIDs, AMD's boards have 16 digits, and graphics in a processor go by their address. */
function drawUuid({ vendor, unifiedMemory }: Board, pciBusId: string, random: Random): string {
  if (vendor === 'nvidia') {
    const parts = [8, 4, 4, 4, 12].map((digits) => drawDigits(random, digits, 16));
    return `GPU-${parts.join('-')}`;
  }
  return unifiedMemory ? pciBusId : drawDigits(random, 16, 16);
}

function drawSerial(random: Random): string {
  return `165${drawDigits(random, 10, 10)}`;
}

function drawDigits(random: Random, count: number, base: number): string {
  return Array.from({ length: count }, () => Math.floor(random.next() * base).toString(base)).join('');
}
