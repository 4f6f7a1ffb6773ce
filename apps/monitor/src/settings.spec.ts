import { readFileSync } from 'node:fs';
import path from 'node:path';

import { formatProblem, loadSettings, runCommandLine } from '@llm-monitor/config';

import { settings } from './settings.ts';
import { VERSION } from './version.ts';

function problemsOf(env: Readonly<Record<string, string>>): string {
  const loaded = loadSettings(settings, { env, argv: [], readFile: () => '' });
  return loaded.ok ? '' : loaded.problems.map(formatProblem).join('\n');
}

it('takes targets with and without their engine', () => {
  const env = { MONITOR_TARGETS: 'chat=http://127.0.0.1:8000/,big=vllm+https://gpu-1' };
  const loaded = loadSettings(settings, { env, argv: [], readFile: () => '' });
  expect(loaded.ok && loaded.values.targets).toEqual([
    { name: 'chat', value: { url: 'http://127.0.0.1:8000' } },
    { name: 'big', value: { url: 'https://gpu-1', engine: 'vllm' } },
  ]);
});

it.each([
  [{ MONITOR_TARGETS: 'chat=127.0.0.1:8000' }, 'an address such as http://host:8000'],
  [{ MONITOR_TARGETS: 'chat=vlm+http://a' }, 'there is no engine "vlm"; did you mean vllm?'],
  [{ MONITOR_TARGETS: 'chat=http://a?x=1' }, 'a base address has no query'],
  [{ MONITOR_TARGETS: 'chat=http://a,other=http://a/' }, 'MONITOR_TARGETS has http://a under several names'],
  [{ MONITOR_DISCOVERY: 'no', MONITOR_GPUS: 'no' }, 'so there is nothing to watch'],
  [{ MONITOR_GPU_BACKEND: 'cuda' }, 'MONITOR_GPU_BACKEND'],
  [{ MONITOR_GPU_BACKEND: 'nvml', MONITOR_GPUS: 'no' }, 'so it would read nothing'],
  [
    { MONITOR_NVML_LIBRARY: '/opt/nvml.so', MONITOR_GPUS: 'no' },
    'MONITOR_GPUS is off, so it would never be loaded',
  ],
  [{ MONITOR_NVML_LIBRARY: '/opt/nvml.so', MONITOR_GPU_BACKEND: 'amdgpu' }, 'which never loads it'],
  [{ MONITOR_INTERVAL: '20s', MONITOR_IDLE_INTERVAL: '10s' }, 'no reason to read more often'],
  [{ MONITOR_READ_TIMEOUT: '30s' }, 'would cost the whole of /metrics'],
  [{ MONITOR_TARGET_TOKEN: 'two words' }, 'MONITOR_TARGET_TOKEN: expected a key of 1 to 4096 visible ASCII'],
  [{ MONITOR_DISCOVERED_TOKEN: 'schlüssel' }, 'MONITOR_DISCOVERED_TOKEN: expected a key'],
  [{ MONITOR_INTERVAL: '60s' }, 'of at most 40s'],
])('refuses %j and says why', (env, reason) => {
  expect(problemsOf(env)).toContain(reason);
});

it.each([
  {},
  { MONITOR_DISCOVERY: 'no' },
  { MONITOR_GPUS: 'no' },
  { MONITOR_GPU_BACKEND: 'nvidia-smi' },
  { MONITOR_NVML_LIBRARY: '/opt/libnvidia-ml.so.1' },
  { MONITOR_NVML_LIBRARY: '/opt/libnvidia-ml.so.1', MONITOR_GPU_BACKEND: 'nvml' },
])('accepts %j', (env) => {
  expect(problemsOf(env)).toBe('');
});

it('names the commands that look at GPUs and servers once, as it has none of its own', () => {
  let stderr = '';
  const { run } = runCommandLine(settings, {
    argv: ['check'],
    env: {},
    readFile: () => '',
    version: VERSION,
    stdout: { write: () => undefined },
    stderr: { write: (text) => (stderr += text) },
  });
  expect(run).toBe(false);
  expect(stderr).toContain('gpu-exporter check');
  expect(stderr).toContain('llm-exporter check');
});

it('has the version of its package', () => {
  const text = readFileSync(path.resolve(__dirname, '../package.json'), 'utf8');
  expect(JSON.parse(text)).toMatchObject({ version: VERSION });
});
