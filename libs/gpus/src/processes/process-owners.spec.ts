import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import type { Clock } from '@llm-monitor/metrics-core';

import type { ProcessOwner } from '../snapshot.ts';
import { ProcFiles } from './proc-files.ts';
import { ProcessOwners } from './process-owners.ts';
import { FakeProc, socketRow } from './test-proc.ts';

/** A clock that stands until it is moved, and whose timers ring when the test says so. */
class StandingClock implements Clock {
  seconds = 1000;
  readonly timers = new Set<() => void>();
  unixSeconds(): number {
    return this.seconds;
  }
  monotonicSeconds(): number {
    return this.seconds;
  }
  after(_milliseconds: number, callback: () => void): () => void {
    this.timers.add(callback);
    return () => this.timers.delete(callback);
  }
}

const CONTAINER = '0123456789ab'.padEnd(64, 'c');
const VLLM = ['/usr/bin/python3', '/usr/local/bin/vllm', 'serve', 'Qwen/Qwen3-8B', '--api-key', 'sk-secret'];

const onLinux = process.platform === 'linux' ? it : it.skip;

let proc: FakeProc;
let clock: StandingClock;
beforeEach(() => {
  proc = new FakeProc();
  clock = new StandingClock();
});
afterEach(() => proc.dispose());

const owners = (procRoot = proc.root): ProcessOwners => new ProcessOwners({ procRoot, clock });
const ownerOf = async (pid: number): Promise<ProcessOwner | undefined> =>
  (await owners().ownersOf([pid])).get(pid);

describe('to whom a process belongs', () => {
  it('is told by the engine above it: model, API port and its own container and program', async () => {
    const network = 'net:[4026531840]';
    const listening = { 7000: 8000, 7001: 41_111 };
    proc.put(100, { words: VLLM, sockets: [6, 7000, 7001], listening, network });
    proc.put(200, { parent: 100, words: ['python3', '-c', 'from multiprocessing.spawn import spawn_main'] });
    proc.put(300, {
      parent: 200,
      words: ['VLLM::EngineCore'],
      cgroup: `0::/system.slice/docker-${CONTAINER}.scope\n`,
      sockets: [7002],
      listening: { ...listening, 7002: 8001 },
      network,
    });
    expect(await ownerOf(300)).toEqual({
      engine: 'vllm',
      model: 'Qwen/Qwen3-8B',
      port: 8000,
      container: '0123456789ab',
      program: 'VLLM::EngineCore',
    });
    expect(await ownerOf(100)).toEqual({
      engine: 'vllm',
      model: 'Qwen/Qwen3-8B',
      port: 8000,
      program: 'vllm',
    });
  });

  it('never holds any other word of a command line', async () => {
    proc.put(100, { words: VLLM });
    expect(JSON.stringify(await ownerOf(100))).not.toContain('sk-secret');
  });

  it('is the nearest engine, where one starts another', async () => {
    proc.put(100, { words: ['/usr/bin/llama-swap', '--config', 'x'], sockets: [7], listening: { 7: 9000 } });
    proc.put(200, {
      parent: 100,
      words: ['llama-server', '-m', '/m/q.gguf', '--port', '5801'],
      sockets: [8],
      listening: { 7: 9000, 8: 5801 },
    });
    expect(await ownerOf(200)).toEqual({
      engine: 'llamacpp',
      model: 'q.gguf',
      port: 5801,
      program: 'llama-server',
    });
  });

  it('has the port of the server, not that of an inner one, and the model by the blob (Ollama)', async () => {
    const digest = '1'.repeat(64);
    const models = '/srv/ollama/models';
    const listening = { 7: 11_434, 8: 40_001 };
    proc.put(100, { words: ['/bin/ollama', 'serve'], sockets: [7], listening });
    proc.put(200, {
      parent: 100,
      words: ['/bin/ollama', 'runner', '--model', `${models}/blobs/sha256-${digest}`, '--port', '40001'],
      sockets: [8],
      listening,
    });
    proc.putFile(
      200,
      `${models}/manifests/registry.ollama.ai/library/qwen3/8b`,
      JSON.stringify({
        layers: [{ mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${digest}` }],
      }),
    );
    expect(await ownerOf(200)).toEqual({
      engine: 'ollama',
      model: 'qwen3:8b',
      port: 11_434,
      program: 'ollama',
    });
  });

  it('has no port when only the inner process of a server is seen', async () => {
    proc.put(200, { words: ['ollama', 'runner', '--port', '40001'], sockets: [8], listening: { 8: 40_001 } });
    expect(await ownerOf(200)).toEqual({ engine: 'ollama', program: 'ollama' });
  });

  it('has the port of a sister that serves for the engine (TGI)', async () => {
    const listening = { 7: 3000, 8: 29_500 };
    proc.put(100, {
      words: ['text-generation-launcher', '--model-id', 'org/m'],
      children: [200, 300],
      listening,
    });
    proc.put(200, {
      parent: 100,
      words: ['text-generation-router', '--port', '3000'],
      sockets: [7],
      listening,
    });
    proc.put(300, {
      parent: 100,
      words: ['/opt/bin/python3', '/opt/bin/text-generation-server', 'serve', 'org/m'],
      sockets: [8],
      listening,
    });
    expect(await ownerOf(300)).toEqual({
      engine: 'tgi',
      model: 'org/m',
      port: 3000,
      program: 'text-generation-server',
    });
  });

  it('has no port while the server opens none, though a worker that looks like it does', async () => {
    const listening = { 8: 45_677 };
    proc.put(100, { words: VLLM, children: [200], listening });
    proc.put(200, { parent: 100, words: VLLM, sockets: [8], listening });
    expect((await ownerOf(200))?.port).toBeUndefined();
  });

  it.each<[what: string, words: string[], sockets: number[], port: number | undefined]>([
    ['named', ['vllm', 'serve', 'm', '--port', '9000'], [7, 8], 9000],
    ['default of several', ['vllm', 'serve', 'm'], [8, 6], 8000],
    ['only one', ['vllm', 'serve', 'm'], [7], 9000],
    ['several strange ones', ['vllm', 'serve', 'm'], [7, 9], undefined],
    ["another process's", ['vllm', 'serve', 'm'], [], undefined],
    ['no engine, only one', ['python3', '/app/main.py'], [7], 9000],
    ['no engine, several', ['python3', '/app/main.py'], [6, 7], undefined],
  ])('has a port that is certain: %s', async (_what, words, sockets, port) => {
    proc.put(100, { words, sockets, listening: { 6: 8000, 7: 9000, 8: 41_111, 9: 41_112 } });
    expect((await ownerOf(100))?.port).toBe(port);
  });

  it('reads the sockets of each network apart', async () => {
    proc.put(100, {
      words: ['vllm', 'serve', 'a'],
      sockets: [7],
      listening: { 7: 8000 },
      network: 'net:[1]',
    });
    proc.put(200, {
      words: ['vllm', 'serve', 'b'],
      sockets: [7],
      listening: { 7: 8001 },
      network: 'net:[2]',
    });
    const found = await owners().ownersOf([100, 200]);
    expect([found.get(100)?.port, found.get(200)?.port]).toEqual([8000, 8001]);
  });

  it('finds a listening socket ahead of thousands of connections', async () => {
    proc.put(100, { words: ['vllm', 'serve', 'm'], sockets: [7], listening: { 7: 8000 } });
    const table = path.join(proc.root, '100/net/tcp');
    const connections = socketRow(8000, '01', '1').repeat(20_000);
    writeFileSync(table, `head\n${socketRow(8000, '0A', '7')}${connections}`);
    expect((await ownerOf(100))?.port).toBe(8000);
  });

  it('is none for a process of its own: only the program is known', async () => {
    proc.put(100, { words: ['/usr/lib/xorg/Xorg', ':0'], name: 'Xorg' });
    expect(await ownerOf(100)).toEqual({ program: 'Xorg' });
  });

  it('is not read off a kernel thread or the first process', async () => {
    proc.put(1, { words: ['ollama', 'serve'], parent: 0 });
    proc.put(100, { words: ['sleep'], parent: 1 });
    expect(await ownerOf(100)).toEqual({ program: 'sleep' });
  });
});

describe('a /proc that moves', () => {
  it('ends at a loop of parents', async () => {
    proc.put(100, { parent: 200, startTicks: 5, words: ['a'] });
    proc.put(200, { parent: 100, startTicks: 5, words: ['b'] });
    expect(await ownerOf(100)).toEqual({ program: 'a' });
  });

  it('looks at no more than 32 ancestors', async () => {
    proc.put(100, { words: ['ollama', 'serve'] });
    for (let pid = 101; pid <= 140; pid++) proc.put(pid, { parent: pid - 1, words: ['sh'] });
    const found = await owners().ownersOf([131, 132]);
    expect([found.get(131)?.engine, found.get(132)?.engine]).toEqual(['ollama', undefined]);
  });

  it('does not take for a parent what came by its PID later', async () => {
    proc.put(100, { startTicks: 900, words: ['ollama', 'serve'] });
    proc.put(200, { parent: 100, startTicks: 800, words: ['worker'] });
    expect(await ownerOf(200)).toEqual({ program: 'worker' });
  });

  it('does not confuse a PID that was given anew', async () => {
    const watched = owners();
    proc.put(100, { startTicks: 1, words: ['vllm', 'serve', 'a'] });
    expect((await watched.ownersOf([100])).get(100)?.model).toBe('a');
    proc.put(100, { startTicks: 2, words: ['vllm', 'serve', 'b'] });
    expect((await watched.ownersOf([100])).get(100)?.model).toBe('b');
  });

  it('looks anew after ten seconds, not sooner', async () => {
    const watched = owners();
    const portOf = async (): Promise<number | undefined> => (await watched.ownersOf([100])).get(100)?.port;
    proc.put(100, { words: ['vllm', 'serve', 'a'] });
    expect(await portOf()).toBeUndefined();
    proc.put(100, { words: ['vllm', 'serve', 'a'], sockets: [7], listening: { 7: 8000 } });
    clock.seconds += 9;
    expect(await portOf()).toBeUndefined();
    clock.seconds += 1;
    expect(await portOf()).toBe(8000);
  });

  it('keeps what it knows of a process that is gone, until nobody asks for it', async () => {
    const watched = owners();
    proc.put(100, { words: ['vllm', 'serve', 'a'] });
    await watched.ownersOf([100]);
    proc.remove(100);
    expect((await watched.ownersOf([100])).get(100)?.model).toBe('a');
    clock.seconds += 61;
    await watched.ownersOf([]);
    expect((await watched.ownersOf([100])).size).toBe(0);
  });

  it('knows nothing of a process that was never there, and throws nothing', async () => {
    expect(await owners().ownersOf([4711, 0, -1, 4_000_000_000])).toEqual(new Map());
  });

  it('takes what can be read of a process that ends midway', async () => {
    proc.put(100, { name: 'odd) (name', parent: 99 });
    rmSync(path.join(proc.root, '100/net'), { recursive: true });
    expect(await ownerOf(100)).toEqual({ program: 'odd)' });
    proc.put(100, {});
    writeFileSync(path.join(proc.root, '100/stat'), 'half a li');
    expect(await ownerOf(100)).toBeUndefined();
  });

  it('leaves the memory of a process alone that is stuck in the kernel, and asks again when it is not', async () => {
    const watched = owners();
    const words = ['vllm', 'serve', 'a'];
    proc.put(100, { state: 'D', words });
    expect((await watched.ownersOf([100])).get(100)).toEqual({ program: 'python3' });
    proc.put(100, { state: 'S', words });
    expect((await watched.ownersOf([100])).get(100)?.engine).toBe('vllm');
    proc.put(100, { state: 'D', words });
    clock.seconds += 11;
    expect((await watched.ownersOf([100])).get(100)?.engine).toBe('vllm');
  });

  it('waits a second for a file that never answers, then for nothing more', async () => {
    const hung = jest.spyOn(ProcFiles.prototype, 'cgroup').mockReturnValue(new Promise(() => undefined));
    try {
      const watched = owners();
      proc.put(100, { words: ['vllm', 'serve', 'a'] });
      const first = watched.ownersOf([100]);
      for (const ring of clock.timers) ring();
      expect((await first).get(100) ?? {}).toEqual({});
      clock.seconds += 2;
      for (let question = 0; question < 5; question++) await watched.ownersOf([100, 101]);
      expect(hung.mock.calls.length).toBeLessThanOrEqual(1);
    } finally {
      hung.mockRestore();
    }
  });

  it('keeps the engine of a process while the server above it waits in the kernel', async () => {
    const watched = owners();
    proc.put(100, { words: ['vllm', 'serve', 'a'] });
    proc.put(200, { parent: 100, words: ['VLLM::EngineCore'] });
    await watched.ownersOf([200]);
    proc.put(100, { state: 'D', words: ['vllm', 'serve', 'a'] });
    clock.seconds += 11;
    expect((await watched.ownersOf([200])).get(200)?.model).toBe('a');
  });

  it('looks through the files of a model again after five minutes, not sooner', async () => {
    const watched = owners();
    const digest = '1'.repeat(64);
    const manifest = JSON.stringify({
      layers: [{ mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${digest}` }],
    });
    const modelOf = async (): Promise<string | undefined> => (await watched.ownersOf([100])).get(100)?.model;
    proc.put(100, { words: ['ollama', 'runner', '--model', `/o/blobs/sha256-${digest}`] });
    proc.putFile(100, 'o/manifests/registry.ollama.ai/library/a/1b', manifest);
    expect(await modelOf()).toBe('a:1b');
    proc.putFile(100, 'o/manifests/registry.ollama.ai/library/b/1b', manifest);
    for (let second = 0; second < 299; second += 13) {
      clock.seconds += 13;
      expect([second, await modelOf()]).toEqual([second, 'a:1b']);
    }
    clock.seconds += 13;
    expect(await modelOf()).toBeUndefined();
  });

  it('answers several questions at once, each in full', async () => {
    const watched = owners();
    for (let pid = 100; pid < 110; pid++) proc.put(pid, { words: ['vllm', 'serve', `m${pid}`] });
    const [first, second] = await Promise.all([watched.ownersOf([100, 101]), watched.ownersOf([108, 109])]);
    expect([first.get(101)?.model, second.get(109)?.model]).toEqual(['m101', 'm109']);
  });

  it('follows 1024 processes and no more', async () => {
    proc.put(100, { words: ['x'] });
    for (let pid = 101; pid <= 1125; pid++) symlinkSync('100', path.join(proc.root, String(pid)));
    const pids = Array.from({ length: 1025 }, (_, index) => index + 101);
    expect((await owners().ownersOf(pids)).size).toBe(1024);
  });
});

describe('a /proc that says little', () => {
  /** Runs it as somebody else than root, who may see everything. */
  const asUser = async (run: () => Promise<void>): Promise<void> => {
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      await run();
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  };

  onLinux(
    'takes a named port that is open as its own, where the files of an engine may not be seen',
    async () => {
      const listening = { 7: 9000, 8: 8000 };
      proc.put(100, { words: ['vllm', 'serve', 'a', '--port', '9000'], sockets: [7], listening });
      proc.put(200, { words: ['python3', '/app/main.py'], sockets: [8], listening });
      proc.put(300, { words: ['vllm', 'serve', 'a'], sockets: [8], listening });
      chmodSync(proc.root, 0o755);
      for (const pid of [100, 200, 300]) chmodSync(path.join(proc.root, `${pid}/fd`), 0);
      const watched = owners();
      await asUser(async () => {
        const found = await watched.ownersOf([100, 200]);
        expect([found.get(100)?.port, found.get(200)?.port, watched.hint]).toEqual([
          9000,
          undefined,
          undefined,
        ]);
        expect((await watched.ownersOf([300])).get(300)).toEqual({
          engine: 'vllm',
          model: 'a',
          program: 'vllm',
        });
        expect(watched.hint).toMatch(/SYS_PTRACE/);
      });
      for (const pid of [100, 200, 300]) chmodSync(path.join(proc.root, `${pid}/fd`), 0o700);
    },
  );

  it('follows no symbolic link out of the files of a process', async () => {
    const digest = '1'.repeat(64);
    proc.put(100, { words: ['ollama', 'runner', '--model', `/o/blobs/sha256-${digest}`] });
    const manifest = JSON.stringify({
      layers: [{ mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${digest}` }],
    });
    proc.putFile(100, 'elsewhere', manifest);
    mkdirSync(path.join(proc.root, '100/root/o/manifests/host/user/name'), { recursive: true });
    symlinkSync(
      path.join(proc.root, '100/root/elsewhere'),
      path.join(proc.root, '100/root/o/manifests/host/user/name/tag'),
    );
    expect((await ownerOf(100))?.model).toBeUndefined();
    proc.putFile(100, 'o/manifests/host/user/other/tag', manifest);
    expect((await ownerOf(100))?.model).toBe('host/user/other:tag');
  });
});

describe('PIDs of another namespace than the host’s', () => {
  const VLLM_PROCESS = { words: ['vllm', 'serve', 'a'] };

  it('gives nobody as an owner, and says how to mend it', async () => {
    const foreign = new FakeProc('pid:[4026532511]');
    try {
      foreign.put(100, VLLM_PROCESS);
      foreign.put(2, { name: 'kthreadd', parent: 0 }); // by its name alone
      const watched = owners(foreign.root);
      expect(watched.hint).toBeUndefined();
      expect((await watched.ownersOf([100])).size).toBe(0);
      expect(watched.hint).toMatch(/--pid=host/);
    } finally {
      foreign.dispose();
    }
  });

  it('takes the /proc of the host by the threads of the kernel in it', async () => {
    const mounted = new FakeProc('pid:[4026532511]');
    try {
      mounted.put(100, VLLM_PROCESS);
      mounted.put(2, { name: 'kthreadd', parent: 0, flags: 2_129_984 });
      const watched = owners(mounted.root);
      expect((await watched.ownersOf([100])).get(100)?.engine).toBe('vllm');
      expect(watched.hint).toBeUndefined();
    } finally {
      mounted.dispose();
    }
  });

  it('has no advice where there is no /proc', async () => {
    const watched = owners(path.join(proc.root, 'nowhere'));
    expect((await watched.ownersOf([100])).size).toBe(0);
    expect(watched.hint).toBeUndefined();
  });
});

onLinux('finds the engine above a real process, with the port it listens on', async () => {
  const serve = `
    const { spawn } = require('node:child_process');
    const worker = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { argv0: 'worker' });
    require('node:net').createServer().listen(0, '127.0.0.1', function () {
      console.log(JSON.stringify({ worker: worker.pid, port: this.address().port }));
    });
    process.on('SIGTERM', () => { worker.kill('SIGKILL'); process.exit(0); });`;
  const server = spawn(process.execPath, ['-e', serve, 'serve', 'org/model'], { argv0: '/opt/llama-server' });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  try {
    const line = await new Promise<string>((resolve) =>
      server.stdout.once('data', (data) => resolve(String(data))),
    );
    const { worker, port } = JSON.parse(line) as { worker: number; port: number };
    // The PIDs of a real /proc, said to be the host's wherever the test runs.
    for (const pid of [server.pid, worker]) symlinkSync(`/proc/${pid}`, path.join(proc.root, String(pid)));
    expect(await ownerOf(worker)).toMatchObject({ engine: 'llamacpp', port, program: 'worker' });
  } finally {
    server.kill('SIGTERM');
    await ended;
  }
});
