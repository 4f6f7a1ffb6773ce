import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import {
  buildFakeNvml,
  h100Host,
  installFakeSmi,
  writeFakeHost,
  type FakeHost,
} from '@llm-monitor/fake-nvml';
import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import { removeTrees, writeTree } from '../test-sysfs.ts';
import { ProcessOwners } from '../processes/process-owners.ts';
import type { GpuSnapshot, WatchedGpu } from '../snapshot.ts';
import { startGpuWatch, type GpuWatch, type GpuWatchParts, type GpuWatchSettings } from './gpu-watch.ts';
import { bundleReader } from './test-reader-bundle.ts';

const library = buildFakeNvml();
const describeWithCompiler = library === undefined ? describe.skip : describe;

let folder: string;
let hostFile: string;
let watch: GpuWatch | undefined;
const logged: string[] = [];
const counted: string[] = [];

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'gpu-watch-'));
  hostFile = path.join(folder, 'host.json');
  process.env['NVIDIA_FAKE_CONFIG'] = hostFile;
});

beforeEach(() => {
  logged.length = 0;
  counted.length = 0;
});

afterEach(async () => {
  await watch?.stop();
  watch = undefined;
});

afterAll(() => {
  delete process.env['NVIDIA_FAKE_CONFIG'];
  rmSync(folder, { recursive: true, force: true });
});

function start(
  host: FakeHost,
  settings: Partial<GpuWatchSettings> = {},
  timing: GpuWatchParts['timing'] = {},
): GpuWatch {
  writeFakeHost(hostFile, host);
  watch = startGpuWatch(partsOf(settings, timing));
  return watch;
}

function partsOf(settings: Partial<GpuWatchSettings>, timing: GpuWatchParts['timing'] = {}): GpuWatchParts {
  const log = (facts: object, message: string): void =>
    void logged.push(`${message} ${JSON.stringify(facts)}`);
  return {
    settings: {
      backend: 'nvml',
      intervalSeconds: 0.1,
      nvidiaSmiIntervalSeconds: 0.2,
      sampleHertz: 10,
      deadlineSeconds: 0.5,
      staleAfterSeconds: 0.8,
      nvmlLibrary: library,
      nvidiaSmi: undefined,
      sysfsRoot: path.join(folder, 'no-sysfs'),
      procRoot: '/proc',
      kernelLogFile: undefined,
      stateFile: undefined,
      processes: true,
      ...settings,
    },
    readerCommand: bundleReader('gpu-watch'),
    collectors: {
      succeeded: (collector) => void counted.push(`${collector} succeeded`),
      failed: (collector, reason) => void counted.push(`${collector} ${reason}`),
      forget: (collector) => void counted.push(`${collector} forgotten`),
    },
    log: { info: log, warn: log, error: log },
    searchPath: '',
    timing: {
      startSeconds: 10,
      gentleSeconds: 0.3,
      firstPauseSeconds: 0.1,
      longestPauseSeconds: 0.3,
      ...timing,
    },
  };
}

/** A sysfs with the boards of a host on its bus. */
function busOf({ boards }: FakeHost): string {
  const sysfs = mkdtempSync(path.join(folder, 'sysfs-'));
  for (const { pciBusId } of boards) {
    const device = path.join(sysfs, 'bus/pci/devices', addressOf(pciBusId));
    mkdirSync(device, { recursive: true });
    writeFileSync(path.join(device, 'vendor'), '0x10de\n');
    writeFileSync(path.join(device, 'class'), '0x030200\n');
  }
  return sysfs;
}

/** As sysfs writes it. */
function addressOf(nvmlAddress: string): string {
  return nvmlAddress.slice(4).toLowerCase();
}

/** The host whose second board does not come back from its calls, or takes its time for each. */
function withHung(host: FakeHost, seconds: number | undefined): FakeHost {
  const hang = { functions: 'all', ...(seconds === undefined ? {} : { seconds }) } as const;
  return {
    ...host,
    boards: host.boards.map((board, index) => (index === 1 ? { ...board, hang } : board)),
  };
}

/** The first snapshot that is as wanted: each reading and failure is looked at, and time is not. */
function until(running: GpuWatch, wanted: (snapshot: GpuSnapshot) => boolean): Promise<GpuSnapshot> {
  return new Promise((resolve, reject) => {
    const end = performance.now() + PATIENCE_SECONDS * 1000;
    const look = (): void => {
      const snapshot = running.peek(10);
      const isLate = performance.now() > end;
      if (!wanted(snapshot) && !isLate) return;
      clearInterval(timer);
      quit();
      if (isLate)
        reject(
          new Error(
            `it did not come to what was wanted: ${JSON.stringify(conditions(snapshot))} ${JSON.stringify(snapshot.backends)}`,
          ),
        );
      else resolve(snapshot);
    };
    // A reading that grows stale tells nobody: it is looked for.
    const timer = setInterval(look, 20);
    const quit = running.onChange(look);
    look();
  });
}

/** For a machine that does much else. */
const PATIENCE_SECONDS = 20;
jest.setTimeout(60_000);

function conditions({ gpus }: GpuSnapshot): string[] {
  return gpus.map(({ reading }) => reading.condition);
}

function value(gpu: WatchedGpu | undefined, metric: string): number | undefined {
  return gpu?.reading.points.find((point) => point.metric === metric)?.value;
}

function failureOf({ backends }: GpuSnapshot): string | undefined {
  return backends[0]?.failure?.reason;
}

function readers(): number[] {
  return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

describeWithCompiler('the GPUs of a host, watched', () => {
  it('are read, and their processes known', async () => {
    const running = start(h100Host(2));
    await running.firstReading;
    const snapshot = running.scrape('a');
    expect(conditions(snapshot)).toEqual(['up', 'up']);
    expect(value(snapshot.gpus[0], 'gpu_memory_size_bytes')).toBeGreaterThan(0);
    expect(snapshot.backends[0]).toMatchObject({ backend: 'nvml', failure: undefined, restarts: 0 });
    expect(counted).toContain('nvml succeeded');
  });

  it('are told stale and then down while the driver hangs, and come back by themselves', async () => {
    const host = h100Host(2);
    const running = start(host);
    await running.firstReading;
    writeFakeHost(hostFile, { ...host, hang: { functions: 'all' } });
    const hung = await until(running, (snapshot) => failureOf(snapshot) === 'hung');
    expect(hung.backends[0]?.failure?.message).toMatch(/has not answered for 0\.5 s/);
    const stale = await until(running, (snapshot) => conditions(snapshot)[0] !== 'up');
    expect(conditions(stale)).toEqual(['driver_unreachable', 'driver_unreachable']);
    expect(stale.gpus[0]?.reading.points).toEqual([]);
    expect(stale.gpus[0]?.ageSeconds).toBeGreaterThan(0.8);
    writeFakeHost(hostFile, host);
    const back = await until(running, (snapshot) => failureOf(snapshot) === undefined);
    expect(conditions(back)).toEqual(['up', 'up']);
    expect(back.backends[0]?.restarts).toBeGreaterThan(0);
    expect(logged.join('\n')).toContain('GPUs are read again');
  });

  describe('of which one hangs', () => {
    const host = h100Host(4);
    const hangs = [
      ['a call does not come back', undefined],
      ['each call takes a while', 0.3],
    ] as const;

    it.each(hangs)('are read on without it, and with it once that is over: %s', async (_what, seconds) => {
      const timing = { firstLeftOutSeconds: 1, longestLeftOutSeconds: 2 };
      const running = start(host, { sysfsRoot: busOf(host), staleAfterSeconds: 10 }, timing);
      await running.firstReading;
      writeFakeHost(hostFile, withHung(host, seconds));
      const without = await until(running, (snapshot) => conditions(snapshot)[1] === 'hung');
      expect(conditions(without)).toEqual(['up', 'hung', 'up', 'up']);
      expect(failureOf(without)).toBeUndefined();
      expect(without.gpus[0]?.ageSeconds).toBeLessThan(0.5);
      expect(without.gpus[1]?.reading).toMatchObject({
        gpu: '1',
        uuid: host.boards[1]?.uuid,
        facts: { name: host.boards[1]?.name },
        points: [],
      });
      expect(logged.join('\n')).toContain(`asked for GPU ${addressOf(host.boards[1]?.pciBusId ?? '')}`);

      const triedAgain = await until(
        running,
        (snapshot) => snapshot.backends[0]?.restarts === 2 && failureOf(snapshot) === undefined,
      );
      expect(conditions(triedAgain)).toEqual(['up', 'hung', 'up', 'up']);

      writeFakeHost(hostFile, host);
      const back = await until(running, (snapshot) => conditions(snapshot)[1] === 'up');
      expect(conditions(back)).toEqual(['up', 'up', 'up', 'up']);
      expect(value(back.gpus[1], 'gpu_memory_size_bytes')).toBeGreaterThan(0);
    });

    it('from before the start are read without it, which is known by its address', async () => {
      const running = start(withHung(host, undefined), { sysfsRoot: busOf(host), staleAfterSeconds: 10 });
      const without = await until(running, (snapshot) => snapshot.gpus.length > 0);
      expect(conditions(without)).toEqual(['up', 'hung', 'up', 'up']);
      const pciBusId = addressOf(host.boards[1]?.pciBusId ?? '');
      expect(without.gpus[1]?.reading).toMatchObject({ gpu: '1', uuid: pciBusId, facts: { pciBusId } });
    });

    it('are all unreachable where no bus tells which is which, and come back with it', async () => {
      const running = start(withHung(host, undefined));
      await until(running, (snapshot) => (snapshot.backends[0]?.restarts ?? 0) > 0);
      expect(running.peek(0).gpus).toEqual([]);
      writeFakeHost(hostFile, host);
      const back = await until(running, (snapshot) => snapshot.gpus.length > 0);
      expect(conditions(back)).toEqual(['up', 'up', 'up', 'up']);
    });
  });

  it('stop within 2 s while the driver hangs, and leave no process behind', async () => {
    const host = h100Host(1);
    const running = start(host);
    await running.firstReading;
    const before = readers();
    writeFakeHost(hostFile, { ...host, hang: { functions: 'all' } });
    await until(running, (snapshot) => failureOf(snapshot) === 'hung');
    await running.stop();
    expect(before).toHaveLength(1);
    expect(readers()).toEqual([]);
  });

  it('are read again after the reader was killed with -9', async () => {
    const running = start(h100Host(1));
    await running.firstReading;
    const [pid] = readers();
    process.kill(Number(pid), 'SIGKILL');
    await until(running, (snapshot) => failureOf(snapshot) === 'crashed');
    const back = await until(running, (snapshot) => failureOf(snapshot) === undefined);
    expect(conditions(back)).toEqual(['up']);
    expect(back.backends[0]?.restarts).toBe(1);
  });

  it('tell of one that is lost while the others go on, and of its return', async () => {
    const host = h100Host(3);
    const running = start(host);
    await running.firstReading;
    const boards = host.boards.map((board, index) => (index === 1 ? { ...board, lost: true } : board));
    writeFakeHost(hostFile, { ...host, boards });
    const lost = await until(running, (snapshot) => conditions(snapshot)[1] === 'lost');
    expect(conditions(lost)).toEqual(['up', 'lost', 'up']);
    expect(lost.gpus[1]?.reading.uuid).toBe(host.boards[1]?.uuid);
    expect(failureOf(lost)).toBeUndefined();
    expect(logged.join('\n')).toContain('a GPU is down');
    writeFakeHost(hostFile, host);
    await until(running, (snapshot) => conditions(snapshot)[1] === 'up');
  });

  it('are vanished, not forgotten, when the driver lists none any more', async () => {
    const host = h100Host(2);
    const running = start(host);
    await running.firstReading;
    writeFakeHost(hostFile, { ...host, boards: [] });
    const none = await until(running, (snapshot) => failureOf(snapshot) === 'no_gpus');
    expect(conditions(none)).toEqual(['vanished', 'vanished']);
  });

  it.each([
    [18, 'driver_mismatch'],
    [9, 'driver_not_loaded'],
    [4, 'no_permission'],
    [999, 'init_unknown_error'],
  ])(
    'say why when the driver cannot be used from the start (%i), and are read once it can',
    async (init, reason) => {
      const host = h100Host(1);
      const running = start({ ...host, init });
      await running.firstReading;
      expect(failureOf(running.peek(0))).toBe(reason);
      expect(counted).toContain(`nvml ${reason}`);
      writeFakeHost(hostFile, host);
      const back = await until(running, (snapshot) => failureOf(snapshot) === undefined);
      expect(conditions(back)).toEqual(['up']);
    },
  );

  it('are mismatched after the driver was upgraded under us, and read by the new one', async () => {
    const host = h100Host(1);
    const running = start(host);
    await running.firstReading;
    writeFakeHost(hostFile, { ...host, init: 18, returns: { nvmlDeviceGetCount_v2: 18 } });
    await until(running, (snapshot) => failureOf(snapshot) === 'driver_mismatch');
    writeFakeHost(hostFile, { ...host, driverVersion: '999.1' });
    const back = await until(running, (snapshot) => failureOf(snapshot) === undefined);
    expect(back.backends[0]?.driverVersion).toBe('999.1');
  });

  it('show a spike between two scrapes in the window, and not in the point', async () => {
    const host = h100Host(1);
    const [board] = host.boards;
    if (board === undefined) throw new Error('no board');
    const busy = (gpu: number): FakeHost => ({
      ...host,
      boards: [{ ...board, samples: undefined, utilization: { ...board.utilization, gpu } }],
    });
    const running = start(busy(3), { intervalSeconds: 0.2 });
    await running.firstReading;
    running.scrape('a');
    running.scrape('b');
    writeFakeHost(hostFile, busy(100));
    await until(running, (snapshot) => snapshot.gpus[0]?.windows.utilization?.max === 1);
    writeFakeHost(hostFile, busy(3));
    await until(running, ({ gpus }) => value(gpus[0], 'gpu_utilization_ratio') === 0.03);
    for (const client of ['a', 'b']) {
      const [gpu] = running.scrape(client).gpus;
      expect(gpu?.windows.utilization?.max).toBe(1);
      expect(value(gpu, 'gpu_utilization_ratio')).toBe(0.03);
    }
    // A sample of the spike may still have been on its way; it is told once, and not again.
    await until(running, () => running.scrape('a').gpus[0]?.windows.utilization?.max === 0.03);
  });

  it('are read by one run of nvidia-smi, however many scrapes there are', async () => {
    const callLog = path.join(folder, 'runs.log');
    writeFakeHost(hostFile, h100Host(1));
    const nvidiaSmi = installFakeSmi(path.join(folder, 'bin'), hostFile, { callLog });
    const running = start(h100Host(1), {
      backend: 'nvidia-smi',
      nvidiaSmi,
      nvidiaSmiIntervalSeconds: 3600,
      deadlineSeconds: 30,
      staleAfterSeconds: 3600,
    });
    await running.firstReading;
    for (let client = 0; client < 50; client++) {
      expect(conditions(running.scrape(String(client)))).toEqual(['up']);
    }
    expect(readFileSync(callLog, 'utf8')).toBe('nvidia-smi -q -x\n');
  });

  it('are not those that a virtual machine has, of which a remark tells', async () => {
    const device = 'sys/bus/pci/devices/0000:81:00.0';
    const { sysfs } = writeTree({
      [`${device}/vendor`]: '0x10de',
      [`${device}/class`]: '0x030200',
      [`${device}/driver`]: '->../../../../bus/pci/drivers/vfio-pci',
    });
    const running = start(h100Host(1), { sysfsRoot: sysfs });
    await until(running, (snapshot) => conditions(snapshot).includes('up'));
    expect(conditions(running.peek(0))).toEqual(['up']);
    expect(running.remarks()).toContain(
      'GPU 0000:81:00.0 is left alone and not counted: vfio-pci holds it for a virtual machine',
    );
    removeTrees();
  });

  it('fall back to nvidia-smi only where NVML cannot be loaded', async () => {
    const nvidiaSmi = installFakeSmi(path.join(folder, 'bin'), hostFile);
    const backendsOf = async (nvmlLibrary: string | undefined): Promise<unknown> => {
      const settings = { backend: 'auto', nvmlLibrary, nvidiaSmi, deadlineSeconds: 30 } as const;
      const running = start(h100Host(1), { ...settings, staleAfterSeconds: 3600 });
      const read = await until(running, (snapshot) => conditions(snapshot).includes('up'));
      await running.stop();
      return read.backends.map(({ backend }) => backend);
    };
    expect(await backendsOf(path.join(folder, 'missing.so'))).toEqual(['nvidia-smi']);
    expect(await backendsOf(library)).toEqual(['nvml']);
  });

  it('are read by NVML once it can be loaded, in place of the nvidia-smi that stood in for it', async () => {
    const nvidiaSmi = installFakeSmi(path.join(folder, 'bin'), hostFile);
    const nvmlLibrary = path.join(folder, 'installed-later.so');
    const running = start(
      h100Host(1),
      { backend: 'auto', nvmlLibrary, nvidiaSmi, deadlineSeconds: 30, staleAfterSeconds: 3600 },
      { firstLibraryPauseSeconds: 0.05, longestLibraryPauseSeconds: 0.1 },
    );
    const backends = ({ backends }: GpuSnapshot): string[] => backends.map(({ backend }) => backend);
    await until(running, (snapshot) => conditions(snapshot).includes('up'));
    counted.length = 0;
    logged.length = 0;
    // Some tries fail meanwhile, of which nobody is told.
    await until(running, () => counted.length > 3);
    expect(new Set(counted)).toEqual(new Set(['nvidia-smi succeeded']));
    expect(logged).toEqual([]);
    copyFileSync(library ?? '', nvmlLibrary);
    const seen: string[][] = [];
    const quit = running.onChange(() => void seen.push(conditions(running.peek(0))));
    const read = await until(running, (snapshot) => backends(snapshot).includes('nvml'));
    quit();
    expect(backends(read)).toEqual(['nvml']);
    expect(new Set(seen.map(String))).toEqual(new Set(['up']));
    expect(logged).toEqual(['NVML can be loaded now: it is read in place of nvidia-smi {}']);
  });

  it('are read on where one that is told of changes fails, which is logged once', async () => {
    const running = start(h100Host(1));
    let calls = 0;
    running.onChange(() => {
      calls += 1;
      throw new Error('a bug');
    });
    const looked = jest.spyOn(ProcessOwners.prototype, 'ownersOf').mockRejectedValue(new Error('another'));
    await until(running, () => calls > 3 && looked.mock.calls.length > 1);
    looked.mockRestore();
    expect(conditions(running.peek(0))).toEqual(['up']);
    expect(logged.filter((line) => line.includes('a fault of this program'))).toEqual([
      'a fault of this program: please report it {"err":{},"place":"a listener to changes"}',
      'a fault of this program: please report it {"err":{},"place":"the owners of processes"}',
    ]);
  });
});

describe('the look for GPUs', () => {
  /** A watch whose looks begin when the test says so. */
  function startLooks(parts: Partial<GpuWatchParts> = {}) {
    const looks = new Set<() => void>();
    const clock: Clock = {
      ...systemClock,
      after: (milliseconds, callback) => {
        if (milliseconds !== 30_000) return systemClock.after(milliseconds, callback);
        looks.add(callback);
        return () => void looks.delete(callback);
      },
    };
    const given = partsOf({ backend: 'amdgpu' });
    watch = startGpuWatch(
      Object.defineProperties({ ...given, clock }, Object.getOwnPropertyDescriptors(parts)),
    );
    return { running: watch, looks };
  }

  async function untilPlanned(looks: ReadonlySet<() => void>): Promise<() => void> {
    for (;;) {
      const [look] = looks;
      if (look !== undefined) return look;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it('is one at a time, also when it is asked for during one', async () => {
    const { looks } = startLooks();
    const look = await untilPlanned(looks);
    looks.clear();
    look();
    look();
    const next = await untilPlanned(looks);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect([...looks]).toEqual([next]);
  });

  it('that fails is logged once, and followed by another', async () => {
    const { running, looks } = startLooks({
      get readerCommand(): never {
        throw new Error('a bug');
      },
    });
    await running.firstReading;
    const look = await untilPlanned(looks);
    looks.clear();
    look();
    await untilPlanned(looks);
    expect(logged).toEqual([
      'a fault of this program: please report it {"err":{},"place":"the look for GPUs"}',
    ]);
  });
});
