import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { build } from 'esbuild';

/** The program as it is shipped: one bundle, run by node. */
describe('the bundle', () => {
  let folder: string;
  let bundle: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'gpu-exporter-bundle-'));
    bundle = path.join(folder, 'main.cjs');
    await build({
      entryPoints: [path.join(__dirname, 'main.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      external: ['koffi'],
      logLevel: 'silent',
    });
    mkdirSync(path.join(folder, 'sys'));
  }, 60_000);
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  interface End {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }

  /** A host without GPUs, whatever this one has. */
  const NO_GPU = { GPU_EXPORTER_BACKEND: 'amdgpu', GPU_EXPORTER_KERNEL_LOG: 'false' };

  function start(
    argv: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): {
    readonly child: ChildProcess;
    readonly end: Promise<End>;
    readonly until: (words: string) => Promise<void>;
  } {
    const child = spawn(process.execPath, [bundle, ...argv], {
      env: { PATH: folder, GPU_EXPORTER_SYSFS_ROOT: path.join(folder, 'sys'), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const said = { stdout: '', stderr: '' };
    child.stdout?.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
    return {
      child,
      end: once(child, 'close').then(([code]) => ({ code: code as number | null, ...said })),
      until: async (words) => {
        while (!said.stdout.includes(words)) await once(child.stdout ?? child, 'data');
      },
    };
  }

  it('is a reader only for a parent that it can talk to', async () => {
    const { code, stderr } = await start(['gpu-reader']).end;
    expect(code).toBe(2);
    expect(stderr).toContain('there is no command "gpu-reader"');
  });

  it('holds nothing of the server in the memory of a reader', async () => {
    const probe = path.join(folder, 'probe.cjs');
    writeFileSync(
      probe,
      `process.on('message', () => process.send(process.moduleLoadList.filter((name) => /NativeModule (?:http|https|tls|zlib)$/.test(name))));`,
    );
    const child = fork(bundle, ['gpu-reader'], { execArgv: ['--require', probe], stdio: 'ignore' });
    children.push(child);
    const loaded = new Promise((resolve) => {
      child.on('message', (message) => {
        if (Array.isArray(message)) resolve(message);
      });
    });
    const orders = {
      backend: 'amdgpu',
      parent: process.pid,
      intervalSeconds: 1,
      sampleHertz: 0,
      deadlineSeconds: 5,
    };
    child.send({
      type: 'start',
      orders: { ...orders, sysfsRoot: path.join(folder, 'sys'), procRoot: '/proc' },
    });
    expect(await loaded).toEqual([]);
  });

  it('checks a host without a GPU, says so plainly, and leaves no reader behind', async () => {
    const { code, stdout } = await start(['check'], NO_GPU).end;
    expect(stdout).toContain('No GPU is seen.');
    expect(stdout).toContain('kernel log: not read');
    expect(code).toBe(1);
  }, 20_000);

  it('serves a host without a GPU, and ends at once on SIGTERM', async () => {
    const { child, end, until } = start([], { ...NO_GPU, GPU_EXPORTER_PORT: '0' });
    await until('first look at the GPUs has ended');
    child.kill('SIGTERM');
    const { code, stdout } = await end;
    expect(code).toBe(0);
    expect(stdout).toContain('"seen":"No GPU is seen.');
  }, 20_000);
});
