import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { loadScenario } from './load-scenario.ts';
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

it('has the version of its package', () => {
  const { version } = JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')) as {
    version: string;
  };
  expect(VERSION).toBe(version);
});
