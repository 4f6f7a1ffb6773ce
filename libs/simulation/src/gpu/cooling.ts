import type { Board } from './board.ts';

/** What warms and cools a GPU during a tick. */
export interface Weather {
  readonly seconds: number;
  readonly watts: number;
  /** Of the memory's peak. */
  readonly bandwidthRatio: number;
  readonly ambientCelsius: number;
  readonly fanStopped: boolean;
}

/** Of the way from the junction to the room, the part that depends on the flow of air. */
const AIR_SHARE = 0.3;
/** What convection and the fans of the case give, of the full flow. */
const STILL_AIR = 0.1;
/** Slowest at which fans turn, and the temperature up to which they do. */
const FAN_LOWEST = 0.3;
const FAN_RISES_FROM_CELSIUS = 50;
/** How much cooler it must be than where they started before fans stop. */
const FAN_HYSTERESIS_CELSIUS = 8;
const FAN_RATIO_PER_SECOND = 0.2;
/** Memory stacks follow the core within seconds; refreshing alone warms them by half of what full load does. */
const MEMORY_SECONDS = 10;
const MEMORY_AT_REST = 0.5;

/** Thermal resistance from the junction to the room. @param flowRatio of the full air flow */
export function celsiusPerWatt({ thermal }: Board, flowRatio: number): number {
  return thermal.celsiusPerWatt * (1 + AIR_SHARE * (1 / Math.max(flowRatio, STILL_AIR) - 1));
}

/** Temperatures and fans: one heat capacity for core and heat sink, a second node for the memory on top of it. */
export class Cooling {
  coreCelsius: number;
  /** Undefined where the board does not report it. */
  memoryCelsius: number | undefined;
  /** Of the highest speed; undefined where the chassis cools. */
  fanRatio: number | undefined;
  private readonly board: Board;
  private fansOn: boolean;

  constructor(board: Board, ambientCelsius: number) {
    this.board = board;
    this.fansOn = board.fan !== undefined && board.fan.stopsBelowCelsius === undefined;
    this.fanRatio = board.fan === undefined ? undefined : this.fansOn ? FAN_LOWEST : 0;
    this.coreCelsius = ambientCelsius + board.idleWatts * celsiusPerWatt(board, this.fanRatio ?? 1);
    this.memoryCelsius = this.memoryTarget(0);
  }

  get fanRpm(): number | undefined {
    if (this.board.fan === undefined || this.fanRatio === undefined) return undefined;
    return this.fanRatio * this.board.fan.maxRpm;
  }

  advance({ seconds, watts, bandwidthRatio, ambientCelsius, fanStopped }: Weather): void {
    this.turnFans(seconds, fanStopped);
    const resistance = celsiusPerWatt(this.board, fanStopped ? 0 : (this.fanRatio ?? 1));
    const settled = ambientCelsius + watts * resistance;
    const decay = Math.exp(-seconds / (resistance * this.board.thermal.joulesPerCelsius));
    this.coreCelsius = settled + (this.coreCelsius - settled) * decay;
    const target = this.memoryTarget(bandwidthRatio);
    if (target === undefined || this.memoryCelsius === undefined) return;
    this.memoryCelsius = target + (this.memoryCelsius - target) * Math.exp(-seconds / MEMORY_SECONDS);
  }

  private memoryTarget(bandwidthRatio: number): number | undefined {
    const { memoryOffsetCelsius } = this.board.thermal;
    if (memoryOffsetCelsius === undefined) return undefined;
    return this.coreCelsius + memoryOffsetCelsius * (MEMORY_AT_REST + (1 - MEMORY_AT_REST) * bandwidthRatio);
  }

  private turnFans(seconds: number, stopped: boolean): void {
    if (this.board.fan === undefined || this.fanRatio === undefined) return;
    const { stopsBelowCelsius = -Infinity } = this.board.fan;
    const threshold = stopsBelowCelsius - (this.fansOn ? FAN_HYSTERESIS_CELSIUS : 0);
    this.fansOn = this.coreCelsius >= threshold;
    const target = this.fansOn ? this.fanCurve() : 0;
    const most = FAN_RATIO_PER_SECOND * seconds;
    this.fanRatio = stopped ? 0 : this.fanRatio + Math.min(Math.max(target - this.fanRatio, -most), most);
  }

  /** All that the fans have where the GPU begins to slow down. */
  private fanCurve(): number {
    const { slowdownCelsius } = this.board.thermal;
    const rise = (this.coreCelsius - FAN_RISES_FROM_CELSIUS) / (slowdownCelsius - FAN_RISES_FROM_CELSIUS);
    return FAN_LOWEST + (1 - FAN_LOWEST) * Math.min(Math.max(rise, 0), 1);
  }
}
