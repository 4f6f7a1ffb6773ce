import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import {
  buildFakeNvml,
  h100Host,
  installFakeSmi,
  writeFakeHost,
  type FakeHost,
} from '@llm-monitor/fake-nvml';

import type { GpuSnapshot, WatchedGpu } from '../snapshot.ts';
import { startGpuWatch, type GpuWatch, type GpuWatchSettings } from './gpu-watch.ts';
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
  process.env['FAKE_NVML_CONFIG'] = hostFile;
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
  delete process.env['FAKE_NVML_CONFIG'];
  rmSync(folder, { recursive: true, force: true });
});

function start(host: FakeHost, settings: Partial<GpuWatchSettings> = {}): GpuWatch {
  writeFakeHost(hostFile, host);
  const log = (facts: object, message: string): void =>
    void logged.push(`${message} ${JSON.stringify(facts)}`);
  watch = startGpuWatch({
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
    timing: { startSeconds: 10, gentleSeconds: 0.3, firstPauseSeconds: 0.1, longestPauseSeconds: 0.3 },
  });
  return watch;
}

/** The first snapshot that is as wanted: each reading and failure is looked at, and time is not. */
function until(running: GpuWatch, wanted: (snapshot: GpuSnapshot) => boolean): Promise<GpuSnapshot> {
  return new Promise((resolve) => {
    const look = (): void => {
      const snapshot = running.peek(10);
      if (!wanted(snapshot)) return;
      clearInterval(timer);
      quit();
      resolve(snapshot);
    };
    // A reading that grows stale tells nobody: it is looked for.
    const timer = setInterval(look, 20);
    const quit = running.onChange(look);
    look();
  });
}

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
    await until(running, (snapshot) => (snapshot.gpus[0]?.windows.utilization?.samples ?? 0) > 3);
    const [next] = running.scrape('a').gpus;
    expect(next?.windows.utilization?.max).not.toBe(1);
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
});
