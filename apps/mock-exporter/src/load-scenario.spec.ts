import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { loadScenario, portClash } from './load-scenario.ts';
import { VERSION } from './version.ts';

function nothing(path: string): string {
  throw new Error(`ENOENT: no such file, open '${path}'`);
}

describe('loadScenario', () => {
  it.each(['demo', 'all-engines', 'rack', 'amd'])('knows %s without a file', (name) => {
    expect(loadScenario(name, nothing).ok).toBe(true);
  });

  it('says which names there are where it finds neither name nor file', () => {
    expect(loadScenario('demos', nothing)).toEqual({
      ok: false,
      message: `scenario "demos" is neither one of demo, all-engines, rack, amd nor a file that can be read (ENOENT: no such file, open 'demos'); set MOCK_EXPORTER_SCENARIO`,
    });
  });

  it('tells all mistakes of a file at once, each with its line', () => {
    const text = 'seed: x\nhost: { name: x, gpus: [{ board: h1000 }] }\nengines: []\ntraffics: []\n';
    const loaded = loadScenario('mine.yaml', () => text);
    expect(loaded.ok).toBe(false);
    const lines = loaded.ok ? [] : loaded.message.split('\n').slice(1);
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.every((line) => /^ {2}mine\.yaml:\d+:\d+: /.test(line))).toBe(true);
    expect(lines.join('\n')).toContain('h1000');
  });
});

describe('portClash', () => {
  const loaded = loadScenario('demo', nothing);
  const ENGINE_PORT = 8000;

  it.each([
    [
      'the port of an engine',
      '127.0.0.1',
      '127.0.0.1',
      ENGINE_PORT,
      /port 8000 of engine chat.*MOCK_EXPORTER_PORT/,
    ],
    ['another port', '127.0.0.1', '127.0.0.1', 9503, /^none$/],
    ['any port', '127.0.0.1', '127.0.0.1', 0, /^none$/],
    ['that port at another address', '127.0.0.2', '127.0.0.1', ENGINE_PORT, /^none$/],
  ])('of a mock that has %s', (_what, host, engineHost, port, told) => {
    if (!loaded.ok) throw new Error(loaded.message);
    const clash = portClash(loaded.scenario, { scenario: 'demo', host, engineHost, port });
    expect(clash ?? 'none').toMatch(told);
  });
});

it('has the version of its package', () => {
  const { version } = JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')) as {
    version: string;
  };
  expect(VERSION).toBe(version);
});
