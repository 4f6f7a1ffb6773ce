// Physics of the simulated host, for a reader to check: one H100 that serves Llama 3.1 8B with vLLM. All figures are the
// world's own, and so the same on every machine. Ends with 1 where one of them is not as physics has it.
//   node tools/bench/physics.mjs
import { bundled } from './bundle.mjs';

const { boards, createRandom, ENGINE_KINDS, MODELS, parseScenario, SimulatedWorld, stepCost } =
  await bundled(`
  export { boards, createRandom, MODELS, parseScenario, SimulatedWorld } from './libs/simulation/src/index.ts';
  export { ENGINE_KINDS } from './libs/simulation/src/engine/engine-kinds.ts';
  export { stepCost } from './libs/simulation/src/engine/step-time.ts';
`);

const MODEL = 'meta-llama/Llama-3.1-8B-Instruct';
const START_SECONDS = 120;
const DECODE = { promptTokens: 100, outputTokens: 500 };
const PREFILL = { promptTokens: 4000, outputTokens: 1 };
const POWER_LIMIT_WATTS = boards['h100-sxm'].powerLimitWatts.default;
let requests = 0;

concurrency();
saturation();
powerCap();
roofline();
heat();

/** So many clients, each of which asks again as soon as it has its answer. */
function concurrency() {
  const rows = [1, 4, 16, 64, 256, 512].map((clients) => {
    const world = createWorld();
    closedLoop(world, clients, { promptTokens: 200, outputTokens: 200 });
    return { clients, ...measure(world, 10, 20) };
  });
  print('Throughput by concurrent clients (200 tokens in, 200 out)', {
    clients: rows.map(({ clients }) => clients),
    'tokens/s': rows.map(({ generated }) => generated.toFixed(0)),
    'tokens/s of each': rows.map(({ clients, generated }) => (generated / clients).toFixed(1)),
    'inter-token ms': rows.map(({ interTokenSeconds }) => (interTokenSeconds * 1000).toFixed(1)),
    'GPU busy %': rows.map(({ busyRatio }) => (busyRatio * 100).toFixed(0)),
    watts: rows.map(({ watts }) => watts.toFixed(0)),
  });
  const speeds = rows.map(({ generated }) => generated);
  const [first = 0] = speeds;
  const [full = 0, beyond = 0] = speeds.slice(-2);
  const rises = speeds.slice(1, -1).every((speed, index) => speed > (speeds[index] ?? 0) * 1.2);
  check('rises with concurrency', rises && full > 20 * first);
  check('saturates: twice as many clients give no more', Math.abs(beyond / full - 1) < 0.05);
}

/** Clients that come by chance, whether there is room or not. */
function saturation() {
  const seconds = 120;
  const rows = [5, 10, 20, 40, 60, 80].map((rate) => {
    const world = createWorld();
    openLoop(world, rate, { promptTokens: 500, outputTokens: 200 });
    const before = world.engines[0].now.state();
    world.runUntil(world.now + seconds);
    const after = world.engines[0].now.state();
    return {
      rate,
      done: (after.requests.stop - before.requests.stop) / seconds,
      waiting: after.waiting,
      firstTokenSeconds: meanBetween(before, after, 'timeToFirstTokenSeconds'),
    };
  });
  print(`Time to first token by load (500 tokens in, 200 out, ${seconds} s)`, {
    'requests/s': rows.map(({ rate }) => rate),
    'done/s': rows.map(({ done }) => done.toFixed(1)),
    'waiting at the end': rows.map(({ waiting }) => waiting),
    'mean TTFT ms': rows.map(({ firstTokenSeconds }) => (firstTokenSeconds * 1000).toFixed(0)),
  });
  const [calm] = rows;
  const beyond = rows.at(-1);
  check('answers at once while there is room', calm.firstTokenSeconds < 0.1);
  check(
    'time to first token explodes past saturation',
    beyond.firstTokenSeconds > 50 * calm.firstTokenSeconds && beyond.done < 0.9 * beyond.rate,
  );
}

function powerCap() {
  const rows = [1, 0.8, 0.6, 0.4].map((share) => {
    const [decode, prefill] = [
      [128, DECODE],
      [8, PREFILL],
    ].map(([clients, wish]) => {
      const world = createWorld();
      world.gpu(0).setPowerLimit(share * POWER_LIMIT_WATTS);
      closedLoop(world, clients, wish);
      return measure(world, 20, 20);
    });
    return { share, decode, prefill };
  });
  const [free] = rows;
  print(`Speed under a power cap (of ${POWER_LIMIT_WATTS} W)`, {
    'cap %': rows.map(({ share }) => (share * 100).toFixed(0)),
    'decode tokens/s': rows.map(({ decode }) => decode.generated.toFixed(0)),
    'decode of uncapped %': rows.map(({ decode }) => percent(decode.generated, free.decode.generated)),
    'decode watts': rows.map(({ decode }) => decode.watts.toFixed(0)),
    'decode MHz': rows.map(({ decode }) => (decode.hertz / 1e6).toFixed(0)),
    'prefill tokens/s': rows.map(({ prefill }) => prefill.prompted.toFixed(0)),
    'prefill of uncapped %': rows.map(({ prefill }) => percent(prefill.prompted, free.prefill.prompted)),
    'prefill watts': rows.map(({ prefill }) => prefill.watts.toFixed(0)),
    'prefill MHz': rows.map(({ prefill }) => (prefill.hertz / 1e6).toFixed(0)),
  });
  const capped = rows.find(({ share }) => share === 0.6);
  const decodeLeft = capped.decode.generated / free.decode.generated;
  check('a cap of 60 % costs less than 40 % of decode speed', decodeLeft > 0.6);
  check('and costs prefill more', capped.prefill.prompted / free.prefill.prompted < decodeLeft);
}

/** A step on the GPU of the world, and how much longer it takes where the GPU has half of what it needs. */
function roofline() {
  const gpu = createWorld().gpu(0);
  const model = MODELS.find(({ name }) => name === MODEL);
  const { peakFlopsPerSecond, memoryBytesPerSecond } = gpu.board;
  const cost = (load, compute = 1, bandwidth = 1) => {
    const { flopsPerSecond, memoryBytesPerSecond: bytes } = gpu.speed();
    const speed = {
      flopsPerSecond: (precision) => flopsPerSecond(precision) * compute,
      memoryBytesPerSecond: bytes * bandwidth,
    };
    const { efficiency, split } = ENGINE_KINDS.vllm;
    const gpus = [{ board: gpu.board, speed: () => speed }];
    return stepCost({ model, gpus, split, gpuLayers: model.layers, efficiency }, load);
  };
  const steps = [
    ['decode 1', decodeStep(1, 1000)],
    ['decode 8', decodeStep(8, 1000)],
    ['decode 64', decodeStep(64, 1000)],
    ['prefill 512', prefillStep(512)],
    ['prefill 2048', prefillStep(2048)],
    ['prefill 8192', prefillStep(8192)],
  ].map(([name, load]) => {
    const { seconds, gpuSeconds, flops, memoryBytes } = cost(load);
    return {
      name,
      seconds,
      intensity: flops / memoryBytes,
      computeRatio: flops / gpuSeconds / peakFlopsPerSecond.fp16,
      bandwidthRatio: memoryBytes / gpuSeconds / memoryBytesPerSecond,
      halfCompute: cost(load, 0.5, 1).seconds / seconds,
      halfBandwidth: cost(load, 1, 0.5).seconds / seconds,
    };
  });
  const ridge = peakFlopsPerSecond.fp16 / memoryBytesPerSecond;
  print(
    `Roofline (peaks ${peakFlopsPerSecond.fp16 / 1e12} TFLOP/s and ${memoryBytesPerSecond / 1e12} TB/s, ridge at ${ridge.toFixed(0)} FLOP/byte)`,
    {
      step: steps.map(({ name }) => name),
      ms: steps.map(({ seconds }) => (seconds * 1000).toFixed(1)),
      'FLOP/byte': steps.map(({ intensity }) => intensity.toFixed(1)),
      'of FLOP/s %': steps.map(({ computeRatio }) => (computeRatio * 100).toFixed(0)),
      'of bytes/s %': steps.map(({ bandwidthRatio }) => (bandwidthRatio * 100).toFixed(0)),
      'half the FLOP/s: times': steps.map(({ halfCompute }) => halfCompute.toFixed(2)),
      'half the bytes/s: times': steps.map(({ halfBandwidth }) => halfBandwidth.toFixed(2)),
    },
  );
  const of = (kind) => steps.filter(({ name }) => name.startsWith(kind));
  check(
    'decode is bound by bandwidth, left of the ridge',
    of('decode').every(
      (step) => step.intensity < ridge && step.halfBandwidth > 1.5 && step.halfCompute < 1.1,
    ),
  );
  check(
    'prefill is bound by compute, right of the ridge',
    of('prefill').every(
      (step) => step.intensity > ridge && step.halfCompute > 1.5 && step.halfBandwidth < 1.1,
    ),
  );
}

function heat() {
  const rows = [0, 20, 40, 45, 50].map((rise) => {
    const world = createWorld();
    world.gpu(0).faults.ambientRiseCelsius = rise;
    closedLoop(world, 256, DECODE);
    const figures = measure(world, 300, 20);
    return { rise, ...figures, ...world.gpu(0).state() };
  });
  print('Speed in a room that is warmer (256 clients, 500 tokens out)', {
    'warmer by C': rows.map(({ rise }) => rise),
    'tokens/s': rows.map(({ generated }) => generated.toFixed(0)),
    'core C': rows.map(({ coreCelsius }) => coreCelsius.toFixed(1)),
    MHz: rows.map(({ hertz }) => (hertz / 1e6).toFixed(0)),
    watts: rows.map(({ watts }) => watts.toFixed(0)),
    'slowed down by': rows.map(slowedBy),
  });
  const [cool] = rows;
  const throttled = rows.filter(({ clockEvents }) => clockEvents.includes('sw_thermal_slowdown'));
  check(
    'thermal throttling takes tokens away',
    throttled.length > 0 && throttled.every(({ generated }) => generated < 0.99 * cool.generated),
  );
  check(
    'warm air alone does not',
    rows.every((row) => throttled.includes(row) || Math.abs(row.generated / cool.generated - 1) < 0.02),
  );
}

/** @param {{clockEvents: string[]}} state */
function slowedBy({ clockEvents }) {
  if (clockEvents.includes('hw_thermal_slowdown')) return 'hardware';
  return clockEvents.includes('sw_thermal_slowdown') ? 'software' : '-';
}

/** One H100 and one vLLM that serves, without users. */
function createWorld() {
  const text = `
seed: physics
host:
  name: physics
  gpus: [{ board: h100-sxm, ambient: 26 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - name: chat
    kind: vllm
    port: 8000
    model: ${MODEL}
    gpus: [0]
`;
  const read = parseScenario(text, { boards: Object.values(boards), models: MODELS });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  const world = new SimulatedWorld(read.scenario);
  world.runUntil(START_SECONDS);
  return world;
}

function request({ promptTokens, outputTokens }) {
  requests += 1;
  const whole = { id: `request-${requests}`, model: MODEL, tenant: 'bench', kind: 'completion' };
  return { ...whole, promptTokens, outputTokens, maxTokens: outputTokens };
}

function closedLoop(world, clients, wish) {
  const ask = () => world.engines[0].now.submit(request(wish), { onEnd: ask });
  for (let client = 0; client < clients; client += 1) ask();
}

function openLoop(world, rate, wish) {
  const random = createRandom('open loop');
  const arrive = () => {
    world.engines[0].now.submit(request(wish), {});
    world.scheduler.at(world.now - Math.log(1 - random.next()) / rate, arrive);
  };
  arrive();
}

/** What comes out per second, after the world has settled. */
function measure(world, settleSeconds, seconds) {
  world.runUntil(world.now + settleSeconds);
  const gpu = () => world.gpu(0).state();
  const [before, joules] = [world.engines[0].now.state(), gpu().energyJoules];
  let busySeconds = 0;
  for (let second = 0; second < seconds; second += 0.5) {
    world.runUntil(world.now + 0.5);
    busySeconds += gpu().utilizationRatio / 2;
  }
  const after = world.engines[0].now.state();
  return {
    generated: (after.generatedTokens - before.generatedTokens) / seconds,
    prompted: (after.promptTokens - before.promptTokens) / seconds,
    interTokenSeconds: meanBetween(before, after, 'interTokenSeconds'),
    watts: (gpu().energyJoules - joules) / seconds,
    hertz: gpu().smClockHertz,
    busyRatio: busySeconds / seconds,
  };
}

function meanBetween(before, after, name) {
  const [one, other] = [before.histograms[name], after.histograms[name]];
  return (other.sum - one.sum) / (other.count - one.count);
}

function decodeStep(sequences, context) {
  return {
    sequences,
    tokens: sequences,
    attendedPairs: sequences * (context + 1),
    contextTokens: sequences * context,
    draftTokens: 0,
  };
}

function prefillStep(tokens) {
  const attendedPairs = (tokens * (tokens + 1)) / 2;
  return { sequences: 1, tokens, attendedPairs, contextTokens: 0, draftTokens: 0 };
}

function percent(value, whole) {
  return ((value / whole) * 100).toFixed(0);
}

/** One line per figure, one column per run. */
function print(title, lines) {
  console.log(`\n${title}`);
  for (const [name, cells] of Object.entries(lines)) {
    console.log(`  ${name.padEnd(24)}${cells.map((cell) => String(cell).padStart(14)).join('')}`);
  }
}

function check(law, holds) {
  console.log(`  ${holds ? 'ok    ' : 'BROKEN'} ${law}`);
  if (!holds) process.exitCode = 1;
}
