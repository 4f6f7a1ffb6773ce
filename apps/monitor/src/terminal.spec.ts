import { logTargetEvent } from '@llm-monitor/engines';
import { pino } from 'pino';

import { terminalLog } from './terminal.ts';

function linesOf(act: (log: pino.Logger) => void): string {
  let text = '';
  const terminal = { write: (more: string) => (text += more) };
  act(
    pino(
      { base: { app: 'monitor' }, formatters: { level: (label) => ({ level: label }) } },
      terminalLog(terminal),
    ),
  );
  return text;
}

it.each<[string, (log: pino.Logger) => void, string]>([
  [
    'where the page is',
    (log) => log.info({ url: 'http://127.0.0.1:9500' }, 'the page is open'),
    'The page is open: http://127.0.0.1:9500\n',
  ],
  [
    'a server that was found',
    (log) =>
      logTargetEvent(log)({
        kind: 'found',
        server: 'vllm-8000',
        engine: 'vllm',
        url: 'http://127.0.0.1:8000',
        detail: 'process 7 runs vllm',
      }),
    'LLM server found: vllm-8000 at http://127.0.0.1:8000, process 7 runs vllm\n',
  ],
  [
    'GPUs that were found',
    (log) => log.info({ backend: 'nvml', gpus: 2, names: '2 × NVIDIA H100' }, 'GPUs found'),
    'GPUs found: nvml, 2 × NVIDIA H100\n',
  ],
  [
    'GPUs that are not read, and why',
    (log) => log.warn({ backend: 'nvml', reason: 'hung', detail: 'no answer for 5 s' }, 'GPUs are not read'),
    'Warning: GPUs are not read: nvml, hung, no answer for 5 s\n',
  ],
  [
    'a GPU that is down',
    (log) => log.warn({ backend: 'nvml', uuid: 'GPU-1', condition: 'lost' }, 'a GPU is down'),
    'Warning: A GPU is down: nvml, GPU-1, lost\n',
  ],
  ['a warning', (log) => log.warn('open to everyone'), 'Warning: Open to everyone\n'],
  [
    'an error with its cause',
    (log) => log.error({ err: new Error('boom') }, 'a bug'),
    'Error: A bug: boom\n',
  ],
  ['control characters as spaces', (log) => log.info('a\u001b[31mb'), 'A [31mb\n'],
])('tells %s in a line', (_title, act, line) => {
  expect(linesOf(act)).toBe(line);
});

it('passes on what is no record', () => {
  let text = '';
  terminalLog({ write: (more: string) => (text += more) }).write('half a line {');
  expect(text).toBe('half a line {\n');
});
