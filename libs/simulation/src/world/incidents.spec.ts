import { BUILT_IN_SCENARIOS } from '../scenario/built-in/built-in.ts';
import { INCIDENT_NAMES, type IncidentName, type PlannedIncident } from '../scenario/incidents.ts';
import { planIncident } from '../scenario/plan-incident.ts';
import type { SimulatedWorld } from './simulated-world.ts';
import { worldOf } from './test-world.ts';

const WARM_UP_SECONDS = 60;

function demo(): SimulatedWorld {
  const world = worldOf(BUILT_IN_SCENARIOS['demo'] ?? '');
  world.runUntil(WARM_UP_SECONDS);
  return world;
}

/** An incident as the control API would plan it, with its default parameters or these. */
function planned(
  world: SimulatedWorld,
  incident: IncidentName,
  target?: string,
  parameters?: Readonly<Record<string, unknown>>,
): PlannedIncident {
  const plan = planIncident({ incident, target, parameters }, world.scene);
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.incident;
}

interface Case {
  readonly target?: string;
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** How long it goes on until it shows. */
  readonly seconds: number;
  /** What is seen; larger while it goes on than before and after. */
  readonly sign: (world: SimulatedWorld) => number;
  /** After its end, until at the latest it is more than halfway back and every engine serves. */
  readonly recoverySeconds: number;
}

const engine = (world: SimulatedWorld, name: string) => world.engine(name).now.state();
const gpu = (world: SimulatedWorld, index: number) => world.gpu(index).state();

/** Every incident there is, or it does not compile. */
const cases: Readonly<Record<IncidentName, Case>> = {
  hang: {
    target: 'chat',
    seconds: 60,
    sign: (world) => (engine(world, 'chat').condition === 'hung' ? 1 : 0),
    recoverySeconds: 10,
  },
  kv_starvation: {
    target: 'chat',
    parameters: { held: 0.99 },
    seconds: 120,
    sign: (world) => engine(world, 'chat').kv.usedBlocks / engine(world, 'chat').kv.capacityBlocks,
    recoverySeconds: 300,
  },
  overload: {
    target: 'editor',
    parameters: { factor: 20 },
    seconds: 120,
    sign: (world) => engine(world, 'editor').waiting,
    recoverySeconds: 1200,
  },
  preemption_storm: {
    target: 'chat',
    parameters: { held: 0.985 },
    seconds: 300,
    sign: (world) => (engine(world, 'chat').preemptions > 0 ? 1 : 0),
    recoverySeconds: 0,
  },
  xid_79: { target: '0', seconds: 5, sign: (world) => (world.gpu(0).isLost() ? 1 : 0), recoverySeconds: 60 },
  thermal_throttle: {
    target: '0',
    seconds: 300,
    sign: (world) => gpu(world, 0).coreCelsius,
    recoverySeconds: 600,
  },
  power_brake: {
    target: '0',
    seconds: 30,
    sign: (world) => (gpu(world, 0).clockEvents.includes('hw_power_brake') ? 1 : 0),
    recoverySeconds: 1,
  },
  fan_stop: {
    target: '2',
    seconds: 60,
    sign: (world) => (world.gpu(2).faults.fanStopped && gpu(world, 2).fanRatio === 0 ? 1 : 0),
    recoverySeconds: 10,
  },
  ecc: {
    target: '0',
    parameters: { errors_per_second: 5 },
    seconds: 30,
    sign: (world) =>
      world.gpu(0).faults.correctedErrorsPerSecond > 0 && gpu(world, 0).eccCorrected > 0 ? 1 : 0,
    recoverySeconds: 1,
  },
  driver_mismatch: { seconds: 1, sign: ({ host }) => (host.driverMismatch ? 1 : 0), recoverySeconds: 1 },
  cpu_fallback: {
    target: 'editor',
    seconds: 30,
    sign: (world) => -gpu(world, 2).memoryUsedBytes,
    recoverySeconds: 60,
  },
  model_thrash: {
    target: 'desk',
    seconds: 60,
    sign: (world) => engine(world, 'desk').loaded.length,
    recoverySeconds: 900,
  },
  metric_rename: {
    target: 'chat',
    seconds: 60,
    sign: (world) => (world.engine('chat').isRenamed ? 1 : 0),
    recoverySeconds: 60,
  },
  engine_crash_loop: {
    target: 'chat',
    seconds: 5,
    sign: (world) => (engine(world, 'chat').condition === 'serving' ? 0 : 1),
    recoverySeconds: 120,
  },
  exporter_freeze: { seconds: 1, sign: ({ host }) => (host.driverFrozen ? 1 : 0), recoverySeconds: 1 },
  client_giveup: {
    target: 'assistant',
    parameters: { ratio: 1, patience: '200ms' },
    seconds: 120,
    sign: (world) => world.traffic('assistant').state.cancelled / world.traffic('assistant').state.offered,
    recoverySeconds: 1200,
  },
  slow_regression: {
    target: 'chat',
    seconds: 1,
    sign: (world) => world.engine('chat').now.faults.slowdown,
    recoverySeconds: 1,
  },
  tenant_flood: {
    target: 'assistant',
    seconds: 60,
    sign: (world) => world.traffic('assistant').state.ratePerSecond,
    recoverySeconds: 1,
  },
};

describe.each(INCIDENT_NAMES)('the incident %s', (name) => {
  it('shows while it goes on, and is over when it is stopped', () => {
    const { target, parameters, seconds, sign, recoverySeconds } = cases[name];
    const world = demo();
    const before = sign(world);
    const active = world.incidents.start(planned(world, name, target, parameters));
    world.runUntil(world.now + seconds);
    const during = sign(world);
    expect(during).toBeGreaterThan(before);
    expect(world.incidents.stop(active?.id ?? 0)).toBeDefined();
    const isBack = (): boolean => name === 'preemption_storm' || sign(world) < (before + during) / 2;
    const conditions = (): string[] => world.engines.map(({ now }) => now.state().condition);
    const allServe = (): boolean => conditions().every((condition) => condition === 'serving');
    const end = world.now + recoverySeconds;
    while (world.now < end && !(isBack() && allServe())) world.runUntil(Math.min(world.now + 5, end));
    expect(isBack()).toBe(true);
    expect(conditions()).toEqual(world.engines.map(() => 'serving'));
    expect(world.engines.flatMap(({ now }) => now.audit())).toEqual([]);
  });
});

it('brings each GPU that works to its slowdown by warm air, loses none, and is over with it', () => {
  const world = demo();
  const indices = world.gpus.map((_gpu, index) => index);
  const active = indices.map((index) =>
    world.incidents.start(planned(world, 'thermal_throttle', `${index}`)),
  );
  world.runUntil(world.now + 900);
  expect(indices.filter((index) => gpu(world, index).clockEventSeconds.sw_thermal_slowdown === 0)).toEqual(
    [],
  );
  expect(indices.filter((index) => world.gpu(index).isLost())).toEqual([]);
  for (const incident of active) world.incidents.stop(incident?.id ?? 0);
  world.runUntil(world.now + 300);
  expect(indices.filter((index) => gpu(world, index).coreCelsius > 70)).toEqual([]);
});

it('brings a GPU back that heat took from the bus, once it has cooled, with its engine', () => {
  const world = demo();
  const active = world.incidents.start(planned(world, 'fan_stop', '2'));
  world.gpu(2).faults.ambientRiseCelsius = 80;
  world.runUntil(world.now + 300);
  expect(world.gpu(2).isLost()).toBe(true);
  world.gpu(2).faults.ambientRiseCelsius = 0;
  world.incidents.stop(active?.id ?? 0);
  expect(world.gpu(2).isLost()).toBe(true);
  world.runUntil(world.now + 600);
  expect(world.gpu(2).isLost()).toBe(false);
  expect(world.engines.map(({ now }) => now.state().condition)).not.toContain('down');
});

describe('a GPU that is lost', () => {
  it('stays so when another of its incidents ends, and comes back at the end of its own', () => {
    const world = demo();
    const lost = world.incidents.start(planned(world, 'xid_79', '0'));
    const warm = world.incidents.start(planned(world, 'thermal_throttle', '0'));
    world.incidents.stop(warm?.id ?? 0);
    world.runUntil(world.now + 60);
    expect(world.gpu(0).isLost()).toBe(true);
    world.incidents.stop(lost?.id ?? 0);
    expect(world.gpu(0).isLost()).toBe(false);
  });

  it('is used again, when it is back, by an engine that went on without it', () => {
    const world = demo();
    const isOnGpu = (): boolean => engine(world, 'desk').loaded.some(({ gpuBytes }) => gpuBytes > 0);
    expect(isOnGpu()).toBe(true);
    const lost = world.incidents.start(planned(world, 'xid_79', '3'));
    world.runUntil(world.now + 60);
    expect(engine(world, 'desk').loaded).not.toEqual([]);
    expect(isOnGpu()).toBe(false);
    world.incidents.stop(lost?.id ?? 0);
    world.runUntil(world.now + 60);
    expect(isOnGpu()).toBe(true);
  });

  it('keeps an engine down that is on another one too, until both are back', () => {
    const world = worldOf(`
seed: shared
host: { name: shared, gpus: [{ board: l4, count: 2 }], driver: { nvidia: 570.133.20 } }
engines:
  - { name: chat, kind: vllm, port: 8000, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0, 1] }
`);
    world.runUntil(WARM_UP_SECONDS);
    const [first, second] = ['0', '1'].map((index) => world.incidents.start(planned(world, 'xid_79', index)));
    world.engine('chat').now.crash();
    world.incidents.stop(first?.id ?? 0);
    expect(engine(world, 'chat').condition).toBe('down');
    world.incidents.stop(second?.id ?? 0);
    expect(engine(world, 'chat').condition).toBe('loading');
  });
});

describe('the desk', () => {
  it('plays an incident on a target once at a time, and on others besides', () => {
    const world = demo();
    const first = world.incidents.start(planned(world, 'hang', 'chat'));
    expect(first).toBeDefined();
    expect(world.incidents.start(planned(world, 'hang', 'chat'))).toBeUndefined();
    expect(world.incidents.start(planned(world, 'hang', 'editor'))).toBeDefined();
    expect(world.incidents.stopAll('hang')).toBe(2);
    expect(world.incidents.active).toEqual([]);
  });

  it('ends by itself what has a length', () => {
    const world = demo();
    world.incidents.start(planned(world, 'hang', 'chat'), 30);
    world.runUntil(world.now + 29);
    expect(engine(world, 'chat').condition).toBe('hung');
    world.runUntil(world.now + 2);
    expect(engine(world, 'chat').condition).toBe('serving');
    expect(world.incidents.active).toEqual([]);
  });

  it('keeps what the other of two still holds', () => {
    const world = demo();
    const starved = world.incidents.start(planned(world, 'kv_starvation', 'chat', { held: 0.5 }));
    const storm = world.incidents.start(planned(world, 'preemption_storm', 'chat', { held: 0.9 }));
    const { faults } = world.engine('chat').now;
    expect(faults.kvHeldRatio).toBe(0.9);
    world.incidents.stop(starved?.id ?? 0);
    expect(faults.kvHeldRatio).toBe(0.9);
    world.incidents.stop(storm?.id ?? 0);
    expect(faults.kvHeldRatio).toBe(0);
  });
});
