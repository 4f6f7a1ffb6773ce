import type { OwnedProcess, ProcessOwner } from '@llm-monitor/gpus';

import { gpusOf, gpuUsers, type GpuUser, type KnownServer } from './gpu-users.ts';
import { GIBIBYTE, gpuOf, processOf } from './test-gpus.ts';

const chat: KnownServer = {
  server: 'chat',
  url: 'http://127.0.0.1:8000',
  engine: 'vllm',
  models: ['qwen3-32b'],
};
const MODEL = '/models/Qwen3-32B';

function usersOf(
  processes: readonly OwnedProcess[],
  servers: readonly KnownServer[] = [chat],
): readonly GpuUser[] {
  return gpuUsers(processes, servers).users;
}

describe('who uses a GPU', () => {
  it.each<[string, ProcessOwner, KnownServer[], Pick<GpuUser, 'name' | 'isModel' | 'detail'>]>([
    [
      'a server of the page, by its port: the model as it is served',
      { engine: 'vllm', model: MODEL, port: 8000 },
      [chat],
      { name: 'qwen3-32b', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'a server whose engine only the page knows',
      { port: 8000 },
      [chat],
      { name: 'qwen3-32b', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'one of several models of a server',
      { engine: 'vllm', model: 'b', port: 8000 },
      [{ ...chat, models: ['a', 'b'] }],
      { name: 'b', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'a server of many models that does not say which',
      { engine: 'vllm', port: 8000 },
      [{ ...chat, models: ['a', 'b', 'c', 'd', 'e'] }],
      { name: 'a, b, c and 2 more', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'a server that does not answer: the model of the command line',
      { engine: 'vllm', model: MODEL, port: 8000 },
      [{ ...chat, models: [] }],
      { name: MODEL, isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'another port',
      { engine: 'vllm', model: MODEL, port: 8001 },
      [chat],
      { name: MODEL, isModel: true, detail: 'vLLM · port 8001' },
    ],
    [
      'the same port, of another engine',
      { engine: 'sglang', model: MODEL, port: 8000 },
      [chat],
      { name: MODEL, isModel: true, detail: 'SGLang · port 8000' },
    ],
    [
      'the same port on another host',
      { engine: 'vllm', model: MODEL, port: 8000 },
      [{ ...chat, url: 'http://gpu-2:8000' }],
      { name: MODEL, isModel: true, detail: 'vLLM · port 8000' },
    ],
    [
      'a container of the host network',
      { engine: 'vllm', model: 'qwen3-32b', port: 8000, container: '0123456789ab' },
      [chat],
      { name: 'qwen3-32b', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'the same port inside of a container that serves another model',
      { engine: 'vllm', model: 'llama', port: 8000, container: '0123456789ab' },
      [chat],
      { name: 'llama', isModel: true, detail: 'vLLM · port 8000 · container 0123456789ab' },
    ],
    [
      'a container whose model is served with its owner before its name',
      { engine: 'vllm', model: 'Qwen3-32B', port: 8000, container: '0123456789ab' },
      [{ ...chat, models: ['other', 'Qwen/Qwen3-32B'] }],
      { name: 'Qwen/Qwen3-32B', isModel: true, detail: 'vLLM · chat' },
    ],
    [
      'an engine without a model',
      { engine: 'vllm', port: 9000 },
      [],
      { name: 'vLLM', isModel: false, detail: 'port 9000 · model unknown' },
    ],
    [
      'a program that is no engine, never with its arguments',
      { program: '/usr/bin/python3 train.py --key secret', container: '0123456789ab' },
      [chat],
      { name: 'python3', isModel: false, detail: 'process 7 · container 0123456789ab · engine unknown' },
    ],
  ])('%s', (_, owner, servers, expected) => {
    expect(usersOf([processOf(7, owner)], servers)).toEqual([{ ...expected, memory: '' }]);
  });

  it('is told by the URL of an https server, too', () => {
    const server = { ...chat, url: 'https://localhost/' };
    expect(usersOf([processOf(7, { engine: 'vllm', port: 443 })], [server])[0]?.detail).toBe('vLLM · chat');
  });

  it('is one line for all processes of it, with their memory together, the largest first', () => {
    const owner = { engine: 'vllm', model: MODEL, port: 8000 };
    const users = usersOf([
      processOf(1, {}, { name: 'Xorg', type: 'graphics', memoryBytes: GIBIBYTE / 2 }),
      processOf(2, owner, { memoryBytes: 20 * GIBIBYTE }),
      processOf(3, owner, { memoryBytes: 10 * GIBIBYTE }),
      processOf(4, { program: 'python3' }),
    ]);
    expect(users.map(({ name, detail, memory }) => [name, detail, memory])).toEqual([
      ['qwen3-32b', 'vLLM · chat', '30 GiB'],
      ['Xorg', 'process 1 · graphics', '512 MiB'],
      ['python3', 'process 4 · engine unknown', ''],
    ]);
  });

  it('are six at most, the rest counted', () => {
    const programs = Array.from({ length: 9 }, (_, index) =>
      processOf(index, { program: `p${index}` }, { memoryBytes: index * GIBIBYTE }),
    );
    const { users, more } = gpuUsers(programs, []);
    expect([users.map(({ name }) => name), more]).toEqual([['p8', 'p7', 'p6', 'p5', 'p4', 'p3'], 3]);
  });
});

describe('the GPUs of a server', () => {
  const process = processOf(7, { engine: 'vllm', port: 8000 }, { memoryBytes: GIBIBYTE });

  it('are those on which it has processes, with the memory of these', () => {
    const own = gpuOf([], { processes: [process, processOf(8, {}, { memoryBytes: GIBIBYTE })] });
    const untold = gpuOf([], { processes: [processOf(7, { engine: 'vllm', port: 8000 })] });
    const others = [gpuOf([], { processes: [] }), gpuOf([], { processes: undefined })];
    expect(gpusOf(chat, [own, ...others, untold])).toEqual([
      { watched: own, memoryBytes: GIBIBYTE },
      { watched: untold, memoryBytes: undefined },
    ]);
  });
});
