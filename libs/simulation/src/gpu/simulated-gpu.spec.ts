import * as fc from 'fast-check';

import type { EngineGpu } from '../engine/engine-gpu.ts';
import { createRandom } from '../random.ts';
import type { Board } from './board.ts';
import { boards } from './boards.ts';
import { celsiusPerWatt } from './cooling.ts';
import type { ClockEvent, GpuState, GpuWork } from './gpu.ts';
import type { SimulatedGpu } from './simulated-gpu.ts';
import { DECODE, gpuOf, type Load, PREFILL, run, TICK_SECONDS } from './test-gpu.ts';

const all: [string, Board][] = Object.entries(boards);
const loads: [string, Load][] = [
  ['decode', DECODE],
  ['prefill', PREFILL],
  ['all that there is', { computeRatio: 1, flopsPerByte: 200 }],
];
const H100: Board = boards['h100-sxm'];
const RTX_4090: Board = boards['rtx-4090'];
const MI300X: Board = boards.mi300x;
const process = { pid: 4100, program: 'python3', command: ['python3', 'serve'] };
const GIBIBYTE = 1024 ** 3;

function kernel(fromSeconds: number, toSeconds: number, more: Partial<GpuWork> = {}): GpuWork {
  return { fromSeconds, toSeconds, flops: 1e12, precision: 'fp16', memoryBytes: 1e9, ...more };
}

function hasEvent(gpu: SimulatedGpu, event: ClockEvent): boolean {
  return gpu.state().clockEvents.includes(event);
}

describe('a new GPU', () => {
  it.each(all)('%s is idle, cool and empty', (_key, board) => {
    const gpu = gpuOf(board);
    gpu.tick(0, TICK_SECONDS);
    expect(gpu.state()).toMatchObject({
      lostByXid: undefined,
      utilizationRatio: 0,
      memoryUsedBytes: 0,
      smClockHertz: board.clocksHertz.smIdle,
      memoryClockHertz: board.clocksHertz.memoryIdle,
      powerWatts: board.idleWatts,
      powerLimitWatts: board.powerLimitWatts.default,
      clockEvents: ['gpu_idle'],
      xids: [],
      processes: [],
    });
    expect(gpu.state().coreCelsius).toBeLessThan(55);
    expect(gpu.state().memoryCelsius === undefined).toBe(board.thermal.memoryOffsetCelsius === undefined);
    expect(gpu.state().fanRpm === undefined).toBe(board.fan === undefined);
  });

  it('is what engines need', () => {
    const gpu: EngineGpu = gpuOf(H100);
    expect(gpu.isLost()).toBe(false);
  });

  it.each<[key: string, board: Board, uuid: RegExp]>([
    ['NVIDIA', H100, /^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/],
    ['AMD', MI300X, /^[0-9a-f]{16}$/],
    ['a processor', boards['strix-halo'], /^0000:1a:00\.0$/],
  ])('has an id as drivers write it: %s', (_key, board, uuid) => {
    expect(gpuOf(board).state().uuid).toMatch(uuid);
    expect(gpuOf(board).state().serial).toMatch(/^\d{13}$/);
    expect(gpuOf(board, { uuid: 'given', serial: '7' }).state()).toMatchObject({
      uuid: 'given',
      serial: '7',
    });
  });
});

describe('speed', () => {
  it('is the published peak while nothing holds the clocks down', () => {
    const speed = gpuOf(H100).speed();
    expect(speed.flopsPerSecond('fp16')).toBe(989.4e12);
    expect(speed.flopsPerSecond('fp8')).toBe(1978.9e12);
    expect(speed.memoryBytesPerSecond).toBe(3.35e12);
  });

  it('computes a format that is not there as the next wider one', () => {
    const speed = gpuOf(boards['a100-sxm-80gb']).speed();
    expect(speed.flopsPerSecond('fp8')).toBe(312e12);
    expect(speed.flopsPerSecond('int8')).toBe(624e12);
    const plain = gpuOf({ ...H100, peakFlopsPerSecond: { fp16: 100e12 } }).speed();
    expect(plain.flopsPerSecond('fp32')).toBe(50e12);
  });

  it('stays what it was in the hands of who asked', () => {
    const gpu = gpuOf(H100, { powerLimitWatts: 300 });
    const before = gpu.speed();
    run(gpu, 0, 2, PREFILL);
    expect(before.flopsPerSecond('fp16')).toBe(989.4e12);
    expect(gpu.speed().flopsPerSecond('fp16')).toBeLessThan(800e12);
  });

  it('is shared by engines whose work overlaps, and whole again when one is alone', () => {
    const gpu = gpuOf(H100, { powerLimitWatts: 700 });
    for (let tick = 0; tick < 50; tick += 1) {
      const [from, to] = [tick / 10, (tick + 1) / 10];
      for (const pid of [1, 2]) gpu.work(kernel(from, to, { pid }));
      gpu.tick(from, to);
    }
    expect(gpu.speed().memoryBytesPerSecond / H100.memoryBytesPerSecond).toBeCloseTo(0.5, 3);
    expect(gpu.state().utilizationRatio).toBeCloseTo(1, 9);
    for (let tick = 50; tick < 250; tick += 1) {
      gpu.work(kernel(tick / 10, (tick + 1) / 10));
      gpu.tick(tick / 10, (tick + 1) / 10);
    }
    expect(gpu.speed().memoryBytesPerSecond / H100.memoryBytesPerSecond).toBeGreaterThan(0.99);
  });
});

describe('utilization', () => {
  it.each<[what: string, work: GpuWork[], ratio: number]>([
    ['nothing', [], 0],
    ['half of the time', [kernel(0, 0.25)], 0.5],
    ['two that overlap', [kernel(0, 0.2), kernel(0.1, 0.3)], 0.6],
    ['the same time twice', [kernel(0, 0.2), kernel(0, 0.2)], 0.4],
    ['all of it', [kernel(0, 0.3), kernel(0.3, 0.5)], 1],
    ['a copy, which is no kernel', [kernel(0, 0.5, { flops: 0 })], 0],
  ])('is the share of the period in which a kernel ran: %s', (_what, work, ratio) => {
    const gpu = gpuOf(H100);
    for (const each of work) gpu.work(each);
    run(gpu, 0, 0.5);
    expect(gpu.state().utilizationRatio).toBeCloseTo(ratio, 9);
  });

  it('spreads a step that is longer than a tick over those that follow', () => {
    const gpu = gpuOf(H100);
    run(gpu, 0, 0.4);
    gpu.work(kernel(0, 0.4, { flops: 200e12, memoryBytes: 1e9 }));
    const { watts } = run(gpu, 0.4, 0.6);
    expect(watts.slice(0, 4).map((each) => Math.round(each))).toEqual(
      Array(4).fill(Math.round(watts[0] ?? 0)),
    );
    expect(watts[0]).toBeGreaterThan(500);
    expect(watts[4]).toBeLessThan(150);
  });

  it('divides the time among processes by what each had', () => {
    const gpu = gpuOf(H100);
    for (const pid of [1, 2]) gpu.allocate({ ...process, pid, memoryBytes: GIBIBYTE });
    gpu.work(kernel(0, 0.3, { pid: 1 }));
    gpu.work(kernel(0.3, 0.4, { pid: 2 }));
    run(gpu, 0, 0.5);
    expect(gpu.state().processes.map(({ smUtilizationRatio }) => smUtilizationRatio)).toEqual([
      expect.closeTo(0.6, 9),
      expect.closeTo(0.2, 9),
    ]);
  });

  it('divides each period anew, and keeps the last division while nobody has work', () => {
    const gpu = gpuOf(H100);
    const shares = () =>
      gpu.state().processes.map(({ smUtilizationRatio }) => Math.round(smUtilizationRatio * 100));
    for (const pid of [1, 2]) gpu.allocate({ ...process, pid, memoryBytes: GIBIBYTE });
    gpu.work(kernel(0, 0.4, { pid: 1 }));
    run(gpu, 0, 0.5);
    expect(shares()).toEqual([80, 0]);
    gpu.work(kernel(0.5, 0.9, { pid: 2 }));
    run(gpu, 0.5, 0.5);
    expect(shares()).toEqual([0, 80]);
    run(gpu, 1, 0.5);
    expect(shares()).toEqual([0, 0]);
  });

  it('gives work of nobody in particular to all alike', () => {
    const gpu = gpuOf(H100);
    for (const pid of [1, 2]) gpu.allocate({ ...process, pid, memoryBytes: GIBIBYTE });
    gpu.work(kernel(0, 0.4));
    run(gpu, 0, 0.5);
    const shares = gpu.state().processes.map(({ smUtilizationRatio }) => smUtilizationRatio);
    expect(shares).toEqual([expect.closeTo(0.4, 9), expect.closeTo(0.4, 9)]);
  });
});

describe('links', () => {
  it('tells PCIe as the rate of the last period and NVLink as counters', () => {
    const gpu = gpuOf(H100);
    gpu.work(kernel(0, 0.1, { pcieReceivedBytes: 5e9, pcieSentBytes: 1e9, nvlinkBytes: 7e9 }));
    run(gpu, 0, 0.5);
    expect(gpu.state()).toMatchObject({ nvlinkSentBytes: 7e9, nvlinkReceivedBytes: 7e9 });
    expect(gpu.state().pcieReceivedBytesPerSecond / 10e9).toBeCloseTo(1, 6);
    expect(gpu.state().pcieSentBytesPerSecond / 2e9).toBeCloseTo(1, 6);
    run(gpu, 0.5, 0.5);
    expect(gpu.state()).toMatchObject({ nvlinkSentBytes: 7e9, pcieReceivedBytesPerSecond: 0 });
  });
});

describe('memory', () => {
  const free = H100.memoryBytes - (H100.memoryReservedBytes ?? 0);

  it.each<[what: string, bytes: number[], fits: boolean[], used: number]>([
    ['all that is free', [free], [true], free],
    ['a byte more', [free + 1], [false], 0],
    ['a second that does not fit', [free - 5, 6], [true, false], free - 5],
    ['a second that just fits', [free - 5, 5], [true, true], free],
    ['less than nothing', [-1], [false], 0],
  ])('%s', (_what, bytes, fits, used) => {
    const gpu = gpuOf(H100);
    const answers = bytes.map((memoryBytes, pid) => gpu.allocate({ ...process, pid, memoryBytes }));
    expect(answers).toEqual(fits);
    expect(gpu.state().memoryUsedBytes).toBe(used);
  });

  it('replaces what the same process held, or leaves it where the new does not fit', () => {
    const gpu = gpuOf(H100);
    gpu.allocate({ ...process, memoryBytes: 60 * GIBIBYTE });
    expect(gpu.allocate({ ...process, memoryBytes: 70 * GIBIBYTE })).toBe(true);
    expect(gpu.allocate({ ...process, memoryBytes: 90 * GIBIBYTE })).toBe(false);
    expect(gpu.state().processes).toEqual([
      { ...process, memoryBytes: 70 * GIBIBYTE, smUtilizationRatio: 0 },
    ]);
    gpu.release(process.pid);
    gpu.release(process.pid);
    expect(gpu.state()).toMatchObject({ memoryUsedBytes: 0, processes: [] });
  });
});

describe('power', () => {
  describe.each(all)('%s', (_key, board) => {
    it.each(loads)('stays within its limit: %s', (_load, load) => {
      for (const share of [1, 0.8, 0.6]) {
        const powerLimitWatts = Math.max(board.powerLimitWatts.default * share, board.powerLimitWatts.min);
        const { watts } = run(gpuOf(board, { powerLimitWatts }), 0, 30, load);
        expect(Math.max(...watts.slice(10))).toBeLessThanOrEqual(powerLimitWatts * 1.01);
        expect(Math.min(...watts)).toBeGreaterThan(board.idleWatts);
      }
    });

    it('a cap of 60 % costs less than 40 % of decode, and more of prefill', () => {
      const kept = (load: Load, amount: 'bytes' | 'flops'): number => {
        const [capped, free] = [0.6, 1].map((share) => {
          const gpu = gpuOf(board, { powerLimitWatts: board.powerLimitWatts.default * share });
          run(gpu, 0, 5, load);
          return run(gpu, 5, 20, load)[amount];
        });
        return (capped ?? 0) / (free ?? 0);
      };
      const [decode, prefill] = [kept(DECODE, 'bytes'), kept(PREFILL, 'flops')];
      expect(decode).toBeGreaterThan(0.8);
      expect(prefill).toBeLessThan(0.85);
      expect(prefill).toBeGreaterThan(0.5);
      expect(decode).toBeGreaterThan(prefill);
    });
  });

  it('says that the cap holds the clocks, only while it does', () => {
    const gpu = gpuOf(H100, { powerLimitWatts: 400 });
    run(gpu, 0, 10, PREFILL);
    expect(gpu.state().clockEvents).toEqual(['sw_power_cap']);
    expect(gpu.state().clockEventSeconds.sw_power_cap).toBeCloseTo(10, 6);
    gpu.setPowerLimit(700);
    run(gpu, 10, 5, PREFILL);
    expect(gpu.state().clockEvents).toEqual([]);
    expect(gpu.state().smClockHertz).toBe(1980e6);
  });

  it.each([
    [100, 200],
    [200, 200],
    [444.5, 444.5],
    [700, 700],
    [701, 700],
  ])('a limit of %d W becomes %d W', (asked, watts) => {
    const gpu = gpuOf(H100);
    gpu.setPowerLimit(asked);
    expect(gpu.state().powerLimitWatts).toBe(watts);
    expect(gpuOf(H100, { powerLimitWatts: asked }).state().powerLimitWatts).toBe(watts);
  });

  it('a GPU that engines left alone goes back to idle clocks after seconds', () => {
    const gpu = gpuOf(RTX_4090);
    run(gpu, 0, 1, DECODE);
    run(gpu, 1, 2);
    expect(gpu.state()).toMatchObject({ smClockHertz: 2520e6, memoryClockHertz: 10_501e6 });
    expect(gpu.state().powerWatts).toBeGreaterThan(RTX_4090.idleWatts * 1.5);
    run(gpu, 3, 1.5);
    expect(gpu.state()).toMatchObject({ smClockHertz: 210e6, memoryClockHertz: 405e6, powerWatts: 26 });
    expect(hasEvent(gpu, 'gpu_idle')).toBe(true);
    run(gpu, 4.5, TICK_SECONDS, DECODE);
    expect(gpu.state().smClockHertz).toBe(2520e6);
    expect(hasEvent(gpu, 'gpu_idle')).toBe(false);
  });
});

describe('temperature', () => {
  describe.each(all)('%s', (_key, board) => {
    it.each<[string, Load | undefined]>([['nothing', undefined], ...loads.slice(0, 2)])(
      'tends to the room plus power times resistance: %s',
      (_load, load) => {
        const gpu = gpuOf(board, { ambientCelsius: 22 });
        const { watts } = run(gpu, 0, 1500, load);
        const { coreCelsius, fanRatio = 1, powerWatts } = gpu.state();
        const recent = watts.slice(-100).reduce((sum, each) => sum + each, 0) / 100;
        expect(Math.abs(powerWatts - recent)).toBeLessThan(recent * 0.03);
        expect(Math.abs(coreCelsius - 22 - recent * celsiusPerWatt(board, fanRatio))).toBeLessThan(0.5);
        expect(coreCelsius).toBeLessThan(board.thermal.slowdownCelsius);
      },
    );
  });

  it('takes as long as it should: 63 % of the way in one time constant', () => {
    const { celsiusPerWatt: resistance, joulesPerCelsius } = H100.thermal;
    const gpu = gpuOf(H100);
    const cold = gpu.state().coreCelsius;
    const { watts } = run(gpu, 0, resistance * joulesPerCelsius, PREFILL);
    const settled = 30 + (watts[0] ?? 0) * resistance;
    expect((gpu.state().coreCelsius - cold) / (settled - cold)).toBeCloseTo(1 - Math.exp(-1), 3);
  });

  it('does not depend on how time is cut into ticks', () => {
    const [fine, coarse] = [gpuOf(H100), gpuOf(H100)];
    for (const gpu of [fine, coarse]) gpu.faults.ambientRiseCelsius = 20;
    run(fine, 0, 100);
    coarse.tick(0, 100);
    expect(fine.state().coreCelsius).toBeCloseTo(coarse.state().coreCelsius, 6);
    expect(fine.state().energyJoules).toBeCloseTo(coarse.state().energyJoules, 6);
  });

  it('memory is warmer than the core by the offset of the board at full bandwidth', () => {
    const gpu = gpuOf(H100);
    run(gpu, 0, 600, { bandwidthRatio: 1, flopsPerByte: 1 });
    const { coreCelsius, memoryCelsius = NaN } = gpu.state();
    expect(memoryCelsius - coreCelsius).toBeCloseTo(8, 1);
  });

  it('fans stand still while it is cool, turn with load, and stop later than they started', () => {
    const gpu = gpuOf(RTX_4090);
    expect(gpu.state().fanRpm).toBe(0);
    run(gpu, 0, 300, DECODE);
    expect(gpu.state().fanRatio).toBeGreaterThan(0.4);
    expect(gpu.state().fanRpm).toBe((gpu.state().fanRatio ?? 0) * 3000);
    let seconds = 300;
    while (gpu.state().coreCelsius > 47) run(gpu, (seconds += 1), 1);
    expect(gpu.state().fanRatio).toBeCloseTo(0.3, 3);
    run(gpu, seconds + 1, 120);
    expect(gpu.state().fanRatio).toBe(0);
  });
});

describe('faults', () => {
  it('warm air slows it down, takes tokens away, and is forgotten when it is gone', () => {
    const gpu = gpuOf(H100);
    run(gpu, 0, 300, DECODE);
    const well = run(gpu, 300, 10, DECODE).bytes;
    gpu.faults.ambientRiseCelsius = 45;
    run(gpu, 310, 300, DECODE);
    const hot = run(gpu, 610, 10, DECODE).bytes;
    expect(hot).toBeLessThan(well * 0.97);
    expect(hasEvent(gpu, 'sw_thermal_slowdown')).toBe(true);
    expect(gpu.state().smClockHertz).toBeLessThan(1400e6);
    expect(gpu.state().coreCelsius).toBeGreaterThan(87);
    expect(gpu.isLost()).toBe(false);
    gpu.faults.ambientRiseCelsius = 0;
    run(gpu, 620, 300, DECODE);
    expect(gpu.state().clockEvents).toEqual([]);
    expect(run(gpu, 920, 10, DECODE).bytes).toBeCloseTo(well, -3);
  });

  it('when software cannot keep it cool, hardware halves the clocks', () => {
    const gpu = gpuOf(H100);
    gpu.faults.ambientRiseCelsius = 50;
    let seen: GpuState | undefined;
    for (let second = 0; second < 600 && seen === undefined; second += 1) {
      run(gpu, second, 1, PREFILL);
      if (hasEvent(gpu, 'hw_thermal_slowdown')) seen = gpu.state();
    }
    expect(seen?.clockEvents).toEqual(expect.arrayContaining(['hw_slowdown', 'hw_thermal_slowdown']));
    expect(seen?.smClockHertz).toBeLessThanOrEqual(1980e6 / 4);
    expect(seen?.lostByXid).toBeUndefined();
    gpu.faults.ambientRiseCelsius = 0;
    let at = 600;
    while (hasEvent(gpu, 'hw_thermal_slowdown')) run(gpu, (at += 1), TICK_SECONDS, PREFILL);
    // It lets go 3 C below where it stepped in.
    expect(gpu.state().coreCelsius).toBeGreaterThan(85);
    expect(gpu.state().coreCelsius).toBeLessThan(86);
  });

  it('shuts down when it is too hot, which is the last that is heard of it', () => {
    const gpu = gpuOf(H100);
    gpu.faults.ambientRiseCelsius = 80;
    run(gpu, 0, 600, DECODE);
    expect(gpu.state()).toMatchObject({ lostByXid: 79, powerWatts: 0, utilizationRatio: 0 });
    expect(gpu.state().xids.map(({ xid }) => xid)).toEqual([79]);
  });

  it('fans that stand still: it climbs, slows down, lives, and recovers', () => {
    const gpu = gpuOf(RTX_4090);
    run(gpu, 0, 300, DECODE);
    gpu.faults.fanStopped = true;
    const well = run(gpu, 300, 10, DECODE).bytes;
    expect(gpu.state()).toMatchObject({ fanRatio: 0, fanRpm: 0 });
    run(gpu, 310, 600, DECODE);
    expect(gpu.state().coreCelsius).toBeGreaterThanOrEqual(82);
    expect(gpu.state().clockEventSeconds.sw_thermal_slowdown).toBeGreaterThan(60);
    expect(run(gpu, 910, 10, DECODE).bytes).toBeLessThan(well);
    expect(gpu.isLost()).toBe(false);
    gpu.faults.fanStopped = false;
    run(gpu, 920, 300, DECODE);
    expect(gpu.state().clockEvents).toEqual([]);
    expect(gpu.state().fanRatio).toBeGreaterThan(0.4);
  });

  it('the power brake halves the clock and the power falls', () => {
    const gpu = gpuOf(H100);
    run(gpu, 0, 10, DECODE);
    const { powerWatts } = gpu.state();
    gpu.faults.powerBrake = true;
    run(gpu, 10, 10, DECODE);
    expect(gpu.state().smClockHertz).toBe(990e6);
    expect(gpu.state().powerWatts).toBeLessThan(powerWatts * 0.85);
    expect(gpu.state().utilizationRatio).toBeCloseTo(1, 9);
    expect(gpu.state().clockEvents).toEqual(['hw_slowdown', 'hw_power_brake']);
    expect(gpu.state().clockEventSeconds.hw_power_brake).toBeCloseTo(10, 6);
    gpu.faults.powerBrake = false;
    run(gpu, 20, TICK_SECONDS, DECODE);
    expect(gpu.state()).toMatchObject({ smClockHertz: 1980e6, clockEvents: [] });
  });

  it('corrected errors come at their rate, on a board with ECC', () => {
    const gpu = gpuOf(H100);
    gpu.faults.correctedErrorsPerSecond = 4;
    run(gpu, 0, 1000);
    const { eccCorrected } = gpu.state();
    expect(Math.abs(eccCorrected - 4000)).toBeLessThan(4 * Math.sqrt(4000));
    gpu.faults.correctedErrorsPerSecond = 0;
    run(gpu, 1000, 100);
    expect(gpu.state()).toMatchObject({ eccCorrected, eccUncorrected: 0, xids: [] });
    const geforce = gpuOf(RTX_4090);
    geforce.faults.correctedErrorsPerSecond = 4;
    run(geforce, 0, 100);
    expect(geforce.state().eccCorrected).toBe(0);
  });

  it('an uncorrected error takes a row out of use at the next reset', () => {
    const gpu = gpuOf(H100);
    gpu.addUncorrectedError(3);
    expect(gpu.state()).toMatchObject({
      eccUncorrected: 1,
      remappedRows: { correctable: 0, uncorrectable: 1, pending: true },
      xids: [48, 63, 94].map((xid) => ({ xid, seconds: 3 })),
    });
    gpu.lose(79, 4);
    gpu.restore();
    expect(gpu.state().remappedRows).toEqual({ correctable: 0, uncorrectable: 1, pending: false });
  });

  it.each<[string, Board, errors: number]>([
    ['without ECC nobody notices it', RTX_4090, 0],
    ['AMD numbers no errors', MI300X, 1],
  ])('an uncorrected error: %s', (_what, board, errors) => {
    const gpu = gpuOf(board);
    gpu.addUncorrectedError(3);
    expect(gpu.state()).toMatchObject({ eccUncorrected: errors, xids: [] });
    expect(gpu.state().remappedRows.pending).toBe(errors > 0);
  });

  it('raises XIDs that lose nothing, and keeps a bounded number', () => {
    const gpu = gpuOf(H100);
    for (let xid = 0; xid < 1500; xid += 1) gpu.raiseXid(31, xid);
    expect(gpu.isLost()).toBe(false);
    expect(gpu.state().xids).toHaveLength(1024);
    expect(gpu.state().xids.at(-1)).toEqual({ xid: 31, seconds: 1499 });
  });

  it('a lost GPU does nothing, takes nothing, cools down, and comes back as it was', () => {
    const gpu = gpuOf(H100);
    gpu.allocate({ ...process, memoryBytes: GIBIBYTE });
    run(gpu, 0, 60, DECODE);
    const before = gpu.state();
    gpu.lose(79, 60);
    gpu.lose(48, 61);
    gpu.work(kernel(60, 61));
    run(gpu, 60, 60);
    expect(gpu.allocate({ ...process, pid: 1, memoryBytes: 1 })).toBe(false);
    expect(gpu.state()).toMatchObject({
      lostByXid: 79,
      utilizationRatio: 0,
      powerWatts: 0,
      energyJoules: before.energyJoules,
      clockEvents: [],
      memoryUsedBytes: GIBIBYTE,
      xids: [{ xid: 79, seconds: 60 }],
    });
    expect(gpu.state().coreCelsius).toBeLessThan(before.coreCelsius);
    gpu.restore();
    gpu.restore();
    const { watts } = run(gpu, 120, 10, DECODE);
    expect(gpu.isLost()).toBe(false);
    expect(watts.at(-1)).toBeCloseTo(before.powerWatts, 6);
    expect(gpu.state().energyJoules).toBeGreaterThan(before.energyJoules);
  });

  it('what was told before it was lost does not run after it came back', () => {
    const gpu = gpuOf(H100);
    gpu.work(kernel(0, 0.4));
    gpu.lose(79, 0.4);
    gpu.restore();
    run(gpu, 0.4, 0.5);
    expect(gpu.state()).toMatchObject({ utilizationRatio: 0, memoryUtilizationRatio: 0 });
  });
});

/** What a world can do to a GPU, as a script of it. */
type Deed =
  | {
      readonly do: 'work';
      readonly ago: number;
      readonly long: number;
      readonly flops: number;
      readonly bytes: number;
    }
  | { readonly do: 'tick'; readonly seconds: number }
  | { readonly do: 'limit'; readonly watts: number }
  | { readonly do: 'allocate'; readonly pid: number; readonly bytes: number }
  | { readonly do: 'release'; readonly pid: number }
  | {
      readonly do: 'fault';
      readonly rise: number;
      readonly still: boolean;
      readonly brake: boolean;
      readonly rate: number;
    }
  | { readonly do: 'lose' | 'restore' | 'error' };

const seconds = fc.double({ min: 0, max: 3, noNaN: true });
const pid = fc.integer({ min: 1, max: 4 });
const deed = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('work' as const),
      ago: seconds,
      long: seconds,
      flops: fc.double({ min: 0, max: 3e15, noNaN: true }),
      bytes: fc.double({ min: 0, max: 1e13, noNaN: true }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('tick' as const),
      seconds: fc.constantFrom(0.1, 0.1, 0.1, 0.01, 1, 20),
    }),
  },
  fc.record({ do: fc.constant('limit' as const), watts: fc.double({ min: 0, max: 1000, noNaN: true }) }),
  fc.record({ do: fc.constant('allocate' as const), pid, bytes: fc.integer({ min: 0, max: 120e9 }) }),
  fc.record({ do: fc.constant('release' as const), pid }),
  fc.record({
    do: fc.constant('fault' as const),
    rise: fc.constantFrom(0, 20, 40, 70),
    still: fc.boolean(),
    brake: fc.boolean(),
    rate: fc.constantFrom(0, 0.5, 100),
  }),
  fc.record({ do: fc.constantFrom('lose' as const, 'restore' as const, 'error' as const) }),
);

/** Plays a script. @returns the state after each deed, with the time that had passed */
function play(
  board: Board,
  seed: string,
  script: readonly Deed[],
): { readonly now: number; readonly state: GpuState }[] {
  const gpu = gpuOf(board, { random: createRandom(seed) });
  let now = 0;
  return script.map((each) => {
    now = act(gpu, now, each);
    return { now, state: gpu.state() };
  });
}

function act(gpu: SimulatedGpu, now: number, each: Deed): number {
  switch (each.do) {
    case 'work':
      gpu.work(
        kernel(now - each.ago - each.long, now - each.ago, {
          flops: each.flops,
          memoryBytes: each.bytes,
          nvlinkBytes: each.bytes,
        }),
      );
      return now;
    case 'tick':
      gpu.tick(now, now + each.seconds);
      return now + each.seconds;
    case 'limit':
      gpu.setPowerLimit(each.watts);
      return now;
    case 'allocate':
      gpu.allocate({ ...process, pid: each.pid, memoryBytes: each.bytes });
      return now;
    case 'release':
      gpu.release(each.pid);
      return now;
    case 'fault':
      Object.assign(gpu.faults, {
        fanStopped: each.still,
        ambientRiseCelsius: each.rise,
        powerBrake: each.brake,
        correctedErrorsPerSecond: each.rate,
      });
      return now;
    case 'lose':
      gpu.lose(79, now);
      return now;
    case 'restore':
      gpu.restore();
      return now;
    case 'error':
      gpu.addUncorrectedError(now);
      return now;
  }
}

const COUNTERS = [
  'energyJoules',
  'nvlinkSentBytes',
  'nvlinkReceivedBytes',
  'eccCorrected',
  'eccUncorrected',
  'pcieReplays',
] as const;

describe('whatever happens', () => {
  const board = fc.constantFrom(...all.map(([, each]) => each));
  const script = fc.array(deed, { maxLength: 120 });
  const check = (holds: (board: Board, script: Deed[]) => void): void =>
    fc.assert(fc.property(board, script, holds), { seed: 4, numRuns: 100 });

  it('ratios are ratios, memory is within what there is, and every figure is a number', () => {
    check((board, script) => {
      const broken = play(board, 'any', script).flatMap(({ state }) => {
        const shares = state.processes.map(({ smUtilizationRatio }) => smUtilizationRatio);
        const ratios = [state.utilizationRatio, state.memoryUtilizationRatio, state.fanRatio ?? 0, ...shares];
        const held = state.processes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
        return [
          ...ratios.filter((ratio) => !(ratio >= 0 && ratio <= 1)).map((ratio) => `a ratio of ${ratio}`),
          ...(state.memoryUsedBytes === held ? [] : [`${state.memoryUsedBytes} used, ${held} held`]),
          ...(held + state.memoryReservedBytes <= board.memoryBytes ? [] : [`${held} held of too few`]),
          ...Object.entries(state).flatMap(([name, value]) =>
            Number.isNaN(value) ? [`${name} is NaN`] : [],
          ),
        ];
      });
      expect(broken).toEqual([]);
    });
  });

  it('energy is the integral of power', () => {
    check((board, script) => {
      let before: { readonly now: number; readonly state: GpuState } | undefined;
      for (const each of play(board, 'any', script)) {
        const joules = each.state.energyJoules - (before?.state.energyJoules ?? 0);
        const lostMeanwhile = each.state.lostByXid !== undefined && before?.state.lostByXid === undefined;
        // One that was lost at the end of a tick drew power until then, which it tells no more.
        if (lostMeanwhile) expect(joules).toBeGreaterThanOrEqual(0);
        else expect(joules).toBeCloseTo(each.state.powerWatts * (each.now - (before?.now ?? 0)), 6);
        before = each;
      }
    });
  });

  it('counters never fall, and no clock event lasts longer than the world', () => {
    check((board, script) => {
      const states = play(board, 'any', script);
      for (const [index, { now, state }] of states.entries()) {
        const before = states[index - 1]?.state;
        const fallen = COUNTERS.filter((counter) => !(state[counter] >= (before?.[counter] ?? 0)));
        expect(fallen).toEqual([]);
        const wrong = Object.entries(state.clockEventSeconds).filter(
          ([event, value]) =>
            !(value >= (before?.clockEventSeconds[event as ClockEvent] ?? 0) && value <= now + 1e-6),
        );
        expect(wrong).toEqual([]);
      }
    });
  });

  it('power is between idle and what the board can turn into heat, clocks between idle and top', () => {
    check((board, script) => {
      const { smIdle, smMax } = board.clocksHertz;
      for (const { state } of play(board, 'any', script)) {
        if (state.lostByXid !== undefined) continue;
        expect(state.powerWatts).toBeGreaterThanOrEqual(board.idleWatts);
        expect(state.powerWatts).toBeLessThanOrEqual(
          Math.max(state.powerLimitWatts, board.powerLimitWatts.max) * 1.05,
        );
        expect(state.smClockHertz).toBeGreaterThanOrEqual(smIdle - 1);
        expect(state.smClockHertz).toBeLessThanOrEqual(smMax);
      }
    });
  });

  it('the same seed gives the same states, byte for byte, and another seed another GPU', () => {
    check((board, script) => {
      expect(JSON.stringify(play(board, 'one', script))).toBe(JSON.stringify(play(board, 'one', script)));
    });
    expect(gpuOf(H100, { random: createRandom('one') }).state().uuid).not.toBe(
      gpuOf(H100, { random: createRandom('two') }).state().uuid,
    );
  });
});
