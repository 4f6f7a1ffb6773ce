import { readFileSync } from 'node:fs';
import path from 'node:path';

import { loadSettings } from '@llm-monitor/config';
import { parseTranscript, readTargets, type Candidate } from '@llm-monitor/engines';
import { pino } from 'pino';

import type { PageServer, PageState } from './describe-page.ts';
import { startMonitor, type LookAround, type RunningMonitor } from './monitor.ts';
import type { StartGpus } from './monitored-gpus.ts';
import { settings, type Settings } from './settings.ts';

/** What the tests of this app share: the real monitor on a free port, and what it tells. Not part of the app. */
export interface TestMonitor {
  readonly monitor: RunningMonitor;
  readonly get: (path: string) => Promise<Response>;
  readonly state: () => Promise<PageState>;
  /** The first state that the page is told in which this holds, which may be still to come. */
  readonly stateWhere: (holds: (state: PageState) => boolean) => Promise<PageState>;
}

/** Settings as the environment would give them, names without the prefix. Throws when they are wrong. */
export function testSettings(variables: Readonly<Record<string, string>>): Settings {
  const env = Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [`MONITOR_${name}`, value]),
  );
  const loaded = loadSettings(settings, { env, argv: [], readFile: () => '' });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.values;
}

/** The monitor on a free port; without `lookAround` it does not look for servers. */
export async function startTestMonitor(
  variables: Readonly<Record<string, string>>,
  lookAround?: LookAround,
  now?: () => number,
  startGpus?: StartGpus,
): Promise<TestMonitor> {
  const values = testSettings({
    PORT: '0',
    ...(lookAround === undefined ? { DISCOVERY: 'false' } : {}),
    ...variables,
  });
  const targets = readTargets(values, () => '');
  if (!targets.ok) throw new Error(targets.problems.join('; '));
  const monitor = await startMonitor({
    settings: values,
    configured: targets.targets,
    log: pino({ level: 'silent' }),
    ...(lookAround === undefined ? {} : { lookAround }),
    ...(now === undefined ? {} : { now }),
    ...(startGpus === undefined ? {} : { startGpus }),
  });
  const get = (address: string): Promise<Response> => fetch(`${monitor.listening.url}${address}`);
  return {
    monitor,
    get,
    state: async () => (await (await get('/api/state')).json()) as PageState,
    stateWhere: async (holds) => {
      for await (const state of statesOf(await get('/api/events'))) if (holds(state)) return state;
      throw new Error('the events ended before such a state');
    },
  };
}

/** The states that a stream of events holds. */
export async function* statesOf({ body }: Response): AsyncGenerator<PageState> {
  let text = '';
  for await (const chunk of body ?? []) {
    text += Buffer.from(chunk as Uint8Array).toString();
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = text
        .slice(0, end)
        .split('\n')
        .find((line) => line.startsWith('data: '));
      text = text.slice(end + 2);
      if (data !== undefined) yield JSON.parse(data.slice('data: '.length)) as PageState;
    }
  }
}

export function serverIn(state: PageState, server: string): PageServer {
  const found = state.servers.find((view) => view.server === server);
  if (found === undefined) throw new Error(`no ${server} among ${state.servers.length} servers`);
  return found;
}

/** A socket that is asked whether it is vLLM. */
export function candidate(url: string, certain = true): Candidate {
  const port = Number(new URL(url).port);
  const socket = { address: '127.0.0.1', port, inode: `inode of ${port}` };
  return { socket, url, engines: ['vllm'], why: 'process 7 runs vllm', certain };
}

/** The answers of a fixture of libs/engines, for a fake server: by path, 404 for the rest. */
export function fixtureAnswers(name: string): Record<string, { status: number; body: string }> {
  const file = path.resolve(__dirname, '../../../libs/engines/fixtures', name);
  return Object.fromEntries(
    parseTranscript(readFileSync(file, 'utf8')).map(({ path: asked, status, body }) => [
      asked,
      { status, body },
    ]),
  );
}
