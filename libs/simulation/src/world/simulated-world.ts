import { PIDS_PER_ENGINE } from '../engine/resident-models.ts';
import { SimulatedEngine } from '../engine/simulated-engine.ts';
import { SimulatedGpu } from '../gpu/simulated-gpu.ts';
import { createRandom, type Random } from '../random.ts';
import { sceneOf } from '../scenario/build-scenario.ts';
import type { IncidentScene } from '../scenario/plan-incident.ts';
import type { EngineSpec, Scenario } from '../scenario/scenario.ts';
import { EventQueue } from '../scheduler.ts';
import { surfaces } from '../surfaces/engines/surfaces.ts';
import { TrafficSource } from '../traffic/traffic.ts';
import { IncidentDesk } from './incident-desk.ts';
import { Layers } from './layers.ts';
import type { HostFaults, IncidentStage, WorldEngine } from './world-parts.ts';

/** How often GPUs turn what ran on them into power, heat and clocks. */
const GPU_TICK_SECONDS = 0.1;
/** Of the first engine's first process; real hosts have a few thousand of their own before. */
const FIRST_PID = 4000;
const FIRST_BUS = 0x18;
const BUS_STEP = 0x11;

/** A host with its GPUs, engines, users and incidents. Time passes only in `runUntil`. */
export class SimulatedWorld implements IncidentStage {
  readonly scheduler = new EventQueue();
  readonly layers = new Layers();
  readonly host: HostFaults = { driverMismatch: false, driverFrozen: false };
  readonly gpus: readonly SimulatedGpu[];
  readonly engines: readonly WorldEngine[];
  readonly traffics: readonly TrafficSource[];
  readonly incidents: IncidentDesk;
  /** What incidents can be planned on. */
  readonly scene: IncidentScene;

  /** @throws ModelTooLarge where an engine's models cannot fit on its GPUs */
  constructor(scenario: Scenario) {
    const random = createRandom(scenario.seed);
    this.gpus = scenario.host.gpus.map(
      (spec, index) =>
        new SimulatedGpu({
          ...spec,
          index,
          pciBusId: pciAddress(index),
          random: random.fork(`gpu/${index}`),
        }),
    );
    this.engines = scenario.engines.map((spec, place) => this.place(spec, place, random));
    this.traffics = scenario.traffic.map(
      (spec) =>
        new TrafficSource({
          spec,
          scheduler: this.scheduler,
          random: random.fork(`traffic/${spec.name}`),
          send: (request, listener) => this.engine(spec.engine).now.submit(request, listener),
        }),
    );
    this.incidents = new IncidentDesk(this);
    this.scene = sceneOf(scenario);
    for (const engine of this.engines) engine.now.start();
    for (const traffic of this.traffics) traffic.start();
    for (const { atSeconds, forSeconds, incident } of scenario.timeline) {
      this.scheduler.at(atSeconds, () => void this.incidents.start(incident, forSeconds));
    }
    this.planTick(1);
  }

  /** Seconds since the world began. */
  get now(): number {
    return this.scheduler.now;
  }

  /** Lets time pass until then. */
  runUntil(seconds: number): void {
    this.scheduler.runUntil(seconds);
  }

  gpu(index: number): SimulatedGpu {
    return found(this.gpus[index], `GPU ${index}`);
  }

  engine(name: string): WorldEngine {
    return found(
      this.engines.find((engine) => engine.name === name),
      `engine ${name}`,
    );
  }

  traffic(name: string): TrafficSource {
    return found(
      this.traffics.find(({ state }) => state.name === name),
      `traffic ${name}`,
    );
  }

  trafficOf(engine: string): readonly TrafficSource[] {
    return this.traffics.filter(({ state }) => state.engine === engine);
  }

  /** By their number, for sums of tenths go astray. */
  private planTick(number: number): void {
    const [from, to] = [(number - 1) * GPU_TICK_SECONDS, number * GPU_TICK_SECONDS];
    this.scheduler.at(to, () => {
      for (const gpu of this.gpus) gpu.tick(from, to);
      this.planTick(number + 1);
    });
  }

  private place(spec: EngineSpec, place: number, random: Random): WorldEngine {
    const create = (version: string): SimulatedEngine => this.createEngine(spec, version, place, random);
    const ownVersion = spec.version ?? surfaces[spec.kind].defaultVersion;
    let now = create(ownVersion);
    let version = ownVersion;
    return {
      name: spec.name,
      gpus: spec.gpus,
      models: spec.models.map(({ name }) => name),
      get now() {
        return now;
      },
      get isRenamed() {
        return version !== ownVersion;
      },
      upgrade: (to) => {
        version = to ?? ownVersion;
        now.crash();
        now = create(version);
        now.start();
      },
    };
  }

  private createEngine(spec: EngineSpec, version: string, place: number, random: Random): SimulatedEngine {
    const { name, kind, models, gpus, settings } = spec;
    const surface = surfaces[kind];
    const contextTokens = settings.contextTokens ?? Math.max(...models.map((model) => model.contextTokens));
    return new SimulatedEngine({
      name,
      kind,
      version,
      config: { ...settings, models, histogramBounds: surface.bounds(version, contextTokens) },
      gpus: gpus.map((index) => this.gpu(index)),
      scheduler: this.scheduler,
      random: random.fork(`engine/${name}/${version}`),
      pid: FIRST_PID + place * PIDS_PER_ENGINE,
    });
  }
}

/** Buses as servers number them: apart from each other, upwards. */
function pciAddress(index: number): string {
  const domain = Math.floor(index / 12);
  const bus = FIRST_BUS + (index % 12) * BUS_STEP;
  return `${hex(domain, 4)}:${hex(bus, 2)}:00.0`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

function found<Thing>(thing: Thing | undefined, what: string): Thing {
  if (thing === undefined) throw new RangeError(`the world has no ${what}`);
  return thing;
}
