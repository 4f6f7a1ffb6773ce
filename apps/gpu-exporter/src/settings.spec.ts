import { Readable } from 'node:stream';

import { runExporterCommandLine, type Decision } from './command-line.ts';

async function decide(
  env: Readonly<Record<string, string>>,
  argv: readonly string[] = [],
): Promise<{ decision: Decision; stderr: string }> {
  let stderr = '';
  const decision = await runExporterCommandLine({
    argv,
    env: Object.fromEntries(Object.entries(env).map(([name, value]) => [`GPU_EXPORTER_${name}`, value])),
    readFile: () => '',
    isFolder: (folder) => folder.startsWith('/host/'),
    stdin: Readable.from([]),
    stdout: { write: () => undefined },
    stderr: { write: (text) => (stderr += text) },
    script: 'main.cjs',
    searchPath: undefined,
    stateDirectory: undefined,
    machine: {
      nodeVersion: 'v22.0.0',
      platform: 'linux',
      architecture: 'x64',
      kernel: '6.1.0',
      hostName: 'gpu-box',
      userName: 'alice',
    },
  });
  return { decision, stderr };
}

describe('the settings of the gpu-exporter', () => {
  it('are good without any', async () => {
    const { decision, stderr } = await decide({});
    expect(stderr).toBe('');
    expect(decision).toMatchObject({
      serve: true,
      settings: {
        host: '127.0.0.1',
        port: 9501,
        backend: 'auto',
        interval: 1,
        nvidiaSmiInterval: 5,
        sampleRate: 10,
        deadline: 5,
        staleAfter: 10,
        processes: true,
        maxProcessesPerGpu: 32,
        kernelLog: true,
        kernelLogFile: '/dev/kmsg',
        sysfsRoot: '/sys',
        procRoot: '/proc',
      },
    });
  });

  it.each([
    [{ BACKEND: 'nvidia-smi' }, 'backend', 'nvidia-smi'],
    [{ INTERVAL: '100ms' }, 'interval', 0.1],
    [{ SAMPLE_RATE: '0' }, 'sampleRate', 0],
    [{ MAX_PROCESSES_PER_GPU: '0' }, 'maxProcessesPerGpu', 0],
    [{ EXPECTED_DEVICES: '0' }, 'expectedDevices', 0],
    [{ EXIT_ON_PERSISTENT_FAILURE: '5m' }, 'exitOnPersistentFailure', 300],
    [{ DEADLINE: '10s', STALE_AFTER: '10s' }, 'deadline', 10],
    [{ BACKEND: 'amdgpu', SYSFS_ROOT: '/host/sys' }, 'sysfsRoot', '/host/sys'],
    [{ PROC_ROOT: '/host/proc' }, 'procRoot', '/host/proc'],
    [{ NVML_LIBRARY: '/opt/libnvidia-ml.so.1' }, 'nvmlLibrary', '/opt/libnvidia-ml.so.1'],
  ])('accept %j', async (env, property, expected) => {
    const { decision, stderr } = await decide(env);
    expect(stderr).toBe('');
    expect(decision).toMatchObject({ serve: true, settings: { [property]: expected } });
  });

  it.each([
    [{ BACKEND: 'nvidia_smi' }, 'did you mean nvidia-smi?'],
    [{ INTERVAL: '99ms' }, 'GPU_EXPORTER_INTERVAL: expected a duration'],
    [{ INTERVAL: '61s' }, 'GPU_EXPORTER_INTERVAL: expected a duration'],
    [{ SAMPLE_RATE: '11' }, 'GPU_EXPORTER_SAMPLE_RATE: expected a whole number from 0 to 10'],
    [{ EXPECTED_DEVICES: '-1' }, 'GPU_EXPORTER_EXPECTED_DEVICES: expected'],
    [{ EXIT_ON_PERSISTENT_FAILURE: '9s' }, 'GPU_EXPORTER_EXIT_ON_PERSISTENT_FAILURE: expected'],
    [
      { INTERVAL: '10s' },
      'GPU_EXPORTER_STALE_AFTER (10 s) is not above GPU_EXPORTER_INTERVAL (10 s), so every reading would be dropped',
    ],
    [{ DEADLINE: '11s' }, 'GPU_EXPORTER_STALE_AFTER (10 s) is below GPU_EXPORTER_DEADLINE (11 s)'],
    [{ BACKEND: 'amdgpu', NVML_LIBRARY: '/lib/x' }, 'which never loads it'],
    [{ BACKEND: 'amdgpu', NVIDIA_SMI: '/bin/x' }, 'which never runs it'],
    [{ SYSFS_ROOT: '/nope' }, 'GPU_EXPORTER_SYSFS_ROOT: there is no folder "/nope"'],
    [{ PROC_ROOT: '/host' }, 'or leave the setting out for /proc'],
    [{ KERNEL_LGO: 'true' }, 'did you mean GPU_EXPORTER_KERNEL_LOG?'],
  ])('refuse %j', async (env, words) => {
    const { decision, stderr } = await decide(env);
    expect(decision).toEqual({ serve: false, exitCode: 2 });
    expect(stderr).toContain(words);
  });

  it('are told all at once when they are wrong', async () => {
    const { stderr } = await decide({ PORT: '99999', INTERVAL: 'soon', BACKEND: 'cuda' }, [
      '--smaple-rate',
      '3',
    ]);
    for (const words of ['_PORT', '_INTERVAL', '_BACKEND', '--smaple-rate']) expect(stderr).toContain(words);
  });
});
