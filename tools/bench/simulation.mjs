// How fast the simulated host is: a day of worlds in a row, the same bytes for the same seed, and the mock-exporter in real
// time with 64 GPUs, 16 engines and 50 requests a second, while all that it serves is read. Processor time counts: it is
// the same whoever else uses the machine. Ends with 1 where a budget is missed.
//   node tools/bench/simulation.mjs [--hours 24] [--seconds 60] [--mock apps/mock-exporter/dist/main.cjs]
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as pauseFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

import { bundled } from './bundle.mjs';

const BUDGET = { daySeconds: 300, coreRatio: 0.5 };
const PORT = 19503;
const ENGINE_SECONDS = 5;
const TRUTH_SECONDS = 15;
const TICKS_PER_SECOND = 100; // USER_HZ of Linux, the unit of /proc/PID/stat

const { values: settings } = parseArgs({
  options: {
    hours: { type: 'string', default: '24' },
    seconds: { type: 'string', default: '60' },
    mock: { type: 'string', default: 'apps/mock-exporter/dist/main.cjs' },
  },
});
const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);
/** Connections are kept, as Prometheus does. */
const agent = new Agent({ keepAlive: true });

const {
  boards,
  BUILT_IN_SCENARIOS,
  MODELS,
  parseScenario,
  renderExposition,
  SimulatedWorld,
  surfaces,
  truthFamilies,
} = await bundled(`
  export { renderExposition } from './libs/metrics-core/src/index.ts';
  export {
    boards, BUILT_IN_SCENARIOS, MODELS, parseScenario, SimulatedWorld, surfaces, truthFamilies,
  } from './libs/simulation/src/index.ts';
`);

for (const name of ['demo', 'all-engines']) day(name);
sameBytes();
await realTime();

/** @param {string} name of a scenario */
function day(name) {
  const hours = Number(settings.hours);
  const [cpu, begun] = [process.cpuUsage(), performance.now()];
  const { world } = worldOf(BUILT_IN_SCENARIOS[name]);
  world.runUntil(hours * 3600);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (user + system) / 1e6;
  const states = world.engines.map(({ now }) => now.state());
  const broken = world.engines.flatMap(({ now }) => now.audit());
  const steps = sum(states.map(({ iterations }) => iterations));
  const tokens = sum(states.map(({ generatedTokens }) => generatedTokens));
  console.log(
    `${name.padEnd(19)}${hours} h in ${seconds.toFixed(1)} s of cpu, ${((performance.now() - begun) / 1000).toFixed(1)} s of wall clock; ` +
      `${millions(steps)} steps of engines, ${millions(tokens)} tokens, ${((seconds * 1e6) / steps).toFixed(1)} us a step`,
  );
  verdict(`24 h in ${BUDGET.daySeconds} s`, (seconds * 24) / hours < BUDGET.daySeconds);
  verdict('books in order', broken.length === 0);
}

/** All that a world tells, after an hour: at once, and second by second. */
function sameBytes() {
  const digest = (text, stepSeconds) => {
    const { world, scenario } = worldOf(text);
    while (world.now < 3600) world.runUntil(Math.min(world.now + stepSeconds, 3600));
    const told = [
      renderExposition(truthFamilies(world), 'text'),
      ...world.engines.map(({ now }, index) => {
        const { kind, models, settings: engine } = scenario.engines[index];
        const context = { seconds: world.now, epochSeconds: 0, models, maxRunning: engine.maxSequences };
        return surfaces[kind].answer('/metrics', now.state(), context)?.body ?? '';
      }),
    ].join('');
    return { bytes: told.length, hash: createHash('sha256').update(told).digest('hex').slice(0, 16) };
  };
  const text = BUILT_IN_SCENARIOS['all-engines'];
  const [once, again] = [digest(text, 3600), digest(text, 1)];
  const other = digest(text.replace(/^seed: .*$/m, 'seed: another'), 3600);
  console.log(
    `all-engines        after 1 h: ${once.bytes} bytes ${once.hash}, again ${again.hash}, another seed ${other.hash}`,
  );
  verdict('same seed, same bytes', once.hash === again.hash && once.hash !== other.hash);
}

async function realTime() {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-mock-'));
  const mock = spawn(process.execPath, [path.resolve(workspaceRoot, settings.mock)], {
    env: {
      PATH: process.env['PATH'],
      MOCK_EXPORTER_SCENARIO: 'rack',
      MOCK_EXPORTER_PORT: String(PORT),
      MOCK_EXPORTER_LOG_LEVEL: 'error',
      MOCK_EXPORTER_WARM_UP: '10m', // the largest models are loaded then, and what waited for them is answered
      MOCK_EXPORTER_HOST_FOLDER: folder,
    },
    stdio: 'inherit',
  });
  try {
    await untilServing();
    await watch(mock.pid ?? 0, path.join(folder, 'bin/nvidia-smi'));
  } finally {
    const gone = new Promise((resolve) => mock.once('exit', resolve));
    mock.kill();
    await gone;
    agent.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {number} pid @param {string} nvidiaSmi */
async function watch(pid, nvidiaSmi) {
  const seconds = Number(settings.seconds);
  const before = truthOf(await download(PORT));
  const [ticks, begun] = [cpuTicks(pid), performance.now()];
  const milliseconds = [];
  const counts = { engines: 0, truth: 0, smi: 0 };
  for (let round = 0; performance.now() - begun < seconds * 1000; round += 1) {
    for (let port = 9000; port < 9016; port += 1) {
      const asked = performance.now();
      await download(port);
      milliseconds.push(performance.now() - asked);
      counts.engines += 1;
    }
    await run(nvidiaSmi, ['-q', '-x'], { maxBuffer: 64 * 1024 ** 2 });
    counts.smi += 1;
    if (round % (TRUTH_SECONDS / ENGINE_SECONDS) === 0) {
      await download(PORT);
      counts.truth += 1;
    }
    await pauseFor(Math.max(begun + (round + 1) * ENGINE_SECONDS * 1000 - performance.now(), 0));
  }
  const after = truthOf(await download(PORT));
  const wall = (performance.now() - begun) / 1000;
  const cpu = (cpuTicks(pid) - ticks) / TICKS_PER_SECOND;
  milliseconds.sort((one, other) => one - other);
  const passed = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  const offered = passed('offered');
  const served = passed('completed') + passed('cancelled');
  console.log(
    `rack               ${wall.toFixed(0)} s of wall clock, ${passed('time').toFixed(0)} s in the world: ${(offered / passed('time')).toFixed(1)} requests/s, ` +
      `${served} of ${offered} answered or cancelled by their users, ${after.inFlight} in flight (${before.inFlight} before), ` +
      `${passed('gaveUp') + passed('timedOut')} lost`,
  );
  console.log(
    `                   read ${counts.engines} times /metrics of an engine (median ${at(milliseconds, 0.5)} ms, p99 ${at(milliseconds, 0.99)} ms), ` +
      `${counts.truth} times that of the mock, ${counts.smi} times nvidia-smi -q -x; ${memory(pid)} MiB`,
  );
  console.log(
    `cpu                ${cpu.toFixed(1)} s = ${((cpu / passed('time')) * 100).toFixed(1)} % of a core (budget ${BUDGET.coreRatio * 100} %)`,
  );
  verdict('64 GPUs, 16 engines in real time', cpu / passed('time') < BUDGET.coreRatio);
  verdict('no time lost', passed('time') / wall > 0.98);
  const lost =
    passed('gaveUp') + passed('timedOut') + Math.max(after.inFlight - before.inFlight - 0.2 * offered, 0);
  verdict('everything served', lost === 0 && offered > 0);
}

/** Sums over all traffics of what the mock says its world truly is. @param {string} page */
function truthOf(page) {
  const total = (name) =>
    sum([...page.matchAll(new RegExp(`^${name}.* (\\S+)$`, 'gm'))].map(([, value]) => Number(value)));
  const ended = (outcome) => total(`sim_traffic_requests_ended_total\\{.*outcome="${outcome}"`);
  return {
    time: total('sim_time_seconds'),
    offered: total('sim_traffic_requests_offered_total'),
    inFlight: total('sim_traffic_requests_in_flight'),
    completed: ended('completed'),
    cancelled: ended('cancelled'),
    gaveUp: ended('gave_up'),
    timedOut: ended('timed_out'),
  };
}

/** @param {string} text */
function worldOf(text) {
  const read = parseScenario(text, { boards: Object.values(boards), models: MODELS });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return { scenario: read.scenario, world: new SimulatedWorld(read.scenario) };
}

/** @param {number} port @returns {Promise<string>} */
function download(port) {
  return new Promise((resolve, reject) => {
    get(`http://127.0.0.1:${port}/metrics`, { agent }, (response) => {
      let text = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk) => (text += chunk))
        .on('end', () => resolve(text))
        .on('error', reject);
    }).on('error', reject);
  });
}

async function untilServing() {
  for (let tries = 0; tries < 600; tries += 1) {
    if ((await download(PORT).catch(() => '')).includes('sim_time_seconds')) return;
    await pauseFor(100);
  }
  throw new Error('the mock-exporter does not serve: is it built (npx nx build mock-exporter)?');
}

/** @param {number} pid */
function cpuTicks(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** @param {number} pid */
function memory(pid) {
  return (
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024
  ).toFixed(0);
}

/** @param {number[]} sorted @param {number} share */
function at(sorted, share) {
  return (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @param {number} value */
function millions(value) {
  return `${(value / 1e6).toFixed(1)} million`;
}

/** @param {string} what @param {boolean} isMet */
function verdict(what, isMet) {
  console.log(`  ${isMet ? 'ok    ' : 'MISSED'} ${what}`);
  if (!isMet) process.exitCode = 1;
}
