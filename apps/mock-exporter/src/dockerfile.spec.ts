import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { loadSettings } from '@llm-monitor/config';
import { BUILT_IN_SCENARIOS } from '@llm-monitor/simulation';

import { loadScenario } from './load-scenario.ts';
import { settings } from './settings.ts';

const read = (name: string): string => readFileSync(join(__dirname, '..', name), 'utf8');
const instructions = read('Dockerfile')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

const argumentsOf = (name: string): string[] =>
  instructions
    .filter((line) => line.startsWith(`${name} `))
    .flatMap((line) => line.trim().split(/\s+/).slice(1));

describe('the image', () => {
  it('is given exactly what it copies', () => {
    const copied = argumentsOf('COPY').filter((word) => word.startsWith('dist/'));
    const [everything, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(everything).toBe('*');
    expect(allowed.map((line) => line.replace('!', '')).sort()).toEqual(copied.sort());
  });

  it('needs no syntax image, is no Alpine, runs as node, and starts without a shell', () => {
    expect(read('Dockerfile')).not.toMatch(/^#\s*syntax=|alpine/im);
    expect(instructions).toContain('ENTRYPOINT ["node", "main.cjs"]');
    const user = instructions.indexOf('USER node');
    expect(user).toBeGreaterThan(0);
    expect(instructions.slice(user).filter((line) => /^(RUN|COPY|USER (?!node))/.test(line))).toEqual([]);
  });

  it('has settings that are good, and its host folder in the volume', () => {
    const env = Object.fromEntries(argumentsOf('ENV').map((pair) => pair.split('=')) as [string, string][]);
    const loaded = loadSettings(settings, { env, argv: [], readFile: () => '' });
    expect(loaded).toMatchObject({ ok: true, values: { host: '0.0.0.0', engineHost: '0.0.0.0' } });
    expect(argumentsOf('VOLUME')).toEqual([env['MOCK_EXPORTER_HOST_FOLDER']]);
  });

  it('exposes its own port and those of the demo', () => {
    const loaded = loadScenario('demo', () => BUILT_IN_SCENARIOS['demo'] ?? '');
    const ports = loaded.ok ? loaded.scenario.engines.map(({ port }) => port) : [];
    expect(argumentsOf('EXPOSE').map(Number).sort()).toEqual([9503, ...ports].sort());
  });
});
