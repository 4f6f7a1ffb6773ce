import { MODELS } from '../../engine/models.ts';
import { boards } from '../../gpu/boards.ts';
import { meanRatePerSecond } from '../../traffic/arrivals.ts';
import { formatScenarioProblem } from '../read-yaml.ts';
import { parseScenario, type Scenario } from '../scenario.ts';
import { BUILT_IN_SCENARIOS } from './built-in.ts';

function read(name: string): Scenario {
  const parsed = parseScenario(BUILT_IN_SCENARIOS[name] ?? '', {
    boards: Object.values(boards),
    models: MODELS,
  });
  if (parsed.ok) return parsed.scenario;
  throw new Error(parsed.problems.map((problem) => formatScenarioProblem(problem, name)).join('\n'));
}

it('is the list that the documentation names', () => {
  expect(Object.keys(BUILT_IN_SCENARIOS)).toEqual(['demo', 'all-engines', 'rack', 'amd']);
});

describe.each(Object.keys(BUILT_IN_SCENARIOS))('%s', (name) => {
  it('is a scenario without a problem', () => {
    expect(read(name).seed).toBe(name);
  });

  it('sends to each of its engines', () => {
    const { engines, traffic } = read(name);
    const engineNames = engines.map((engine) => engine.name).sort();
    expect([...new Set(traffic.map(({ engine }) => engine))].sort()).toEqual(engineNames);
  });

  it('uses each of its GPUs', () => {
    const { host, engines } = read(name);
    const used = new Set(engines.flatMap(({ gpus }) => gpus));
    expect([...used].sort((left, right) => left - right)).toEqual([...host.gpus.keys()]);
  });
});

it('demo has four GPUs and at least three kinds of engines under changing traffic', () => {
  const { host, engines, traffic } = read('demo');
  expect(host.gpus).toHaveLength(4);
  expect(new Set(engines.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(3);
  expect(new Set(traffic.map(({ arrivals }) => arrivals.kind))).toEqual(
    new Set(['diurnal', 'bursty', 'poisson']),
  );
});

it('all-engines has each kind once', () => {
  const kinds = read('all-engines').engines.map(({ kind }) => kind);
  expect(kinds.sort()).toEqual(['llamacpp', 'ollama', 'sglang', 'tgi', 'triton', 'vllm']);
});

it('rack has 64 GPUs, 16 engines and 50 requests a second', () => {
  const { host, engines, traffic } = read('rack');
  expect([host.gpus.length, engines.length]).toEqual([64, 16]);
  expect(traffic.reduce((sum, { arrivals }) => sum + meanRatePerSecond(arrivals), 0)).toBe(50);
});

it('amd has AMD GPUs only', () => {
  const { host } = read('amd');
  expect(new Set(host.gpus.map(({ board }) => board.vendor))).toEqual(new Set(['amd']));
  expect(host.gpus.some(({ board }) => board.unifiedMemory)).toBe(true);
});
