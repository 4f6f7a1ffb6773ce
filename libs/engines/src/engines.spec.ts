import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { renderExposition } from '@llm-monitor/metrics-core';
import { promtoolPath, promtoolReason, runPromtoolCheck } from '@llm-monitor/testing';

import { rulesOf } from './apply-rules.ts';
import { CORE_METRICS, LABEL_VALUES, llmFamilies, type LlmMetricName } from './families.ts';
import { readSaved, type SavedReading } from './read-saved.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from './registry.ts';
import { SAFE_PATHS } from './safe-paths.ts';

/** Goldens are rewritten with UPDATE_GOLDENS=1; their diff is then read before it is committed. */
const updateGoldens = process.env['UPDATE_GOLDENS'] === '1';
const fixturesDirectory = path.resolve(__dirname, '../fixtures');
const fixtureFiles = readdirSync(fixturesDirectory).filter((file) => !file.endsWith('.golden'));

/** Fixtures are named after their engine and its version: `vllm-0.11.http`, `vllm-0.4-v0.prom`. */
function engineOf(file: string): EngineName | undefined {
  return ENGINE_NAMES.find((name) => file.startsWith(`${name}-`) || file.startsWith(`${name}.`));
}

function readFixture(file: string): Promise<SavedReading> {
  return readSaved(readFileSync(path.join(fixturesDirectory, file), 'utf8'), file);
}

/** `all` is for engines that do not split. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  ...LABEL_VALUES,
  finish_reason: [...LABEL_VALUES.finish_reason, 'all'],
};

/** What a reviewer reads: the canonical exposition, then what the engine owed and what was wrong with its answer. */
function goldenOf({ engine, detectedBy, reading }: SavedReading): string {
  return [
    `# engine ${engine}, by ${detectedBy}; state ${reading.state}; models ${reading.models.join(', ') || 'none'}`,
    `# missing: ${reading.missing.join(', ') || 'nothing'}`,
    `# issues: ${reading.issues.map(({ kind, count }) => `${kind} x${count}`).join(', ') || 'none'}`,
    renderExposition(reading.families, 'text'),
  ].join('\n');
}

describe('the table of engines', () => {
  it('has a fixture with a golden for every engine, and no file of an unknown one', () => {
    expect(ENGINE_NAMES.filter((name) => !fixtureFiles.some((file) => engineOf(file) === name))).toEqual([]);
    expect(fixtureFiles.filter((file) => engineOf(file) === undefined)).toEqual([]);
    expect(fixtureFiles.filter((file) => !existsSync(goldenPath(file)) && !updateGoldens)).toEqual([]);
    const goldens = readdirSync(fixturesDirectory).filter((file) => file.endsWith('.golden'));
    expect(
      goldens.filter((file) => !fixtureFiles.some((fixture) => goldenPath(fixture).endsWith(`/${file}`))),
    ).toEqual([]);
  });

  it('tries the generic openai last', () => {
    expect(ENGINE_NAMES.at(-1)).toBe('openai');
  });

  it('has an adapter file for every engine, and an engine for every adapter file', () => {
    const files = readdirSync(path.join(__dirname, 'adapters')).filter((file) => !file.endsWith('.spec.ts'));
    expect(files.map((file) => path.basename(file, '.ts')).sort()).toEqual([...ENGINE_NAMES].sort());
  });

  it.each(ENGINE_NAMES)('%s asks only paths that are known to be safe', (name) => {
    const { requests, health, fingerprints } = adapterOf(name);
    const paths = [
      ...requests.map((request) => (typeof request.path === 'string' ? request.path : request.name)),
      ...(health === undefined ? [] : [health.path]),
      ...fingerprints.flatMap((fingerprint) => ('path' in fingerprint ? [fingerprint.path] : [])),
    ];
    expect({
      notInSafePaths: paths.filter((each) => !(SAFE_PATHS as readonly (string | undefined)[]).includes(each)),
    }).toEqual({ notInSafePaths: [] });
  });

  it.each(ENGINE_NAMES)('%s gives each core metric or says that it lacks it, never both', async (name) => {
    const { families, lacks } = adapterOf(name);
    const readings = await Promise.all(
      fixtureFiles.filter((file) => engineOf(file) === name).map(readFixture),
    );
    const parsed = readings.flatMap(({ reading }) => reading.families.map((family) => family.name));
    const given = [...Object.keys(families), ...lacks, ...parsed];
    expect({ neitherGivenNorLacking: CORE_METRICS.filter((metric) => !given.includes(metric)) }).toEqual({
      neitherGivenNorLacking: [],
    });
    for (const metric of lacks) expect([metric, Object.hasOwn(families, metric)]).toEqual([metric, false]);
    expect(lacks.filter((metric) => !CORE_METRICS.includes(metric))).toEqual([]);
  });

  it.each(ENGINE_NAMES)('%s puts only declared labels on its metrics', (name) => {
    const { families } = adapterOf(name);
    for (const [metric, rules] of Object.entries(families)) {
      const declared: readonly string[] = llmFamilies[metric as LlmMetricName].labels;
      const used = rulesOf(rules).flatMap((rule) => [
        ...Object.keys(rule.labels ?? {}),
        ...Object.keys(rule.set ?? {}),
      ]);
      expect([metric, used.filter((label) => !declared.includes(label))]).toEqual([metric, []]);
    }
  });
});

describe('fixtures', () => {
  it.each(fixtureFiles)('%s is recognized by itself and normalized as reviewed', async (file) => {
    const saved = await readFixture(file);
    expect(saved.engine).toBe(engineOf(file));
    const golden = goldenOf(saved);
    if (updateGoldens) writeFileSync(goldenPath(file), golden);
    expect(golden).toBe(readFileSync(goldenPath(file), 'utf8'));
  });

  it.each(fixtureFiles)('%s gives only declared metrics, of their declared type and labels', async (file) => {
    const { reading } = await readFixture(file);
    for (const family of reading.families) {
      const declared = llmFamilies[family.name as LlmMetricName];
      expect([family.name, family.type]).toEqual([family.name, declared.type]);
      const allowed: readonly string[] = ['server', 'engine', ...declared.labels];
      const undeclared = family.points
        .flatMap(({ labels }) => Object.keys(labels))
        .filter((label) => !allowed.includes(label));
      expect([family.name, undeclared]).toEqual([family.name, []]);
    }
  });

  it.each(fixtureFiles)('%s calls the ends and errors of requests by our names', async (file) => {
    const { reading } = await readFixture(file);
    const labels = reading.families.flatMap(({ points }) =>
      points.flatMap((point) => Object.entries(point.labels)),
    );
    const own = labels.filter(([name, value]) => KINDS[name]?.includes(value) === false);
    expect(own).toEqual([]);
  });

  const withPromtool = promtoolPath() === undefined ? it.skip : it;

  withPromtool(`pass promtool, all of them (else ${promtoolReason})`, async () => {
    for (const file of fixtureFiles) {
      const { reading } = await readFixture(file);
      expect([file, runPromtoolCheck(renderExposition(reading.families, 'text'))]).toEqual([
        file,
        { ok: true, output: '' },
      ]);
    }
  });
});

function goldenPath(file: string): string {
  return path.join(fixturesDirectory, `${file.replace(/\.(prom|http|json)$/, '')}.golden`);
}
