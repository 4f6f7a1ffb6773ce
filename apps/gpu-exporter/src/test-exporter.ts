import { readFileSync } from 'node:fs';

import { loadSettings } from '@llm-monitor/config';
import { parseExposition, type MetricFamily } from '@llm-monitor/metrics-core';
import { pino } from 'pino';

import { startExporter, type RunningExporter } from './exporter.ts';
import { settings, type Settings } from './settings.ts';
import { createTestClock, type FakeWatch } from './test-gpus.ts';

/**
 * What the tests of this app share: the real exporter on a free port over a watch of their own, its log as records, and
 * a client. Not part of the app.
 */
export interface TestExporter {
  readonly exporter: RunningExporter;
  readonly url: string;
  readonly clock: ReturnType<typeof createTestClock>;
  readonly records: readonly Readonly<Record<string, unknown>>[];
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Response>;
  /** The families of `/metrics`, and the text they were read from. */
  readonly scrape: (
    path?: string,
  ) => Promise<{ readonly text: string; readonly families: readonly MetricFamily[] }>;
}

/** Settings as the environment would give them, names without the prefix. Throws when they are wrong. */
function testSettings(variables: Readonly<Record<string, string>>): Settings {
  const env = Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [`GPU_EXPORTER_${name}`, value]),
  );
  const loaded = loadSettings(settings, { env, argv: [], readFile: (file) => readFileSync(file, 'utf8') });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.values;
}

/** The exporter on a free port. */
export async function startTestExporter(
  watch: FakeWatch,
  variables: Readonly<Record<string, string>> = {},
): Promise<TestExporter> {
  const records: Record<string, unknown>[] = [];
  const clock = createTestClock();
  const exporter = await startExporter({
    settings: testSettings({ PORT: '0', ...variables }),
    processFacts: { script: 'main.cjs', searchPath: undefined, stateDirectory: undefined },
    log: pino(
      { level: 'debug', base: {} },
      { write: (line) => records.push(JSON.parse(line) as Record<string, unknown>) },
    ),
    clock,
    startWatch: () => watch,
  });
  const { url } = exporter.listening;
  const get: TestExporter['get'] = (path, headers = {}) => fetch(`${url}${path}`, { headers });
  return {
    exporter,
    url,
    clock,
    records,
    get,
    scrape: async (path = '/metrics') => {
      const response = await get(path);
      const text = await response.text();
      if (response.status !== 200) throw new Error(`${response.status} ${text}`);
      return { text, families: parseExposition(text).families };
    },
  };
}
