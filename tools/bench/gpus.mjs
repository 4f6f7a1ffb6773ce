// Budgets of the gpu-exporter with 8 GPUs of a fake driver: time of /metrics while the driver answers and while it
// hangs, processor time at 1 and 10 samples a second, memory of both processes, and whether it grows.
//   node tools/bench/gpus.mjs [--requests 1000] [--warm-up 2000] [--seconds 30] [--growth 60]
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as pauseFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { buildSync } from 'esbuild';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const EXPORTER = join(workspaceRoot, 'apps/gpu-exporter/dist/main.cjs');
const PORT = 19501;
const PLAIN_PORT = 19502;
/** Arguments: port, bytes of each answer. */
const PLAIN_SERVER = `
  const body = Buffer.alloc(Number(process.argv[2]), 'a');
  require('node:http').createServer((request, response) => {
    response.setHeader('Content-Length', body.length);
    response.end(body);
  }).listen(Number(process.argv[1]), '127.0.0.1');`;
const TICKS_PER_SECOND = 100; // USER_HZ of Linux, the unit of /proc/PID/stat
const SETTLE_SECONDS = 5;

/** @param {string} name @param {number} standard */
function option(name, standard) {
  const index = process.argv.indexOf(`--${name}`);
  return index < 0 ? standard : Number(process.argv[index + 1]);
}

/** A connection is kept, as Prometheus does. */
const agent = new Agent({ keepAlive: true });

const folder = mkdtempSync(join(tmpdir(), 'bench-gpus-'));
try {
  await main();
} finally {
  agent.destroy();
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const fake = loadFake();
  const library = fake.buildFakeNvml();
  if (library === undefined) throw new Error('the fake driver needs a C compiler: install gcc');
  const hostFile = join(folder, 'host.json');
  const host = fake.h100Host(8);
  const requests = option('requests', 1000);

  for (const sampleRate of [0, 1, 10]) {
    fake.writeFakeHost(hostFile, host);
    await withExporter(
      { library, hostFile, env: { GPU_EXPORTER_SAMPLE_RATE: String(sampleRate) } },
      async (pid) => {
        const seconds = option('seconds', 30);
        const before = processes(pid).map(cpuTicks);
        await pauseFor(seconds * 1000);
        const after = processes(pid).map(cpuTicks);
        const share = after.map(
          (ticks, index) => ((ticks - (before[index] ?? 0)) / TICKS_PER_SECOND / seconds) * 100,
        );
        console.log(
          `cpu                1 reading and ${sampleRate} samples a second: ${sum(share).toFixed(2)} % of a core ` +
            `(parent ${share[0]?.toFixed(2)}, reader ${share[1]?.toFixed(2)}; budget 1 %)`,
        );
        if (sampleRate !== 10) return;
        console.log(`memory             ${memory(pid)} (budget 110 MiB together)`);
        console.log(`a reading          ${await readingMilliseconds()} ms for 8 GPUs through NVML's fake`);
        console.log(`/metrics           ${await requestTimes(requests)} while the driver answers`);
        fake.writeFakeHost(hostFile, { ...host, hang: { functions: 'all' } });
        await until(async () => (await scrape()).includes('gpu_exporter_backend_up{backend="nvml"} 0'));
        console.log(
          `/metrics           ${await requestTimes(requests)} while the driver hangs (budget p99 5 ms)`,
        );
        fake.writeFakeHost(hostFile, host);
        const begun = performance.now();
        await until(async () => (await scrape()).includes('gpu_exporter_backend_up{backend="nvml"} 1'));
        console.log(
          `recovery           ${((performance.now() - begun) / 1000).toFixed(1)} s after the hang ended`,
        );
      },
    );
  }

  fake.writeFakeHost(hostFile, host);
  await withExporter({ library, hostFile, env: { GPU_EXPORTER_INTERVAL: '0.1s' } }, growth);
}

/** An hour's worth of scrapes and readings in short. @param {number} pid */
async function growth(pid) {
  const seconds = option('growth', 60);
  const steps = 6;
  const figures = [];
  let scrapes = 0;
  for (let step = 0; step < steps; step += 1) {
    const end = performance.now() + (seconds / steps) * 1000;
    while (performance.now() < end) {
      await scrape();
      scrapes += 1;
      await pauseFor(20);
    }
    figures.push(sum(processes(pid).map(pssMebibytes)).toFixed(1));
  }
  console.log(
    `growth             ${figures.join(', ')} MiB over ${scrapes} scrapes and about ${seconds * 10} readings ` +
      `(an hour at 15 s has 240 scrapes and 3600 readings)`,
  );
}

/** The test instrument is TypeScript: bundled here, as tests do. */
function loadFake() {
  const outfile = join(workspaceRoot, 'tools/fake-nvml/test-output/bench-fake-nvml.cjs');
  buildSync({
    entryPoints: [join(workspaceRoot, 'tools/fake-nvml/src/index.ts')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['koffi'],
    outfile,
  });
  return createRequire(import.meta.url)(outfile);
}

/**
 * @param {{library: string, hostFile: string, env: Record<string, string>}} run
 * @param {(pid: number) => Promise<void>} measure
 */
async function withExporter({ library, hostFile, env }, measure) {
  const exporter = spawn(process.execPath, [EXPORTER], {
    env: {
      PATH: process.env['PATH'],
      NVIDIA_FAKE_CONFIG: hostFile,
      GPU_EXPORTER_PORT: String(PORT),
      GPU_EXPORTER_BACKEND: 'nvml',
      GPU_EXPORTER_NVML_LIBRARY: library,
      GPU_EXPORTER_LOG_LEVEL: 'error',
      ...env,
    },
    stdio: 'inherit',
  });
  try {
    await until(async () => (await scrape().catch(() => '')).includes('gpu_up{'));
    await pauseFor(SETTLE_SECONDS * 1000);
    await measure(exporter.pid ?? 0);
  } finally {
    const gone = new Promise((resolve) => exporter.once('exit', resolve));
    exporter.kill();
    await gone;
  }
}

/**
 * Turn about with a server of the same machine that only sends as many bytes, which shows what the machine can do.
 * @param {number} count
 */
async function requestTimes(count) {
  const bytes = Buffer.byteLength(await scrape());
  const server = spawn(process.execPath, ['-e', PLAIN_SERVER, String(PLAIN_PORT), String(bytes)]);
  try {
    await until(async () => (await scrape(PLAIN_PORT).catch(() => '')).length === bytes);
    /** @type {[number, number[]][]} */
    const times = [
      [PORT, []],
      [PLAIN_PORT, []],
    ];
    // An exporter runs for weeks: its code has long been compiled.
    const warmUp = option('warm-up', 2000);
    for (let index = -warmUp; index < count; index += 1) {
      for (const [port, milliseconds] of times) {
        const begun = performance.now();
        await scrape(port);
        if (index >= 0) milliseconds.push(performance.now() - begun);
      }
    }
    const [ours, plain] = times.map(([, milliseconds]) => {
      milliseconds.sort((one, other) => one - other);
      const at = (/** @type {number} */ share) => milliseconds[Math.floor(share * (count - 1))]?.toFixed(1);
      return `median ${at(0.5)} ms, p99 ${at(0.99)} ms`;
    });
    return `${ours} (a server that only sends the same ${Math.round(bytes / 1000)} KB: ${plain}) over ${count}`;
  } finally {
    server.kill();
  }
}

async function readingMilliseconds() {
  const seconds = /^llm_monitor_collector_duration_seconds\{collector="nvml"\} (\S+)$/m.exec(
    await scrape(),
  )?.[1];
  return (Number(seconds) * 1000).toFixed(1);
}

/** The exporter and the readers it started. @param {number} pid */
function processes(pid) {
  const children = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return statFields(Number(name))[1] === String(pid);
    } catch {
      return false; // ended meanwhile
    }
  });
  return [pid, ...children.map(Number)];
}

/** Fields of /proc/PID/stat behind the program's name: state, parent, … @param {number} pid */
function statFields(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** @param {number} pid */
function cpuTicks(pid) {
  const fields = statFields(pid);
  return Number(fields[11]) + Number(fields[12]);
}

/** @param {number} pid */
function pssMebibytes(pid) {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024;
}

/** @param {number} pid */
function memory(pid) {
  const each = processes(pid).map(pssMebibytes);
  return `${sum(each).toFixed(0)} MiB of PSS (parent ${each[0]?.toFixed(0)}, reader ${each[1]?.toFixed(0)})`;
}

/** @param {number[]} values */
function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** @returns {Promise<string>} */
function scrape(port = PORT) {
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

/** @param {() => Promise<boolean>} condition */
async function until(condition) {
  for (let tries = 0; tries < 1200; tries += 1) {
    if (await condition()) return;
    await pauseFor(50);
  }
  throw new Error('what was waited for did not come within a minute');
}
