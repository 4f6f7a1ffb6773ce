import { chooseCandidates } from './candidates.ts';
import type { ListeningSocket } from './listening-sockets.ts';

const socket = (port: number, commandLine?: string, address = '127.0.0.1', pid = port): ListeningSocket => ({
  address,
  port,
  inode: String(port),
  ...(commandLine === undefined ? {} : { process: { pid, parent: 1, arguments: commandLine.split(' ') } }),
});

const asked = (sockets: ListeningSocket[]): Record<string, readonly string[]> =>
  Object.fromEntries(
    chooseCandidates(sockets, new Set([1234])).ask.map(({ url, engines }) => [url, engines]),
  );

describe('which sockets are asked, and as what', () => {
  it.each([
    [
      'a program by its name',
      [socket(18080, 'llama-server --port 18080')],
      { 'http://127.0.0.1:18080': ['llamacpp'] },
    ],
    [
      'a program started through a loader',
      [socket(18080, '/cache/ld.so --library-path /lib /cache/usr/bin/llama-server --host x --port 18080')],
      { 'http://127.0.0.1:18080': ['llamacpp'] },
    ],
    [
      'a Python module',
      [socket(9000, 'python3 -m vllm.entrypoints.openai.api_server --port=9000')],
      { 'http://127.0.0.1:9000': ['vllm'] },
    ],
    ['a program whose name only begins alike', [socket(9000, 'llama-server-notes')], {}],
    ['a database', [socket(5432, 'postgres -D /data')], {}],
    [
      'our own process',
      [{ ...socket(18080, 'llama-server'), process: { pid: 1234, parent: 1, arguments: ['llama-server'] } }],
      {},
    ],
  ])('%s', (_what, sockets, expected) => {
    expect(asked(sockets)).toEqual(expected);
  });

  it('asks a default port whose process is not known, as the engines with that default', () => {
    const { ask } = chooseCandidates([socket(8000)], new Set());
    expect(
      ask.map(({ engines, certain }) => [engines.includes('vllm'), engines.includes('llamacpp'), certain]),
    ).toEqual([[true, false, false]]);
    expect(asked([socket(8001)])).toEqual({});
  });

  it('reaches a wildcard over loopback, and asks IPv4 and IPv6 of one server once', () => {
    const program = 'llama-server --port 8080';
    expect(asked([socket(8080, program, '::', 7), socket(8080, program, '0.0.0.0', 7)])).toEqual({
      'http://127.0.0.1:8080': ['llamacpp'],
    });
    expect(asked([socket(8080, program, '::', 7)])).toEqual({ 'http://[::1]:8080': ['llamacpp'] });
  });

  it('leaves the inner sockets of an engine alone, and says so', () => {
    const program = 'python3 -m vllm.entrypoints.openai.api_server';
    const sockets = [socket(8000, program, '0.0.0.0', 7), socket(41234, program, '0.0.0.0', 7)];
    const { ask, passedOver } = chooseCandidates(sockets, new Set());
    expect(ask.map(({ url }) => url)).toEqual(['http://127.0.0.1:8000']);
    expect(passedOver.map(({ socket: { port } }) => port)).toEqual([41234]);
    expect(passedOver[0]?.why).toContain('configure it');
  });

  it('asks the port that the command line names, rather than the default', () => {
    const program = 'vllm serve model --port 9100';
    expect(
      Object.keys(asked([socket(9100, program, '0.0.0.0', 7), socket(8000, program, '0.0.0.0', 7)])),
    ).toEqual(['http://127.0.0.1:9100']);
  });

  it('never asks a runner that Ollama starts for itself', () => {
    expect(asked([socket(8080, '/usr/bin/ollama runner --model x --port 8080')])).toEqual({});
  });

  it.each([
    ['sglang', 'python3 -m sglang.launch_server --nccl-port=28765', [30000, 28765], [30000]],
    ['sglang', 'python3 -m sglang.launch_server --nccl-port 28765 --port 31000', [31000, 28765], [31000]],
    ['tritonserver', 'tritonserver --grpc-port=9001', [8000, 9001, 8002], [8002]],
    ['vllm', 'vllm serve m --master-port=29500 --port=8100', [8100, 29500], [8100]],
  ])('takes no inner port of %s for its API', (_what, commandLine, ports, expected) => {
    const { ask } = chooseCandidates(
      ports.map((port) => socket(port, commandLine, '0.0.0.0', 7)),
      new Set(),
    );
    expect(ask.map((candidate) => candidate.socket.port)).toEqual(expected);
  });

  it('leaves the children of an engine to their parent', () => {
    const router = socket(8080, 'llama-server --port 8080', '127.0.0.1', 7);
    const child = socket(41235, 'llama-server --port 41235', '127.0.0.1', 8);
    const ofRouter = {
      ...child,
      process: { pid: 8, parent: 7, arguments: ['llama-server', '--port', '41235'] },
    };
    expect(asked([router, ofRouter])).toEqual({ 'http://127.0.0.1:8080': ['llamacpp'] });
    expect(Object.keys(asked([router, child]))).toEqual(['http://127.0.0.1:8080', 'http://127.0.0.1:41235']);
  });

  it('takes what Docker opens on IPv4 and IPv6 with a process each for one server', () => {
    const proxy = 'docker-proxy -host-port 8000';
    expect(Object.keys(asked([socket(8000, proxy, '0.0.0.0', 70), socket(8000, proxy, '::', 71)]))).toEqual([
      'http://127.0.0.1:8000',
    ]);
  });

  it.each([
    ['a folder named like an engine', 'jupyter-lab --notebook-dir=/srv/vllm'],
    ['a folder as the value of an option', 'python3 -m http.server -d /data/models/and/more/of/ollama'],
    ['an editor of its source', 'vim llama-server'],
  ])('%s is no engine', (_what, commandLine) => {
    expect(asked([socket(9000, commandLine)])).toEqual({});
  });
});
