import { readFileSync } from 'node:fs';
import path from 'node:path';

import { loadSettings } from '@llm-monitor/config';
import { parseTranscript, readTargets, type Candidates } from '@llm-monitor/engines';
import { parseExposition, type MetricFamily } from '@llm-monitor/metrics-core';
import { pino } from 'pino';

import { startExporter, type RunningExporter } from './exporter.ts';
import { settings, type Settings } from './settings.ts';

/**
 * What the tests of this app share: the real exporter on a free port, its log as records, and a client. Not part of
 * the app.
 */
export interface TestExporter {
  readonly exporter: RunningExporter;
  readonly url: string;
  readonly records: readonly Readonly<Record<string, unknown>>[];
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Response>;
  /** The families of `/metrics`. */
  scrape(headers?: Readonly<Record<string, string>>): Promise<Scrape>;
  stop(): Promise<void>;
}

export interface Scrape {
  readonly text: string;
  readonly families: readonly MetricFamily[];
  /** The value of a series by its name and some of its labels; undefined when there is none. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined;
}

/** Settings as the environment would give them, names without the prefix. Throws when they are wrong. */
function testSettings(variables: Readonly<Record<string, string>>): Settings {
  const env = Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [`LLM_EXPORTER_${name}`, value]),
  );
  const loaded = loadSettings(settings, { env, argv: [], readFile: (file) => readFileSync(file, 'utf8') });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.values;
}

/** The exporter on a free port, discovery off unless the variables or `discover` say otherwise. */
export async function startTestExporter(
  variables: Readonly<Record<string, string>>,
  discover?: () => Promise<Candidates>,
): Promise<TestExporter> {
  const values = testSettings({
    PORT: '0',
    ...(discover === undefined ? { DISCOVERY: 'false', PROBE_ALLOW: 'http://unused.invalid' } : {}),
    ...variables,
  });
  const targets = readTargets(values, (file) => readFileSync(file, 'utf8'));
  if (!targets.ok) throw new Error(targets.problems.join('; '));
  const records: Record<string, unknown>[] = [];
  const exporter = await startExporter({
    settings: values,
    configured: targets.targets,
    log: pino(
      { level: 'debug', base: {} },
      { write: (line) => records.push(JSON.parse(line) as Record<string, unknown>) },
    ),
    ...(discover === undefined ? {} : { discover }),
  });
  const { url } = exporter.listening;
  const get: TestExporter['get'] = (path, headers = {}) => fetch(`${url}${path}`, { headers });
  return {
    exporter,
    url,
    records,
    get,
    scrape: async (headers) => {
      const response = await get('/metrics', headers);
      if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
      return readScrape(await response.text());
    },
    stop: () => exporter.stop(1),
  };
}

export function readScrape(text: string): Scrape {
  const { families } = parseExposition(text);
  return {
    text,
    families,
    value: (name, labels = {}) => {
      const family = families.find((each) => each.name === name);
      for (const point of family?.points ?? []) {
        const fits = Object.entries(labels).every(([label, value]) => point.labels[label] === value);
        if (fits && 'value' in point) return point.value;
      }
      return undefined;
    },
  };
}

/** The answers of a fixture of libs/engines, for a fake server: by path, 404 for the rest. */
export function fixtureAnswers(name: string): Record<string, FixtureAnswer> {
  const file = path.resolve(__dirname, '../../../libs/engines/fixtures', name);
  return Object.fromEntries(
    parseTranscript(readFileSync(file, 'utf8')).map(({ path, ...answer }) => [path, answer]),
  );
}

export interface FixtureAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}
