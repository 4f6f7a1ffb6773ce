import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';

import type { GpuSnapshot, GpuWatchParts } from '@llm-monitor/gpus';

import { runExporterCommandLine, type Decision } from './command-line.ts';
import { watchPartsOf } from './exporter.ts';
import { createFakeWatch, createTestClock, HUNG, LOST_GPU, snapshotOf, VLLM_GPU } from './test-gpus.ts';
import { VERSION } from './version.ts';

interface Run {
  readonly decision: Decision;
  readonly stdout: string;
  readonly stderr: string;
  readonly watched: readonly GpuWatchParts[];
  readonly isStopped: boolean;
}

/** The command line as a process would run it, without one, over a watch that has read already. */
async function run(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  snapshot: GpuSnapshot = snapshotOf({ gpus: [{ ...VLLM_GPU, processes: [] }] }),
): Promise<Run> {
  const said = { stdout: '', stderr: '' };
  const watched: GpuWatchParts[] = [];
  const watch = createFakeWatch(snapshot, ['the kernel log may not be read: run as root on gpu-box, alice']);
  watch.readNow();
  const clock = createTestClock();
  const decided = runExporterCommandLine({
    argv,
    env,
    readFile: (file) => {
      if (file === '/etc/os-release') return 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';
      throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    },
    stdin: Readable.from([]),
    stdout: { write: (text) => (said.stdout += text) },
    stderr: { write: (text) => (said.stderr += text) },
    script: '/opt/main.cjs',
    searchPath: '/usr/bin',
    stateDirectory: '/var/lib/gpu-exporter',
    machine: {
      nodeVersion: 'v22.0.0',
      platform: 'linux',
      architecture: 'x64',
      kernel: '6.1.0',
      hostName: 'gpu-box',
      userName: 'alice',
    },
    startWatch: (parts) => {
      watched.push(parts);
      return watch;
    },
    clock,
  });
  // The fake reads at once; what waits for more is let go by the clock.
  await new Promise((resolve) => setImmediate(resolve));
  clock.pass(10);
  return { decision: await decided, ...said, watched, isStopped: watch.isStopped() };
}

describe('the command line', () => {
  it('serves without a command, and hands on what the process knows', async () => {
    const { decision, watched } = await run([]);
    expect(watched).toEqual([]);
    expect(decision).toMatchObject({
      serve: true,
      processFacts: {
        script: '/opt/main.cjs',
        searchPath: '/usr/bin',
        stateDirectory: '/var/lib/gpu-exporter',
      },
    });
  });

  it('answers --help with every command and setting', async () => {
    const { decision, stdout } = await run(['--help']);
    expect(decision).toEqual({ serve: false, exitCode: 0 });
    expect(stdout).toContain('read FILE');
    expect(stdout).toContain('check [--verbose] [--report]');
    expect(stdout).toContain('GPU_EXPORTER_SAMPLE_RATE');
  });

  it('knows no command gpu-reader: without a parent it is a word like any other', async () => {
    const { decision, stderr } = await run(['gpu-reader']);
    expect(decision).toEqual({ serve: false, exitCode: 2 });
    expect(stderr).toContain('known commands are read, check');
  });

  it('answers --version with the version of the package', async () => {
    const manifest = JSON.parse(readFileSync(path.join(__dirname, '../package.json'), 'utf8')) as {
      version: string;
    };
    expect(VERSION).toBe(manifest.version);
    expect((await run(['--version'])).stdout).toBe(`gpu-exporter ${manifest.version}\n`);
  });
});

describe('check', () => {
  it('looks once, ends with 0 where all is well, and stops its readers', async () => {
    const { decision, stdout, watched, isStopped } = await run(['check']);
    expect(decision).toEqual({ serve: false, exitCode: 0 });
    expect(stdout).toContain('1 GPU, read by nvml.');
    expect(stdout).toContain('the kernel log may not be read: run as root on gpu-box, alice');
    expect(isStopped).toBe(true);
    expect(watched).toHaveLength(1);
    expect(watched[0]?.readerCommand).toMatchObject({ script: '/opt/gpu-reader.cjs' });
  });

  it('leaves the energy that the running exporter keeps alone', async () => {
    const { watched } = await run(['check'], { GPU_EXPORTER_STATE_FILE: '/var/lib/energy.json' });
    expect(watched[0]?.settings.stateFile).toBeUndefined();
  });

  it.each([
    ['no GPU', snapshotOf({ gpus: [], backends: [], nothing: 'nothing on the bus' })],
    ['a lost GPU', snapshotOf({ gpus: [LOST_GPU] })],
    ['a backend that fails', snapshotOf({ backends: [HUNG] })],
  ])('ends with 1 for %s', async (_title, snapshot) => {
    expect((await run(['check'], {}, snapshot)).decision).toEqual({ serve: false, exitCode: 1 });
  });

  it('prints a report for a bug report, as JSON and with nothing that tells whose machine it is', async () => {
    const { stdout } = await run(['check', '--report'], {}, snapshotOf());
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report['versions']).toMatchObject({
      'gpu-exporter': VERSION,
      node: 'v22.0.0',
      operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    });
    for (const word of ['gpu-box', 'alice', '1320220015641', 'hunter2', 'Llama']) {
      expect(stdout).not.toContain(word);
    }
  });
});

describe('the parts of the watch', () => {
  const facts = { script: 'main.cjs', searchPath: undefined, stateDirectory: undefined };
  const settingsOf = async (env: Readonly<Record<string, string>>) => {
    const { decision } = await run([], env);
    if (!decision.serve) throw new Error('these settings are refused');
    return decision.settings;
  };

  it.each([
    [{}, undefined, undefined],
    [{}, '/var/lib/gpu-exporter', '/var/lib/gpu-exporter/energy.json'],
    [{}, '/var/lib/a:/var/lib/b', '/var/lib/a/energy.json'],
    [{ GPU_EXPORTER_STATE_FILE: '/srv/e.json' }, '/var/lib/gpu-exporter', '/srv/e.json'],
  ])('with %j and the state directory %j keep energy in %j', async (env, stateDirectory, expected) => {
    const { settings } = watchPartsOf(await settingsOf(env), { ...facts, stateDirectory });
    expect(settings.stateFile).toBe(expected);
  });

  it.each([
    [{}, '/dev/kmsg'],
    [{ GPU_EXPORTER_KERNEL_LOG: 'false' }, undefined],
    [{ GPU_EXPORTER_KERNEL_LOG_FILE: '/host/kmsg' }, '/host/kmsg'],
  ])('with %j read the kernel log from %j', async (env, expected) => {
    expect(watchPartsOf(await settingsOf(env), facts).settings.kernelLogFile).toBe(expected);
  });
});
