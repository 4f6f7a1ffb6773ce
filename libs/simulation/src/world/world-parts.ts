import type { SimulatedEngine } from '../engine/simulated-engine.ts';
import type { SimulatedGpu } from '../gpu/simulated-gpu.ts';
import type { Scheduler } from '../scheduler.ts';
import type { TrafficSource } from '../traffic/traffic.ts';
import type { Layers } from './layers.ts';

/** What is wrong with the host as a whole. */
export interface HostFaults {
  /** Libraries and kernel module of NVIDIA's driver are of two versions. */
  driverMismatch: boolean;
  /** Calls of NVIDIA's driver do not return. */
  driverFrozen: boolean;
}

/** An engine in its place: its port, its GPUs, and the process that is it now, which an upgrade replaces. */
export interface WorldEngine {
  readonly name: string;
  readonly gpus: readonly number[];
  readonly models: readonly string[];
  /** Another one after an upgrade. */
  readonly now: SimulatedEngine;
  /** It runs as another version, in which metrics have other names. */
  readonly isRenamed: boolean;
  /** Crashes it and starts it as another version; undefined for its own. */
  upgrade(version: string | undefined): void;
}

/** What incidents happen to. */
export interface IncidentStage {
  readonly scheduler: Scheduler;
  readonly layers: Layers;
  readonly host: HostFaults;
  /** @throws RangeError where there is no such GPU */
  gpu(index: number): SimulatedGpu;
  /** @throws RangeError where there is no such engine */
  engine(name: string): WorldEngine;
  /** @throws RangeError where there is no such traffic */
  traffic(name: string): TrafficSource;
  readonly engines: readonly WorldEngine[];
  trafficOf(engine: string): readonly TrafficSource[];
}
