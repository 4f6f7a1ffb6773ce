import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

import { planIncident, type IncidentName } from '@llm-monitor/simulation';

import { startTestMock, type TestMock } from './test-mock.ts';
import { until } from './test-until.ts';

const SCENARIO = `
seed: test
host:
  name: test
  gpus:
    - { board: h100-sxm, count: 2 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: chat, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0] }
traffic:
  - { engine: chat, arrivals: { poisson: { rate: 0.1 } }, prompt: chat, output: chat }
`;

let mock: TestMock;

beforeAll(async () => {
  // Nobody runs nvidia-smi here, so any file will do for it.
  mock = await startTestMock(SCENARIO, { smiScript: __filename });
}, 60_000);

afterAll(async () => {
  await mock.stop(0);
});

function start(incident: IncidentName, target?: string): void {
  const plan = planIncident({ incident, target, parameters: undefined }, mock.world.scene);
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  mock.world.incidents.start(plan.incident);
}

it('adds to the kernel log, so that who follows it sees what comes', async () => {
  const log = openSync(join(mock.folder, 'kmsg'), 'r');
  const buffer = Buffer.alloc(4096);
  let seen = '';
  const read = (): string => {
    seen += buffer.toString('utf8', 0, readSync(log, buffer, 0, buffer.length, null));
    return seen;
  };
  try {
    expect(read()).toBe('');
    start('xid_79', '1');
    await until(() => read().includes('NVRM: Xid (PCI:0000:29:00): 79,'));
    mock.world.gpu(0).raiseXid(31, mock.world.now);
    await until(() => read().includes('NVRM: Xid (PCI:0000:18:00): 31,'));
    expect(seen).toBe(readFileSync(join(mock.folder, 'kmsg'), 'utf8'));
  } finally {
    closeSync(log);
  }
});

it.each([
  ['exporter_freeze', { init: 0, hang: { functions: 'all' } }],
  ['driver_mismatch', { init: 18 }],
] as const)('tells NVML of %s, and of its end', async (incident, told) => {
  const nvml = (): object => JSON.parse(readFileSync(join(mock.folder, 'nvml.json'), 'utf8')) as object;
  expect(nvml()).not.toMatchObject(told);
  start(incident);
  await until(() => Object.entries(told).every(([key, value]) => isSame(nvml(), key, value)));
  mock.world.incidents.stopAll(incident);
  await until(() => isSame(nvml(), 'init', 0) && isSame(nvml(), 'hang', undefined));
});

function isSame(host: object, key: string, value: unknown): boolean {
  const found: unknown = Object.entries(host).find(([name]) => name === key)?.[1];
  return JSON.stringify(found) === JSON.stringify(value);
}
