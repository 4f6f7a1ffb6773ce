import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { bundleProgram, runProgram, startExporterProgram, type RunningProgram } from './test-program.ts';

/** The program as it is shipped, run by node. */
describe('the program', () => {
  let folder: string;
  let script: string;
  const running: RunningProgram[] = [];

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gpu-exporter-program-'));
    mkdirSync(path.join(folder, 'sys'));
    script = bundleProgram('main');
  }, 60_000);
  afterEach(() => {
    for (const { child } of running.splice(0)) child.kill('SIGKILL');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A host without GPUs, whatever this one has. */
  const noGpu = (): Record<string, string> => ({
    PATH: folder,
    GPU_EXPORTER_BACKEND: 'amdgpu',
    GPU_EXPORTER_KERNEL_LOG: 'false',
    GPU_EXPORTER_SYSFS_ROOT: path.join(folder, 'sys'),
  });

  function run(file: string, argv: readonly string[]): RunningProgram {
    const program = runProgram(file, argv, noGpu());
    running.push(program);
    return program;
  }

  it('has a reader beside it that is started by nobody else', async () => {
    const { code, stderr } = await run(path.join(path.dirname(script), 'gpu-reader.cjs'), []).end;
    expect(code).toBe(2);
    expect(stderr).toContain('started by the gpu-exporter or the monitor');
  });

  it('has a reader that holds nothing of the server in its memory', () => {
    const reader = path.join(path.dirname(script), 'gpu-reader.cjs');
    expect(existsSync(reader)).toBe(true);
    expect(readFileSync(reader, 'utf8')).not.toMatch(/node_modules\/(koa|zod|pino|prom-client)\//);
  });

  it('checks a host without a GPU, and says so plainly', async () => {
    const { code, stdout } = await run(script, ['check']).end;
    expect(stdout).toContain('No GPU is seen.');
    expect(stdout).toContain('kernel log: not read');
    expect(code).toBe(1);
  }, 20_000);

  it('refuses roots that are not there, both at once', async () => {
    const argv = ['--sysfs-root', path.join(folder, 'nope'), '--proc-root', path.join(folder, 'main.txt')];
    const { code, stderr } = await run(script, argv).end;
    expect(code).toBe(2);
    expect(stderr).toContain('2 problems with its settings');
    expect(stderr).toContain('--sysfs-root: there is no folder');
    expect(stderr).toContain('--proc-root: there is no folder');
  }, 20_000);

  (process.platform === 'linux' ? it : it.skip)(
    'serves on where energy cannot be kept, and warns of what is lost',
    async () => {
      const file = '/proc/no-such-folder/energy.json';
      const program = await startExporterProgram(script, { ...noGpu(), GPU_EXPORTER_STATE_FILE: file });
      running.push(program);
      const said = await program.hear('first look at the GPUs has ended');
      expect(said).toContain(`energy cannot be kept in ${file} (ENOENT), so what was integrated`);
      expect(said).toContain('is lost at the next restart: let this user write to its folder');
      program.child.kill('SIGTERM');
      expect((await program.end).code).toBe(0);
    },
    20_000,
  );

  it('serves a host without a GPU, and ends on SIGTERM', async () => {
    const program = await startExporterProgram(script, noGpu());
    running.push(program);
    await program.hear('first look at the GPUs has ended');
    program.child.kill('SIGTERM');
    const { code, stdout } = await program.end;
    expect(code).toBe(0);
    expect(stdout).toContain('"seen":"No GPU is seen.');
  }, 20_000);
});
