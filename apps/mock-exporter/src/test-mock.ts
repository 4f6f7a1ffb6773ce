import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loadSettings } from '@llm-monitor/config';
import { createLogger } from '@llm-monitor/exporter-http';

import { loadScenario } from './load-scenario.ts';
import { startMock, type RunningMock } from './mock.ts';
import { settings } from './settings.ts';

/** A mock for tests on ports that the system chooses; its folder goes with it. */
export interface TestMock extends RunningMock {
  readonly folder: string;
  urlOf(engine: string): string;
}

/**
 * Starts a mock at twenty times the speed of this machine.
 * @param more the bundled nvidia-smi, without which the mock has no host folder; settings by their names
 * @throws Error where the scenario has problems
 */
export async function startTestMock(
  scenario: string,
  more: { readonly smiScript?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<TestMock> {
  const { smiScript, env } = more;
  const folder = mkdtempSync(join(tmpdir(), 'mock-host-'));
  const loaded = loadScenario('test.yaml', () => scenario);
  if (!loaded.ok) throw new Error(loaded.message);
  const read = loadSettings(settings, {
    env: {
      MOCK_EXPORTER_PORT: '0',
      MOCK_EXPORTER_WARM_UP: '60s',
      MOCK_EXPORTER_SPEED: '20',
      ...(smiScript === undefined ? {} : { MOCK_EXPORTER_HOST_FOLDER: folder }),
      ...env,
    },
    argv: [],
    readFile: () => '',
  });
  if (!read.ok) throw new Error(JSON.stringify(read));
  const mock = await startMock({
    settings: read.values,
    scenario: loaded.scenario,
    smiScript: smiScript ?? '',
    log: createLogger({ app: 'mock-exporter', level: 'fatal' }),
  });
  const urlOf = (name: string): string => mock.engines.find((engine) => engine.name === name)?.url ?? '';
  const stop = async (graceSeconds: number): Promise<void> => {
    await mock.stop(graceSeconds);
    rmSync(folder, { recursive: true, force: true });
  };
  return { ...mock, folder, urlOf, stop };
}
