import type { BackendFailureReason } from '@llm-monitor/gpus';

import { lookOnce, renderCheck, type CheckOptions } from './check-command.ts';
import {
  APU,
  backendState,
  createFakeWatch,
  createTestClock,
  HUNG,
  LOST_GPU,
  snapshotOf,
  VLLM_GPU,
} from './test-gpus.ts';

const OPTIONS: CheckOptions = {
  expectedDevices: undefined,
  kernelLog: true,
  verbose: false,
  nowUnixSeconds: 1_700_000_100,
};
const render = (snapshot = snapshotOf(), options: Partial<CheckOptions> = {}, remarks: string[] = []) =>
  renderCheck({ snapshot, remarks }, { ...OPTIONS, ...options });

describe('check', () => {
  it('prints backends, GPUs, and what uses them', () => {
    const { text, exitCode } = render();
    expect(text.split('\n')).toEqual([
      '1 GPU, read by nvml.',
      '',
      'BACKEND  STATE    GPUS  DRIVER     LIBRARY',
      'nvml     reading  1     570.86.15  12.570.86.15',
      '',
      'GPU  NAME                   STATE  BUSY  MEMORY            POWER  TEMPERATURE  UUID',
      '0    NVIDIA H100 80GB HBM3  up     87 %  74.0 of 80.0 GiB  312 W  64 °C        GPU-8d4f3c1e-1111-2222-3333-44445555aaaa',
      'gpu 0: XID 94, 2 times',
      'gpu 0: process 4321: vllm, model meta-llama/Llama-3.1-70B, 73.0 GiB, port 8000, container 0123456789ab',
      'gpu 0: process 99: Xorg (engine unknown), 0.0 GiB',
      'gpu 0: does not tell fan',
      '',
    ]);
    expect(exitCode).toBe(0);
  });

  it('shows the host memory in which the model of an APU lives, and no figure that is not known', () => {
    const { text, exitCode } = render(
      snapshotOf({ gpus: [APU], backends: [backendState({ backend: 'amdgpu' })] }),
    );
    expect(text).toContain(
      '0    amd   up     -     0.4 of 0.5 GiB + GTT 30.6 GiB  -      -            0000:c1:00.0\n',
    );
    expect(text).toContain('gpu 0: the driver does not tell its processes');
    expect(text).toContain('gpu 0: does not tell utilization, temperature, power, energy meter, clocks');
    expect(exitCode).toBe(0);
  });

  it('says once what several GPUs lack alike', () => {
    const other = { ...VLLM_GPU, processes: [], reading: { ...VLLM_GPU.reading, gpu: '1' } };
    const { text } = render(snapshotOf({ gpus: [VLLM_GPU, other] }));
    expect(text.match(/does not tell fan/g)).toHaveLength(1);
    expect(text).toContain('gpu 0, 1: does not tell fan');
  });

  const poor = snapshotOf({
    backends: [
      backendState({
        unsupported: [
          { field: 'nvmlDeviceGetFanSpeed_v2', why: 'not_supported' },
          { field: 'nvmlDeviceGetTemperatureV', why: 'missing_symbol' },
          { field: 'nvmlDeviceGetMarginTemperature', why: 'missing_symbol' },
          { field: 'nvmlDeviceGetFanSpeedRPM', why: 'not_supported' },
          { field: 'nvmlDeviceGetFieldValues(202)', why: 'not_supported' },
          { field: 'nvmlDeviceGetSomethingNew', why: 'not_supported' },
        ],
        unparsed: new Map([['utilization/gpu_util', 3]]),
      }),
    ],
  });

  it('names the metrics that are missing, by the reason, and what was not understood', () => {
    const { text } = render(poor);
    expect(text).toContain(
      'gpu 0: without gpu_fan_speed_ratio, gpu_fan_speed_rpm, gpu_nvlink_transmit_bytes_total: this GPU or driver does not have it\n',
    );
    // Another function has told the temperature of the core.
    expect(text).toContain('gpu 0: without gpu_temperature_headroom_celsius: the driver is too old for it\n');
    expect(text).toContain('nvml: utilization/gpu_util was not understood (3 times)\n');
  });

  it('names native readings only where nobody knows what they cost, or when asked for more', () => {
    expect(render(poor).text.match(/nvmlDevice\w+/g)).toEqual(['nvmlDeviceGetSomethingNew']);
    const { text } = render(poor, { verbose: true });
    expect(text).toContain(
      'nvml: cannot read nvmlDeviceGetFanSpeed_v2, nvmlDeviceGetFanSpeedRPM, nvmlDeviceGetFieldValues(202), nvmlDeviceGetSomethingNew: this GPU or driver does not have it\n',
    );
    expect(text).toContain(
      'nvml: cannot read nvmlDeviceGetTemperatureV, nvmlDeviceGetMarginTemperature: the driver is too old for it\n',
    );
  });

  it('shows the whole UUID: two GPUs may begin and end alike', () => {
    const uuid = 'GPU-8d4f3c1e-9999-2222-3333-44445555aaaa';
    const twin = { ...VLLM_GPU, reading: { ...VLLM_GPU.reading, gpu: '1', uuid } };
    const { text } = render(snapshotOf({ gpus: [VLLM_GPU, twin] }));
    expect(text).toContain(VLLM_GPU.reading.uuid);
    expect(text).toContain(uuid);
  });

  it('tells of a driver that hangs once, not for each of its GPUs', () => {
    const gone = (gpu: string) => ({
      ...LOST_GPU,
      xids: undefined,
      reading: { ...LOST_GPU.reading, gpu, uuid: `GPU-${gpu}`, condition: 'driver_unreachable' as const },
    });
    const { text } = render(snapshotOf({ gpus: [gone('0'), gone('1')], backends: [HUNG] }));
    expect(text).toContain('2 GPUs that nvml cannot read now (hung): the driver has not answered for 5 s.\n');
    expect(text.match(/sudo dmesg/g)).toHaveLength(1);
    expect(text).not.toMatch(/read by|Down|gpu 0:/);
  });

  it.each<[BackendFailureReason, string, string]>([
    ['driver_mismatch', 'reboot, or stop all', '$ sudo rmmod nvidia_uvm'],
    ['init_unknown_error', 'systemctl daemon-reload', '$ docker restart gpu-exporter'],
    ['no_permission', 'add it to their group', '$ ls -l /dev/nvidia*'],
    ['library_missing', 'NVIDIA_DRIVER_CAPABILITIES=utility', '$ docker run --gpus all'],
    ['no_gpus', 'lists no GPU', '$ lspci -k'],
    ['hung', 'does not answer', '$ sudo dmesg | grep -i xid'],
  ])('tells the mend of %s', (reason, sentence, command) => {
    const failure = { reason, message: 'what the driver said', sinceUnixSeconds: 1_700_000_000 };
    const { text, exitCode } = render(snapshotOf({ gpus: [], backends: [backendState({ failure })] }));
    expect(text).toContain(`No GPU is seen. nvml fails (${reason}): what the driver said.`);
    expect(text).toContain(`nvml: ${reason}: what the driver said\n`);
    expect(text).toContain(sentence);
    expect(text).toContain(`  ${command}`);
    expect(exitCode).toBe(1);
  });

  it('says plainly that there is no GPU', () => {
    const { text, exitCode } = render(
      snapshotOf({ gpus: [], backends: [], nothing: 'no NVIDIA or AMD GPU on the PCI bus' }),
    );
    expect(text).toBe('No GPU is seen: no NVIDIA or AMD GPU on the PCI bus.\n');
    expect(exitCode).toBe(1);
  });

  it.each([
    ['a sleeping GPU', 'suspended', 0, 'gpu 0: asleep, and left alone'],
    ['a lost GPU', 'lost', 1, 'It fell off the bus (XID 79)'],
    ['a GPU to be reset', 'reset_required', 1, '$ sudo nvidia-smi --gpu-reset'],
  ] as const)('tells of %s', (_title, condition, code, words) => {
    const gpu = { ...LOST_GPU, reading: { ...LOST_GPU.reading, gpu: '0', condition } };
    const { text, exitCode } = render(snapshotOf({ gpus: [gpu] }));
    expect(exitCode).toBe(code);
    expect(text).toContain(words);
  });

  it('ends with 1 beside a good GPU when another is lost or a backend hangs', () => {
    expect(render(snapshotOf({ gpus: [VLLM_GPU, LOST_GPU] })).exitCode).toBe(1);
    const hung = render(snapshotOf({ backends: [HUNG] }));
    expect(hung.exitCode).toBe(1);
    expect(hung.text).toContain('nvml: 1 readers are stuck in the driver; only a reboot ends them');
  });

  it.each([
    [undefined, 0],
    [1, 0],
    [2, 1],
  ])('with %j GPUs expected and one there ends with %d', (expectedDevices, code) => {
    const { text, exitCode } = render(snapshotOf(), { expectedDevices });
    expect(exitCode).toBe(code);
    expect(text.includes('Of 2 GPUs expected (GPU_EXPORTER_EXPECTED_DEVICES), 1 are well.')).toBe(code === 1);
  });

  it('tells what else limits it: the kernel log, another PID namespace', () => {
    expect(render(snapshotOf(), { kernelLog: false }).text).toContain(
      'kernel log: not read (GPU_EXPORTER_KERNEL_LOG',
    );
    expect(render(snapshotOf(), {}, ['share the PID namespace of the host']).text).toContain(
      '\nshare the PID namespace of the host\n',
    );
  });

  it('leaves the terminal alone, whatever a process calls itself', () => {
    const gpu = {
      ...VLLM_GPU,
      processes: [{ pid: 1, type: 'compute' as const, name: 'evil\u001b[2J', owner: { model: 'a\u0007b' } }],
    };
    const { text } = render(snapshotOf({ gpus: [gpu] }));
    expect(text).toContain('evil [2J');
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });
});

describe('one look', () => {
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

  it('ends as soon as every backend has read and the owners are known', async () => {
    const owned = { ...VLLM_GPU, processes: VLLM_GPU.processes?.slice(0, 1) };
    const watch = createFakeWatch(snapshotOf({ gpus: [owned] }), ['a remark']);
    const clock = createTestClock();
    const looking = lookOnce(watch, 5, clock);
    watch.readNow();
    expect(await looking).toMatchObject({ snapshot: { gpus: [owned] }, remarks: ['a remark'] });
    expect(clock.waiting()).toBe(0);
  });

  it('waits for a second backend in place of the first, and for owners', async () => {
    const failing = snapshotOf({
      gpus: [],
      backends: [
        backendState({ failure: { reason: 'library_missing', message: 'gone', sinceUnixSeconds: 1 } }),
      ],
    });
    const watch = createFakeWatch(failing);
    const looking = lookOnce(watch, 5, createTestClock());
    watch.readNow();
    await nextTurn();
    const owned = { ...VLLM_GPU, processes: VLLM_GPU.processes?.slice(0, 1) };
    watch.set(snapshotOf({ gpus: [owned] }));
    expect((await looking).snapshot.gpus).toEqual([owned]);
  });

  it('gives up on a driver that never answers, past its deadline', async () => {
    const clock = createTestClock();
    const looking = lookOnce(createFakeWatch(snapshotOf({ gpus: [], backends: [HUNG] })), 5, clock);
    clock.pass(7);
    await nextTurn();
    clock.pass(2);
    expect((await looking).snapshot.backends).toEqual([HUNG]);
  });
});
