import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { answerNvidiaSmi } from './nvidia-smi.ts';
import { busyGpu, DRIVERS, H100, idleGpu, MI300X, nvidiaHost, RTX_4090 } from './test-gpu-state.ts';

const host = nvidiaHost([busyGpu(H100), idleGpu(H100, 1)]);
/** As in the capture. */
const idle = nvidiaHost([idleGpu(H100)]);
const gamer = nvidiaHost([busyGpu(RTX_4090)], DRIVERS.r535);

function table(fields: string, format = 'csv', of = host): string {
  return answerNvidiaSmi([`--query-gpu=${fields}`, `--format=${format}`], of).stdout;
}

describe('--query-gpu', () => {
  it('prints a header with units, and a line per GPU', () => {
    expect(table('index,name,uuid,pci.bus_id,memory.total,power.draw')).toBe(
      [
        'index, name, uuid, pci.bus_id, memory.total [MiB], power.draw [W]',
        '0, NVIDIA H100 80GB HBM3, GPU-00000008-0000-4000-8000-000000000000, 00000000:1A:00.0, 81559 MiB, 699.54 W',
        '1, NVIDIA H100 80GB HBM3, GPU-00000008-0001-4000-8000-000000000000, 00000000:1B:00.0, 81559 MiB, 70.13 W',
        '',
      ].join('\n'),
    );
  });

  it.each([
    ['csv', 'utilization.gpu [%], temperature.gpu\n87 %, 67\n'],
    ['csv,nounits', 'utilization.gpu [%], temperature.gpu\n87, 67\n'],
    ['csv,noheader', '87 %, 67\n'],
    ['csv,noheader,nounits', '87, 67\n'],
  ])('as %s', (format, text) => {
    const args = ['-i', '0', '--query-gpu=utilization.gpu,temperature.gpu', `--format=${format}`];
    expect(answerNvidiaSmi(args, host)).toEqual({ stdout: text, stderr: '', exitCode: 0 });
  });

  it.each([
    ['timestamp', '2026/08/21 08:54:01.250'],
    ['driver_version', '580.105.08'],
    ['count', '2'],
    ['gpu_uuid', 'GPU-00000008-0000-4000-8000-000000000000'],
    ['pci.bus', '0x1A'],
    ['pci.device_id', '0x233010DE'],
    ['pcie.link.gen.current', '5'],
    ['pcie.link.width.max', '16'],
    ['fan.speed', '[N/A]'],
    ['pstate', 'P0'],
    ['clocks_event_reasons.active', '0x0000000000000004'],
    ['clocks_throttle_reasons.sw_power_cap', 'Active'],
    ['clocks_event_reasons_counters.sw_power_cap', '1801123456 us'],
    ['memory.used', '69325 MiB'],
    ['memory.free', '11754 MiB'],
    ['utilization.memory', '42 %'],
    ['ecc.mode.current', 'Enabled'],
    ['ecc.errors.corrected.volatile.dram', '0'],
    ['ecc.errors.uncorrected.aggregate.l1_cache', '[N/A]'],
    ['remapped_rows.pending', 'No'],
    ['temperature.gpu.tlimit', '20'],
    ['temperature.memory', '77'],
    ['power.draw.instant', '699.54 W'],
    ['enforced.power.limit', '700.00 W'],
    ['power.max_limit', '700.00 W'],
    ['clocks.sm', '1755 MHz'],
    ['clocks.max.mem', '2619 MHz'],
    ['mig.mode.current', 'Disabled'],
    ['compute_cap', '9.0'],
  ])('%s of an H100 is %s', (field, text) => {
    expect(table(field, 'csv,noheader').split('\n')[0]).toBe(text);
  });

  it.each([
    ['serial', '[N/A]'],
    ['fan.speed', '56 %'],
    ['temperature.memory', 'N/A'],
    ['ecc.mode.current', '[N/A]'],
    ['ecc.errors.corrected.volatile.total', '[N/A]'],
    ['remapped_rows.correctable', '[N/A]'],
    ['mig.mode.current', '[N/A]'],
  ])('%s of a GeForce is %s', (field, text) => {
    expect(table(field, 'csv,noheader', gamer)).toBe(`${text}\n`);
  });

  it.each([
    ['a field that there is not', 'index,fan.rpm,uuid', 'fan.rpm', DRIVERS.r580],
    ['one that came later', 'index,gpu_recovery_action', 'gpu_recovery_action', DRIVERS.r535],
    ['an empty one', 'index,', '', DRIVERS.r580],
    [
      'the new name before its time',
      'clocks_event_reasons.active',
      'clocks_event_reasons.active',
      DRIVERS.r470,
    ],
  ])('costs all data for %s', (_, fields, unknown, driver) => {
    expect(
      answerNvidiaSmi([`--query-gpu=${fields}`, '--format=csv'], { ...host, nvidiaDriver: driver }),
    ).toEqual({
      stdout: `Field "${unknown}" is not a valid field to query.\n\n`,
      stderr: '',
      exitCode: 2,
    });
  });

  it('counts what is reserved as used before there was a word for it', () => {
    const old = { ...host, nvidiaDriver: DRIVERS.r470 };
    expect(table('memory.used', 'csv,noheader', old).split('\n')[0]).toBe('69805 MiB');
    expect(table('clocks_throttle_reasons.active', 'csv,noheader', old).split('\n')[0]).toBe(
      '0x0000000000000004',
    );
  });
});

/** Numbers in figures and identifiers are those of this and that host: their shape alone is compared. */
function shapeOf(cell: string): string {
  return cell.replace(/\b(0x)?[0-9A-F]*\d[0-9A-F]*\b(\.\d+)?/g, '1');
}

const CAPTURE = 'query-gpu/linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt';
if (captureFiles('nvidia-smi').length === 0) {
  it.skip(`prints headers and cells as a real one (${capturesReason})`, () => undefined);
} else {
  it('prints headers and cells as a real one', () => {
    const lines = readFileSync(path.join(capturesDirectory() ?? '', 'nvidia-smi', CAPTURE), 'utf8').split(
      '\n',
    );
    const at = lines.findIndex((line) => line.startsWith('# $ nvidia-smi --query-gpu=timestamp'));
    const asked = /--query-gpu=(\S+)/.exec(lines[at] ?? '')?.[1]?.split(',') ?? [];
    const [head, cells] = [at + 2, at + 3].map((place) => (lines[place] ?? '').split(', '));
    const known = asked
      .map((field, place) => ({ field, head: head?.[place], cell: cells?.[place] ?? '' }))
      .filter(({ field }) => !table(field, 'csv', idle).startsWith('Field '));
    expect(known.length).toBeGreaterThan(100);
    const ours = known.map(({ field }) => {
      const [ourHead, ourCell = ''] = table(field, 'csv', idle).split('\n');
      return [field, ourHead, shapeOf(ourCell)];
    });
    const theirs = known.map(({ field, head: theirHead, cell }) => [field, theirHead, shapeOf(cell)]);
    expect(ours).toEqual(theirs);
  });
}

describe('--query-compute-apps', () => {
  it('prints a line per process under the full names of the fields', () => {
    const args = ['--query-compute-apps=gpu_uuid,pid,name,used_memory', '--format=csv'];
    expect(answerNvidiaSmi(args, host).stdout).toBe(
      'gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n' +
        'GPU-00000008-0000-4000-8000-000000000000, 41000, /usr/bin/python3, 69125 MiB\n',
    );
  });

  it('knows no fields of GPUs', () => {
    const args = ['--query-compute-apps=pid,utilization.gpu', '--format=csv'];
    expect(answerNvidiaSmi(args, host)).toMatchObject({ exitCode: 2 });
  });
});

it('lists the GPUs in the order of their addresses, whatever the order of the truth', () => {
  const unordered = nvidiaHost([idleGpu(H100, 1), idleGpu(MI300X, 5), idleGpu(RTX_4090, 0)]);
  expect(answerNvidiaSmi(['-L'], unordered).stdout).toBe(
    'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-00000008-0000-4000-8000-000000000000)\n' +
      'GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-00000008-0001-4000-8000-000000000000)\n',
  );
});

it.each([
  [DRIVERS.r470, "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n", 2],
  [
    DRIVERS.r580,
    'NVIDIA-SMI version  : 580.105.08\nNVML version        : 580.105\nDRIVER version      : 580.105.08\nCUDA Version        : 13.0\n',
    0,
  ],
  [
    { version: '610.57.04', cudaVersion: '13.3' },
    'NVIDIA-SMI version  : 610.57.04\nNVML version        : 610.57\nDRIVER version      : Deprecated, see "KMD version" instead\nCUDA version        : Deprecated, see "CUDA UMD version" instead\nKMD version         : 610.57.04\nCUDA UMD version    : 13.3\n',
    0,
  ],
])('--version of %j', (nvidiaDriver, stdout, exitCode) => {
  expect(answerNvidiaSmi(['--version'], { ...host, nvidiaDriver })).toEqual({ stdout, stderr: '', exitCode });
});

describe('a GPU that is lost', () => {
  const lost = idleGpu(H100, 1, { lostByXid: 79 });
  const gpus = [idleGpu(H100, 0), lost];

  it.each([
    [DRIVERS.r470, 'GPU 0000:1B:00.0'],
    [DRIVERS.r535, 'GPU0000:1B:00.0'],
  ])('ends the run of driver %j', (driver, label) => {
    expect(answerNvidiaSmi(['-q', '-x'], nvidiaHost(gpus, driver))).toEqual({
      stdout: `Unable to determine the device handle for ${label}: GPU is lost.  Reboot the system to recover this GPU\n`,
      stderr: '',
      exitCode: 15,
    });
  });

  it('is complained of on stderr by newer ones, which tell of the others', () => {
    const { stdout, stderr, exitCode } = answerNvidiaSmi(['-L'], nvidiaHost(gpus));
    expect(stdout).toBe('GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000008-0000-4000-8000-000000000000)\n');
    expect(stderr).toBe(
      'Unable to determine the device handle for GPU1: 0000:1B:00.0: GPU is lost.  Reboot the system to recover this GPU\n',
    );
    expect(exitCode).toBe(15);
  });

  it('is not complained of when another one is asked for', () => {
    expect(answerNvidiaSmi(['-L', '-i', '0'], nvidiaHost(gpus))).toMatchObject({ stderr: '', exitCode: 0 });
  });
});

describe('a run that fails', () => {
  const mismatch = { ...DRIVERS.r580, kernelModuleVersion: '575.57.08' };

  it.each([
    ['of another version than the kernel module', nvidiaHost([], mismatch), ['-q', '-x'], 18],
    ['without a driver', { ...host, nvidiaDriver: undefined }, ['-q', '-x'], 9],
    ['without a GPU', nvidiaHost([]), ['-q', '-x'], 6],
    ['for a GPU that there is not', host, ['-L', '-i', '2'], 6],
    ['without a format', host, ['--query-gpu=index'], 2],
    ['with a format that there is not', host, ['--query-gpu=index', '--format=xml'], 2],
    ['with -q alone', host, ['-q'], 2],
    ['with an option that there is not', host, ['--frobnicate'], 2],
  ])('%s', (_, of, args, exitCode) => {
    const answer = answerNvidiaSmi(args, of);
    expect(answer.exitCode).toBe(exitCode);
    expect(answer.stdout).not.toBe('');
  });

  it('names the version of its library', () => {
    expect(answerNvidiaSmi([], nvidiaHost([], mismatch)).stdout).toBe(
      'Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.105\n',
    );
  });

  it('goes well where the kernel module has the same version', () => {
    const same = { ...DRIVERS.r580, kernelModuleVersion: DRIVERS.r580.version };
    expect(answerNvidiaSmi(['-L'], { ...host, nvidiaDriver: same })).toMatchObject({ exitCode: 0 });
  });

  it('says what it understands when it is called for a table', () => {
    const { stdout, stderr } = answerNvidiaSmi([], host);
    expect(stdout).toBe('');
    expect(stderr).toContain('--query-gpu=FIELDS');
  });
});

it.each(['1', 'GPU-00000008-0001-4000-8000-000000000000', '00000000:1B:00.0', '0000:1b:00.0'])(
  'chooses by %s',
  (id) => {
    expect(answerNvidiaSmi(['-i', id, '-L'], host).stdout).toMatch(/^GPU 1: .*\n$/);
    expect(answerNvidiaSmi([`--id=${id}`, '-L'], host).stdout).toMatch(/^GPU 1: .*\n$/);
  },
);
