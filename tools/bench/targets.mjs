// Budget of the llm-exporter: 200 local targets of about 60 KB, one of them hung, read as Prometheus would every 15 s.
// Prints the share of a core, the memory and the time of /metrics, beside a plain download of the same pages in the
// same run. The targets are a process of their own, so that only the exporter is counted.
//   node tools/bench/targets.mjs [--targets 200] [--scrapes 20] [--pause 2]
import { fork, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import { setTimeout as pauseFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const EXPORTER = `${workspaceRoot}apps/llm-exporter/dist/main.cjs`;
const SCRAPE_INTERVAL_SECONDS = 15;
const TICKS_PER_SECOND = 100; // USER_HZ of Linux, the unit of /proc/PID/stat

if (process.argv.includes('--serve')) serveTargets();
else await main();

/** @param {string} name @param {number} standard */
function option(name, standard) {
  const index = process.argv.indexOf(`--${name}`);
  return index < 0 ? standard : Number(process.argv[index + 1]);
}

async function main() {
  const count = option('targets', 200);
  const scrapes = option('scrapes', 20);
  const targets = fork(fileURLToPath(import.meta.url), ['--serve', '--targets', String(count)]);
  const { ports, bytes } = /** @type {{ports: number[], bytes: number}} */ (
    await new Promise((resolve) => targets.once('message', resolve))
  );
  const exporter = spawn(process.execPath, [EXPORTER], {
    env: {
      PATH: process.env['PATH'],
      LLM_EXPORTER_PORT: '19502',
      LLM_EXPORTER_DISCOVERY: 'false',
      LLM_EXPORTER_LOG_LEVEL: 'error',
      LLM_EXPORTER_TARGETS: ports.map((port, index) => `t${index}=vllm+http://127.0.0.1:${port}`).join(','),
    },
    stdio: 'inherit',
  });
  try {
    await untilServing('http://127.0.0.1:19502/-/healthy');
    await measure({ exporter: exporter.pid ?? 0, ports, bytes, scrapes, pause: option('pause', 2) });
  } finally {
    exporter.kill();
    targets.kill();
  }
}

/** @param {{exporter: number, ports: number[], bytes: number, scrapes: number, pause: number}} run */
async function measure({ exporter, ports, bytes, scrapes, pause }) {
  // Warm up: the first scrapes compile, and find out that one target hangs.
  for (let round = 0; round < 3; round += 1) await scrape();
  const ticks = cpuTicks(exporter);
  const begun = process.hrtime.bigint();
  const seconds = [];
  let page = 0;
  for (let round = 0; round < scrapes; round += 1) {
    const result = await scrape();
    seconds.push(result.seconds);
    page = result.bytes;
    await pauseFor(pause * 1000);
  }
  const wall = Number(process.hrtime.bigint() - begun) / 1e9;
  const cpuPerScrape = (cpuTicks(exporter) - ticks) / TICKS_PER_SECOND / scrapes;
  const plain = await plainDownload(ports.slice(1), 5);
  const memory = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${exporter}/status`, 'utf8'))?.[1]) / 1024;
  seconds.sort((one, other) => one - other);
  const share = (cpuPerScrape / SCRAPE_INTERVAL_SECONDS) * 100;
  console.log(
    `targets            ${ports.length}, ${(bytes / 1024).toFixed(0)} KiB each, one hung; ${scrapes} scrapes in ${wall.toFixed(0)} s`,
  );
  console.log(
    `/metrics           ${(page / 1024 / 1024).toFixed(1)} MiB; median ${at(seconds, 0.5)} ms, p99 ${at(seconds, 0.99)} ms`,
  );
  console.log(
    `cpu                ${cpuPerScrape.toFixed(3)} s a scrape = ${share.toFixed(1)} % of a core at ${SCRAPE_INTERVAL_SECONDS} s (budget 15 %)`,
  );
  console.log(`memory             ${memory.toFixed(0)} MiB at its peak (budget 180 MiB)`);
  console.log(
    `plain download     ${plain.toFixed(3)} s of cpu for the same pages: ratio ${(cpuPerScrape / plain).toFixed(1)}`,
  );
}

/** Milliseconds at a share of sorted seconds. @param {number[]} sorted @param {number} share */
function at(sorted, share) {
  return ((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0) * 1000).toFixed(0);
}

async function scrape() {
  const begun = process.hrtime.bigint();
  const text = await download('http://127.0.0.1:19502/metrics', {
    'X-Prometheus-Scrape-Timeout-Seconds': '10',
  });
  const up = [...text.matchAll(/^llm_up\{[^}]*\} 1$/gm)].length;
  const down = [...text.matchAll(/^llm_up\{[^}]*\} 0$/gm)].length;
  if (down !== 1) throw new Error(`${up} targets up, ${down} down: one and only one should be`);
  return { seconds: Number(process.hrtime.bigint() - begun) / 1e9, bytes: text.length };
}

/** What it costs this process to fetch every page and drop it. @param {number[]} ports @param {number} rounds */
async function plainDownload(ports, rounds) {
  const before = process.cpuUsage();
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(ports.map((port) => download(`http://127.0.0.1:${port}/metrics`)));
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6 / rounds;
}

/** @param {string} url @param {Record<string, string>} [headers] @returns {Promise<string>} */
function download(url, headers = {}) {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, (response) => {
      let text = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk) => (text += chunk))
        .on('end', () => resolve(text))
        .on('error', reject);
    }).on('error', reject);
  });
}

/** @param {string} url */
async function untilServing(url) {
  for (let tries = 0; tries < 100; tries += 1) {
    const serving = await download(url).then(
      () => true,
      () => false,
    );
    if (serving) return;
    await pauseFor(100);
  }
  throw new Error('the exporter does not serve: is it built (npx nx build llm-exporter)?');
}

/** @param {number} pid */
function cpuTicks(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

function serveTargets() {
  const page = vllmPage();
  const ports = [];
  const wanted = option('targets', 200);
  for (let index = 0; index < wanted; index += 1) {
    const server = createServer((request, response) => {
      if (index === 0) return; // hung: accepts, and never answers
      if (request.url === '/metrics')
        return void response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(page);
      if (request.url === '/version') return void response.end('{"version":"0.11.0"}');
      if (request.url === '/v1/models')
        return void response.end(
          '{"object":"list","data":[{"id":"m","owned_by":"vllm","max_model_len":8192}]}',
        );
      return void response.writeHead(request.url === '/health' ? 200 : 404).end();
    });
    server.listen(0, '127.0.0.1', () => {
      ports.push(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
      if (ports.length === wanted) process.send?.({ ports, bytes: page.length });
    });
  }
}

/** A page as vLLM prints it, of about 60 KB: scalars and latency histograms for a few models. */
function vllmPage() {
  const lines = [];
  const bounds = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
    640, 2560,
  ];
  const histograms = [
    'time_to_first_token_seconds',
    'inter_token_latency_seconds',
    'request_time_per_output_token_seconds',
    'e2e_request_latency_seconds',
    'request_queue_time_seconds',
    'request_prefill_time_seconds',
    'request_decode_time_seconds',
    'request_prompt_tokens',
    'request_generation_tokens',
    'iteration_tokens_total',
  ];
  const scalars = {
    num_requests_running: 'gauge',
    num_requests_waiting: 'gauge',
    kv_cache_usage_perc: 'gauge',
    num_preemptions_total: 'counter',
    prompt_tokens_total: 'counter',
    generation_tokens_total: 'counter',
    prefix_cache_queries_total: 'counter',
    prefix_cache_hits_total: 'counter',
  };
  const labels = ['0', '1'].map(
    (engine) => `engine="${engine}",model_name="meta-llama/Llama-3.1-8B-Instruct"`,
  );
  for (const [name, type] of Object.entries(scalars)) {
    lines.push(`# HELP vllm:${name} As vLLM says.`, `# TYPE vllm:${name} ${type}`);
    for (const label of labels)
      lines.push(`vllm:${name}{${label}} ${type === 'gauge' ? '0.25' : '123456.0'}`);
  }
  for (const finished of ['stop', 'length', 'abort']) {
    for (const label of labels)
      lines.push(`vllm:request_success_total{${label},finished_reason="${finished}"} 10.0`);
  }
  for (const name of histograms) {
    lines.push(`# HELP vllm:${name} As vLLM says.`, `# TYPE vllm:${name} histogram`);
    for (const label of labels) {
      for (const [index, bound] of [...bounds, '+Inf'].entries())
        lines.push(`vllm:${name}_bucket{${label},le="${bound}"} ${index * 17}.0`);
      lines.push(`vllm:${name}_sum{${label}} 4711.25`, `vllm:${name}_count{${label}} 391.0`);
    }
  }
  return `${lines.join('\n')}\n`;
}
