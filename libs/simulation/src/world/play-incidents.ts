import type { EngineFaults } from '../engine/engine.ts';
import type { GpuFaults } from '../gpu/gpu.ts';
import type { IncidentTable } from '../scenario/incidents.ts';
import type { HostFaults, IncidentStage, WorldEngine } from './world-parts.ts';

/** What each incident does to the world, and how it is undone. */
export const playedIncidents: IncidentTable<IncidentStage> = {
  hang: (stage, engine) => engineFault(stage, engine, 'hung', true),
  kv_starvation: (stage, engine, { held }) => engineFault(stage, engine, 'kvHeldRatio', held),
  cpu_fallback: (stage, engine) => engineFault(stage, engine, 'cpuFallback', true),
  slow_regression: (stage, engine, { slower }) => engineFault(stage, engine, 'slowdown', 1 / (1 - slower)),
  preemption_storm: (stage, engine, { held, answer_factor }) =>
    all([
      engineFault(stage, engine, 'kvHeldRatio', held),
      ...stage
        .trafficOf(engine)
        .map((traffic) =>
          stage.layers.set(`traffic/${traffic.state.name}/output`, answer_factor, 1, (factor) =>
            traffic.setOutputFactor(factor),
          ),
        ),
    ]),
  engine_crash_loop: (stage, name, { serving }) => crashAgainAndAgain(stage, stage.engine(name), serving),
  metric_rename: (stage, name, { version }) =>
    stage.layers.set<string | undefined>(`engine/${name}/version`, version, undefined, (as) =>
      stage.engine(name).upgrade(as),
    ),
  model_thrash: (stage, name, { every }) => askForAllModels(stage, stage.engine(name), every),

  overload: (stage, name, { factor }) =>
    stage.layers.set(`traffic/${name}/rate`, factor, 1, (rate) => stage.traffic(name).setRateFactor(rate)),
  client_giveup: (stage, name, { ratio, patience }) =>
    stage.layers.set(
      `traffic/${name}/impatience`,
      { ratio, medianSeconds: patience, sigma: PATIENCE_SIGMA },
      undefined,
      (impatience) => stage.traffic(name).setImpatience(impatience),
    ),
  tenant_flood: (stage, name, { tenant, factor }) =>
    stage.layers.set(`traffic/${name}/flood`, { tenant, factor }, undefined, (flood) =>
      stage.traffic(name).setFlood(flood),
    ),

  xid_79: (stage, index) => {
    const takeBack = stage.layers.set(lostKey(index), true, false, (isLost) => {
      if (isLost) stage.gpu(index).lose(79, stage.scheduler.now);
    });
    return all([takeBack, () => bringBack(stage, index)]);
  },
  thermal_throttle: (stage, index, { above_celsius }) => {
    const gpu = stage.gpu(index);
    const rise = gpu.airRiseTo(gpu.board.thermal.slowdownCelsius + above_celsius);
    return all([
      gpuFault(stage, index, 'ambientRiseCelsius', rise),
      () => bringBack(stage, index), // where it became so hot that it fell off the bus
    ]);
  },
  power_brake: (stage, index) => gpuFault(stage, index, 'powerBrake', true),
  fan_stop: (stage, index) =>
    all([gpuFault(stage, index, 'fanStopped', true), () => bringBack(stage, index)]),
  ecc: (stage, index, { errors_per_second }) =>
    gpuFault(stage, index, 'correctedErrorsPerSecond', errors_per_second),

  driver_mismatch: (stage) => hostFault(stage, 'driverMismatch'),
  exporter_freeze: (stage) => hostFault(stage, 'driverFrozen'),
};

/** How much patience differs from user to user, as the deviation of its logarithm. */
const PATIENCE_SIGMA = 0.6;

const WELL: EngineFaults & GpuFaults = {
  hung: false,
  slowdown: 1,
  kvHeldRatio: 0,
  cpuFallback: false,
  fanStopped: false,
  ambientRiseCelsius: 0,
  powerBrake: false,
  correctedErrorsPerSecond: 0,
};

function engineFault<Fault extends keyof EngineFaults>(
  stage: IncidentStage,
  name: string,
  fault: Fault,
  value: EngineFaults[Fault],
): () => void {
  return stage.layers.set(`engine/${name}/${fault}`, value, WELL[fault], (now) => {
    stage.engine(name).now.faults[fault] = now;
  });
}

function gpuFault<Fault extends keyof GpuFaults>(
  stage: IncidentStage,
  index: number,
  fault: Fault,
  value: GpuFaults[Fault],
): () => void {
  return stage.layers.set(`gpu/${index}/${fault}`, value, WELL[fault], (now) => {
    stage.gpu(index).faults[fault] = now;
  });
}

function hostFault({ layers, host }: IncidentStage, fault: keyof HostFaults): () => void {
  return layers.set(`host/${fault}`, true, false, (now) => {
    host[fault] = now;
  });
}

const COOL_LOOK_SECONDS = 5;

function lostKey(index: number): string {
  return `gpu/${index}/lost`;
}

/**
 * What a restart of the machine does for a GPU that is lost, once it is cool enough, and for its engines; for one that
 * an incident of its own holds lost, nothing.
 */
function bringBack(stage: IncidentStage, index: number): void {
  const gpu = stage.gpu(index);
  if (!gpu.isLost() || stage.layers.isSet(lostKey(index))) return;
  const { coreCelsius } = gpu.state();
  if (coreCelsius >= gpu.board.thermal.slowdownCelsius) {
    stage.scheduler.at(stage.scheduler.now + COOL_LOOK_SECONDS, () => bringBack(stage, index));
    return;
  }
  gpu.restore();
  for (const engine of stage.engines) {
    const areAllThere = engine.gpus.every((each) => !stage.gpu(each).isLost());
    // One that went on without the GPU would never look for it again while its models are in use.
    if (areAllThere && engine.gpus.includes(index)) engine.now.restart();
  }
}

/** It crashes at once, and each time that it has served for so long; how long it loads is its own affair. */
function crashAgainAndAgain({ scheduler }: IncidentStage, engine: WorldEngine, serving: number): () => void {
  let takeBack: () => void = () => undefined;
  const look = (): void => {
    const { condition } = engine.now.state();
    const wait = condition === 'serving' ? serving : CRASH_LOOK_SECONDS;
    takeBack = scheduler.at(scheduler.now + wait, condition === 'serving' ? crash : look);
  };
  const crash = (): void => {
    engine.now.restart();
    look();
  };
  crash();
  return () => takeBack();
}

const CRASH_LOOK_SECONDS = 0.5;

/** Somebody asks for one model after the other, each for a few words. */
function askForAllModels({ scheduler }: IncidentStage, engine: WorldEngine, every: number): () => void {
  let takeBack: () => void = () => undefined;
  let asked = 0;
  const ask = (): void => {
    const model = engine.models[asked % engine.models.length] ?? '';
    asked += 1;
    engine.now.submit({
      id: `thrash-${engine.name}-${scheduler.now}`,
      model,
      tenant: 'thrash',
      kind: 'chat',
      promptTokens: 32,
      outputTokens: 16,
      maxTokens: 16,
    });
    takeBack = scheduler.at(scheduler.now + every, ask);
  };
  ask();
  return () => takeBack();
}

function all(ends: readonly (() => void)[]): () => void {
  return () => {
    for (const end of ends) end();
  };
}
