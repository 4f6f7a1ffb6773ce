/**
 * How fast an exposition is read, normalized and written, beside the usual packages: parse-prometheus-text-format to read
 * and prom-client to write. Both go from the text of an answer to the bytes of
 * ours, in turn in one run.
 *
 *   node tools/bench/parse.mjs [--megabytes 5] [--rounds 15] [--check]
 *
 * `--check` ends with 1 when a budget is missed.
 */
import { Buffer } from 'node:buffer';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { bundled } from './bundle.mjs';
import { vllmExposition } from './parse-vllm-exposition.mjs';

const BUDGET = { megabytesPerSecond: 60, timesAsFast: 4 };
/** The baseline takes long: a few rounds of it tell enough. */
const BASELINE_ROUNDS = 5;
const WARM_UP_ROUNDS = 3;

const { values: settings } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '15' },
    check: { type: 'boolean', default: false },
  },
});

const { adapterOf, Answers, normalize, parseExposition, renderExposition } = await bundled(`
  export { parseExposition, renderExposition } from './libs/metrics-core/src/index.ts';
  export { Answers } from './libs/engines/src/answers.ts';
  export { normalize } from './libs/engines/src/normalize.ts';
  export { adapterOf } from './libs/engines/src/registry.ts';
`);
const { parsePrometheusTextFormat, Registry } = packages();

const body = Buffer.from(vllmExposition(Number(settings.megabytes) * 1e6));
const metrics = promClientMetrics(normalized(parseExposition(body.toString('utf8'))));
const rounds = Number(settings.rounds);
const THEIRS = 'parse-prometheus-text-format + prom-client';
const results = { decode: [], parse: [], normalize: [], render: [], encode: [], ours: [], [THEIRS]: [] };
for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
  const ours = runOurs(body);
  if (round >= 0) for (const [step, milliseconds] of Object.entries(ours)) results[step].push(milliseconds);
  if (round >= -1 && round < BASELINE_ROUNDS) {
    const milliseconds = await runTheirs(body, metrics);
    if (round >= 0) results[THEIRS].push(milliseconds);
  }
}
report();

/** One answer through our library, in milliseconds a step. */
function runOurs(bytes) {
  const marks = [performance.now()];
  const mark = (value) => {
    marks.push(performance.now());
    return value;
  };
  const text = mark(bytes.toString('utf8'));
  const parsed = mark(parseExposition(text));
  const families = mark(normalized(parsed));
  const rendered = mark(renderExposition(families, 'text'));
  const out = mark(Buffer.from(rendered));
  if (out.length < bytes.length / 2) throw new Error('much of the exposition is missing');
  const [decode, parse, normalize_, render, encode] = marks.slice(1).map((end, index) => end - marks[index]);
  return { decode, parse, normalize: normalize_, render, encode, ours: parse + normalize_ + render + encode };
}

/** What the llm-exporter makes of vLLM's families: canonical names, labels and units. */
function normalized({ families, issues }) {
  const answers = new Answers();
  answers.addExposition({
    path: '/metrics',
    labels: {},
    families: new Map(families.map((family) => [family.name, family])),
    issues,
  });
  const identity = { server: 'bench', engine: 'vllm' };
  return normalize(adapterOf('vllm'), identity, { answers, detectedBy: 'bench', errors: [] }).families;
}

/**
 * The same by the usual packages, in milliseconds. The parser runs histograms that differ in their labels into one, so
 * what it reads cannot be written: prom-client gets the right series instead, made ready beforehand, outside the time.
 */
async function runTheirs(bytes, metrics) {
  const text = bytes.toString('utf8');
  const start = performance.now();
  if (parsePrometheusTextFormat(text).length === 0) throw new Error('nothing was read');
  const registry = new Registry();
  for (const metric of metrics) registry.registerMetric(metric);
  const rendered = await registry.metrics();
  const out = Buffer.from(rendered);
  const milliseconds = performance.now() - start;
  if (out.length < bytes.length / 2) throw new Error('much of the exposition is missing');
  return milliseconds;
}

/** Families as prom-client takes them from a metric of one's own. */
function promClientMetrics(families) {
  return families.map(({ name, help, type, points }) => {
    const values = points.flatMap((point) => promClientValues(name, point));
    return { name, get: () => Promise.resolve({ name, help, type, values }) };
  });
}

function promClientValues(name, { labels, value, bounds, counts, sum, count }) {
  if (bounds === undefined) return [{ labels, value }];
  const buckets = bounds.map((bound, index) => {
    const le = bound === Infinity ? '+Inf' : bound;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: counts[index] };
  });
  const totals = [
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
  return [...buckets, ...totals];
}

function report() {
  const ours = median(results.ours);
  const theirs = median(results[THEIRS]);
  const megabytesPerSecond = body.length / 1e3 / ours;
  const timesAsFast = theirs / ours;
  console.log(`exposition ${(body.length / 1e6).toFixed(2)} MB, node ${process.version}, ${rounds} rounds`);
  console.log(`${''.padEnd(44)}       median         best         MB/s`);
  for (const [name, milliseconds] of Object.entries(results)) {
    const middle = median(milliseconds);
    const cells = [
      `${middle.toFixed(1)} ms`,
      `${Math.min(...milliseconds).toFixed(1)} ms`,
      (body.length / 1e3 / middle).toFixed(1),
    ];
    console.log(name.padEnd(44), ...cells.map((cell) => cell.padStart(12)));
  }
  const verdict = (isMet) => (isMet ? 'ok' : 'MISSED');
  const isFast = megabytesPerSecond >= BUDGET.megabytesPerSecond;
  const isFaster = timesAsFast >= BUDGET.timesAsFast;
  console.log(
    `budget ${BUDGET.megabytesPerSecond} MB/s: ${megabytesPerSecond.toFixed(1)} ${verdict(isFast)}`,
  );
  console.log(`budget ${BUDGET.timesAsFast} x as fast: ${timesAsFast.toFixed(1)} ${verdict(isFaster)}`);
  if (settings.check && !(isFast && isFaster)) process.exitCode = 1;
}

function median(numbers) {
  const sorted = numbers.toSorted((low, high) => low - high);
  return sorted[Math.floor(sorted.length / 2)];
}

function packages() {
  const require = createRequire(import.meta.url);
  const { Registry } = require('prom-client');
  const parser = require('parse-prometheus-text-format');
  return { Registry, parsePrometheusTextFormat: parser.default ?? parser };
}
