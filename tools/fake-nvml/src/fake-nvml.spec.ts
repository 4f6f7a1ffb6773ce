import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { buildFakeNvml, noCompilerReason } from './build-fake-nvml.ts';
import { gb10, gt730, h100, h100Mig, hostOf, rtx4090 } from './fake-boards.ts';
import type { FakeBoard, FakeHost, FakeMigDevice, FakeSampleList } from './fake-host.ts';
import { loadLibrary, type Argument, type LoadedLibrary } from './test-library.ts';
import { writeFakeHost } from './write-fake-host.ts';

const built = buildFakeNvml();
const describeBuilt = built === undefined ? describe.skip : describe;
const folder = mkdtempSync(path.join(tmpdir(), 'fake-nvml-spec-'));
const hostFile = path.join(folder, 'host.json');
const callLog = path.join(folder, 'calls.log');

let library: LoadedLibrary;
const call = (name: string, ...args: readonly Argument[]): number => library.call(name, ...args);

/** Starts the library over a host. */
function open(host: FakeHost): void {
  writeFakeHost(hostFile, host);
  expect(call('nvmlInit_v2')).toBe(0);
}

/** The handle of the board at `index`. */
function handle(index = 0): bigint {
  const out = Buffer.alloc(8);
  expect(call('nvmlDeviceGetHandleByIndex_v2', index, out)).toBe(0);
  return out.readBigUInt64LE();
}

function openBoard(board: FakeBoard, rest: Partial<FakeHost> = {}): bigint {
  open({ ...hostOf([board]), ...rest });
  return handle();
}

/** The return code and, where it is 0, the first number written. */
function number(name: string, ...args: readonly Argument[]): number | { readonly code: number } {
  const out = Buffer.alloc(64);
  const code = call(name, ...args, out);
  return code === 0 ? out.readUInt32LE() : { code };
}

function whole(name: string, ...args: readonly Argument[]): bigint | { readonly code: number } {
  const out = Buffer.alloc(64);
  const code = call(name, ...args, out);
  return code === 0 ? out.readBigUInt64LE() : { code };
}

function text(name: string, device: bigint, length = 96): string | { readonly code: number } {
  const out = Buffer.alloc(length);
  const code = call(name, device, out, length);
  return code === 0 ? untilZero(out) : { code };
}

function untilZero(buffer: Buffer): string {
  return buffer.toString('utf8', 0, buffer.indexOf(0));
}

function u32(...values: readonly number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

beforeAll(() => {
  if (built !== undefined) library = loadLibrary(built, hostFile, callLog);
});

afterEach(() => {
  if (built === undefined) return;
  writeFakeHost(hostFile, hostOf([]));
  while (call('nvmlShutdown') === 0) continue;
  rmSync(callLog, { force: true });
});

afterAll(() => {
  if (built !== undefined) library.close();
  rmSync(folder, { recursive: true, force: true });
});

describeBuilt(`the fake NVML library${built === undefined ? ` (${noCompilerReason})` : ''}`, () => {
  describe('init', () => {
    it('counts init and shutdown, and answers 1 to all else outside', () => {
      writeFakeHost(hostFile, hostOf([h100()]));
      expect(call('nvmlShutdown')).toBe(1);
      expect(number('nvmlDeviceGetCount_v2')).toEqual({ code: 1 });
      expect([call('nvmlInit_v2'), call('nvmlInitWithFlags', 1)]).toEqual([0, 0]);
      expect(call('nvmlShutdown')).toBe(0);
      expect(number('nvmlDeviceGetCount_v2')).toBe(1);
      expect(call('nvmlShutdown')).toBe(0);
      expect(number('nvmlDeviceGetCount_v2')).toEqual({ code: 1 });
    });

    it.each([4, 9, 18, 999])('fails with the code %i of the JSON, and works once it is mended', (init) => {
      writeFakeHost(hostFile, { ...hostOf([h100()]), init });
      expect(call('nvmlInit_v2')).toBe(init);
      expect(number('nvmlDeviceGetCount_v2')).toEqual({ code: 1 });
      writeFakeHost(hostFile, hostOf([h100()]));
      expect(call('nvmlInit_v2')).toBe(0);
    });

    it('has no driver without a JSON file', () => {
      rmSync(hostFile, { force: true });
      expect(call('nvmlInit_v2')).toBe(9);
    });

    it('tells the versions of driver, library and CUDA', () => {
      open(hostOf([]));
      const version = Buffer.alloc(80);
      expect(call('nvmlSystemGetDriverVersion', version, 80)).toBe(0);
      expect(untilZero(version)).toBe('580.105.08');
      expect(call('nvmlSystemGetDriverVersion', version, 10)).toBe(7);
      expect(number('nvmlSystemGetCudaDriverVersion_v2')).toBe(13000);
    });
  });

  describe('handles', () => {
    it('are found by index, UUID and PCI address, in both ways of writing it', () => {
      open(hostOf([h100(0), h100(1)]));
      const second = handle(1);
      const byOther = (name: string, id: string): bigint | { readonly code: number } => whole(name, id);
      expect(byOther('nvmlDeviceGetHandleByUUID', h100(1).uuid)).toBe(second);
      expect(byOther('nvmlDeviceGetHandleByPciBusId_v2', '00000000:11:00.0')).toBe(second);
      expect(byOther('nvmlDeviceGetHandleByPciBusId_v2', '0000:11:00.0')).toBe(second);
      expect(byOther('nvmlDeviceGetHandleByPciBusId_v2', '0000:12:00.0')).toEqual({ code: 6 });
      expect(byOther('nvmlDeviceGetHandleByUUID', 'GPU-none')).toEqual({ code: 6 });
      expect(whole('nvmlDeviceGetHandleByIndex_v2', 2)).toEqual({ code: 2 });
      expect(number('nvmlDeviceGetIndex', second)).toBe(1);
    });

    it('that nobody gave out are an invalid argument', () => {
      const device = openBoard(h100());
      expect(number('nvmlDeviceGetIndex', device + 8n)).toEqual({ code: 2 });
      expect(number('nvmlDeviceGetIndex', 0n)).toEqual({ code: 2 });
    });

    it('stay with their board when another is gone, and are lost when it is', () => {
      open(hostOf([h100(0), h100(1)]));
      const [first, second] = [handle(0), handle(1)];
      writeFakeHost(hostFile, hostOf([h100(1)]));
      expect(number('nvmlDeviceGetIndex', second)).toBe(0);
      expect(number('nvmlDeviceGetIndex', first)).toEqual({ code: 15 });
    });
  });

  describe('a board', () => {
    it('tells who it is', () => {
      const device = openBoard(h100(3));
      expect(text('nvmlDeviceGetName', device)).toBe('NVIDIA H100 80GB HBM3');
      expect(text('nvmlDeviceGetUUID', device)).toBe(h100(3).uuid);
      expect(text('nvmlDeviceGetSerial', device, 30)).toBe('1650000000004');
      expect(text('nvmlDeviceGetSerial', device, 13)).toEqual({ code: 7 });
      expect(text('nvmlDeviceGetVbiosVersion', device, 32)).toBe('96.00.99.00.01');
      expect(number('nvmlDeviceGetMinorNumber', device)).toBe(3);
      expect(number('nvmlDeviceGetArchitecture', device)).toBe(9);
      const [major, minor] = [u32(0), u32(7)];
      expect(call('nvmlDeviceGetCudaComputeCapability', device, major, minor)).toBe(0);
      expect([major.readUInt32LE(), minor.readUInt32LE()]).toEqual([9, 0]);
    });

    it('has its PCI address in both forms of the struct', () => {
      const device = openBoard(gb10());
      const pci = Buffer.alloc(68);
      expect(call('nvmlDeviceGetPciInfo_v3', device, pci)).toBe(0);
      expect(untilZero(pci)).toBe('000F:01:00.0');
      expect([pci.readUInt32LE(16), pci.readUInt32LE(20)]).toEqual([0xf, 1]);
      expect(untilZero(pci.subarray(36))).toBe('0000000F:01:00.0');
    });

    const NUMBERS: readonly (readonly [string, readonly Argument[], number])[] = [
      ['nvmlDeviceGetUtilizationRates', [], 87],
      ['nvmlDeviceGetPowerUsage', [], 612_340],
      ['nvmlDeviceGetEnforcedPowerLimit', [], 700_000],
      ['nvmlDeviceGetPowerManagementLimit', [], 700_000],
      ['nvmlDeviceGetPowerManagementDefaultLimit', [], 700_000],
      ['nvmlDeviceGetClockInfo', [2], 2619],
      ['nvmlDeviceGetMaxClockInfo', [0], 1980],
      ['nvmlDeviceGetCurrPcieLinkGeneration', [], 5],
      ['nvmlDeviceGetMaxPcieLinkWidth', [], 16],
      ['nvmlDeviceGetPcieThroughput', [1], 578],
      ['nvmlDeviceGetPcieReplayCounter', [], 150],
      ['nvmlDeviceGetNvLinkState', [17], 1],
    ];
    it.each(NUMBERS)('answers %s(%j) from the JSON, and 3 where that has nothing', (name, args, value) => {
      const device = openBoard(h100());
      expect(number(name, device, ...args)).toBe(value);
      writeFakeHost(hostFile, hostOf([{ uuid: h100().uuid, pciBusId: h100().pciBusId }]));
      expect(number(name, device, ...args)).toEqual({ code: 3 });
    });

    it.each([
      ['nvmlDeviceGetClockInfo', 4],
      ['nvmlDeviceGetTemperatureThreshold', 7],
      ['nvmlDeviceGetFanSpeed_v2', 2],
      ['nvmlDeviceGetPcieThroughput', 2],
      ['nvmlDeviceGetNvLinkState', 36],
    ])('answers 2 to %s(%i), one past the end', (name, index) => {
      const device = openBoard({ ...h100(), fans: [{ percent: 30 }, { percent: 31 }] });
      expect(number(name, device, index)).toEqual({ code: 2 });
    });

    it('tells memory in both versions of the struct; the older counts what is reserved as used', () => {
      const device = openBoard({
        ...h100(),
        memory: { totalBytes: 1000, usedBytes: 600, reservedBytes: 100 },
      });
      const newer = Buffer.alloc(40);
      newer.writeUInt32LE(0x02000028);
      expect(call('nvmlDeviceGetMemoryInfo_v2', device, newer)).toBe(0);
      const fields = [8, 16, 24, 32].map((offset) => newer.readBigUInt64LE(offset));
      expect(fields).toEqual([1000n, 100n, 300n, 600n]);
      const older = Buffer.alloc(24);
      expect(call('nvmlDeviceGetMemoryInfo', device, older)).toBe(0);
      expect([0, 8, 16].map((offset) => older.readBigUInt64LE(offset))).toEqual([1000n, 300n, 700n]);
    });

    it('has no memory of its own on GB10', () => {
      const device = openBoard(gb10());
      expect(whole('nvmlDeviceGetMemoryInfo', device)).toEqual({ code: 3 });
      expect(number('nvmlDeviceGetUtilizationRates', device)).toBe(95);
    });

    const VERSIONED: readonly (readonly [string, number, number])[] = [
      ['nvmlDeviceGetMemoryInfo_v2', 0x02000028, 40],
      ['nvmlDeviceGetTemperatureV', 0x0100000c, 12],
      ['nvmlDeviceGetMarginTemperature', 0x01000008, 8],
      ['nvmlDeviceGetFanSpeedRPM', 0x0100000c, 12],
      ['nvmlDeviceGetGpuFabricInfoV', 0x03000028, 40],
      ['nvmlGpmQueryDeviceSupport', 1, 8],
    ];
    it.each(VERSIONED)(
      'takes %s only with its version, and not while the JSON refuses it',
      (name, version, size) => {
        const board = { ...h100(), fans: [{ percent: 30, rpm: 900 }] };
        const device = openBoard(board);
        const struct = (first: number): Buffer => Buffer.concat([u32(first), Buffer.alloc(size - 4)]);
        expect(call(name, device, struct(version))).toBe(0);
        expect(call(name, device, struct(0))).toBe(25);
        writeFakeHost(hostFile, { ...hostOf([board]), refuseStructVersions: [name] });
        expect(call(name, device, struct(version))).toBe(25);
      },
    );

    it('takes version 2 of the fabric struct where 3 is refused, and writes nothing behind it', () => {
      const device = openBoard(h100(), { refuseStructVersions: ['nvmlDeviceGetGpuFabricInfoV'] });
      const struct = Buffer.alloc(40, 0xff);
      struct.writeUInt32LE(0x02000024);
      expect(call('nvmlDeviceGetGpuFabricInfoV', device, struct)).toBe(0);
      expect([struct.readUInt8(28), struct.readUInt8(36)]).toEqual([3, 0xff]);
    });

    it('keeps ECC counters apart, sums them, and has none while ECC is off', () => {
      const device = openBoard(h100());
      expect(whole('nvmlDeviceGetMemoryErrorCounter', device, 0, 1, 2)).toBe(7n);
      expect(whole('nvmlDeviceGetMemoryErrorCounter', device, 0, 1, 7)).toBe(1n);
      expect(whole('nvmlDeviceGetMemoryErrorCounter', device, 0, 1, 0)).toEqual({ code: 3 });
      expect(whole('nvmlDeviceGetTotalEccErrors', device, 0, 1)).toBe(8n);
      writeFakeHost(hostFile, hostOf([{ ...h100(), ecc: { ...h100().ecc, enabled: false } }]));
      expect(whole('nvmlDeviceGetMemoryErrorCounter', device, 0, 1, 2)).toEqual({ code: 3 });
      const [current, pending] = [u32(9), u32(9)];
      expect(call('nvmlDeviceGetEccMode', device, current, pending)).toBe(0);
      expect([current.readUInt32LE(), pending.readUInt32LE()]).toEqual([0, 0]);
    });

    it('tells how many pages are retired before it tells which', () => {
      const device = openBoard({ ...h100(), retiredPages: { multipleSingleBit: 0, doubleBit: 2 } });
      const [count, pages] = [u32(0), Buffer.alloc(16)];
      expect(call('nvmlDeviceGetRetiredPages', device, 0, count, null)).toBe(0);
      expect(call('nvmlDeviceGetRetiredPages', device, 1, count, null)).toBe(7);
      expect(count.readUInt32LE()).toBe(2);
      expect(call('nvmlDeviceGetRetiredPages', device, 1, count, pages)).toBe(0);
      expect(call('nvmlDeviceGetRetiredPages', device, 2, count, pages)).toBe(2);
    });

    it('reads whole numbers above 2^53 from text, sentinels among them', () => {
      const device = openBoard({ ...h100(), energyMillijoules: '18446744073709551615' });
      expect(whole('nvmlDeviceGetTotalEnergyConsumption', device)).toBe(18446744073709551615n);
    });

    it('reads names as JSON escapes them', () => {
      const device = openBoard({ ...h100(), name: 'a "b" \\ \u0007 é €' });
      expect(text('nvmlDeviceGetName', device)).toBe('a "b" \\ \u0007 é €');
    });
  });

  describe('field values', () => {
    /** Each field's code, type and value. */
    function fields(device: bigint, ...ids: readonly (readonly [id: number, scope: number])[]) {
      const values = Buffer.alloc(40 * ids.length);
      ids.forEach(([id, scope], at) => {
        values.writeUInt32LE(id, at * 40);
        values.writeUInt32LE(scope, at * 40 + 4);
      });
      expect(call('nvmlDeviceGetFieldValues', device, ids.length, values)).toBe(0);
      return ids.map((_, at) => {
        const code = values.readInt32LE(at * 40 + 28);
        return code === 0
          ? [values.readInt32LE(at * 40 + 24), values.readBigInt64LE(at * 40 + 32)]
          : { code };
      });
    }

    it('come with their type, each with its own code', () => {
      const device = openBoard(h100());
      expect(fields(device, [82, 0], [83, 0], [186, 0], [186, 1], [185, 2], [230, 0], [999, 0])).toEqual([
        [1, 72n],
        [3, 1_234_567_890_123n],
        [1, 640_110n],
        { code: 3 },
        [1, 92_980n],
        [1, 0n],
        { code: 3 },
      ]);
    });

    it('may be negative', () => {
      const device = openBoard(h100());
      expect(
        fields(device, [193, 0]).map(
          (field) => Array.isArray(field) && BigInt.asIntN(32, field[1] as bigint),
        ),
      ).toEqual([-8n]);
    });

    it('of links are asked one by one or all at once', () => {
      const device = openBoard({
        ...h100(),
        nvlinks: [
          { active: true, transmitKibibytes: 5 },
          { active: false, transmitKibibytes: 7 },
        ],
      });
      expect(fields(device, [138, 0], [138, 1], [138, 2], [138, 0xffffffff], [165, 1], [91, 0])).toEqual([
        [3, 5n],
        [3, 7n],
        { code: 2 },
        [3, 12n],
        [1, 0n],
        [1, 2n],
      ]);
    });

    it('are overridden by number, by number and scope, and by a code', () => {
      const device = openBoard({
        ...h100(),
        fields: { 230: { code: 4 }, '202:3': 99, 301: { value: 2, type: 1 } },
      });
      expect(fields(device, [230, 0], [202, 3], [202, 2], [301, 0])).toEqual([
        { code: 4 },
        [3, 99n],
        { code: 3 },
        [1, 2n],
      ]);
    });
  });

  describe('samples', () => {
    /** The code, or each sample's value with its age in milliseconds before the newest. */
    function samples(device: bigint, type: number, after: bigint, room: number) {
      const [valueType, count, buffer] = [u32(9), u32(room), Buffer.alloc(16 * room)];
      const code = call('nvmlDeviceGetSamples', device, type, after, valueType, count, buffer);
      if (code !== 0) return { code };
      expect(valueType.readUInt32LE()).toBe(1);
      return Array.from({ length: count.readUInt32LE() }, (_, at) => ({
        time: buffer.readBigUInt64LE(at * 16),
        value: buffer.readUInt32LE(at * 16 + 8),
      }));
    }
    const withGpuSamples = (gpu: FakeSampleList): FakeBoard => ({ ...h100(), samples: { gpu } });

    it('of a list are told once, oldest first, by the time since they were seen', () => {
      const device = openBoard(
        withGpuSamples([
          [300, 10],
          [200, 100],
          [100, 20],
        ]),
      );
      const all = samples(device, 1, 0n, 8);
      if (!Array.isArray(all)) throw new Error(`code ${all.code}`);
      expect(all.map(({ value }) => value)).toEqual([10, 100, 20]);
      const times = all.map(({ time }) => time);
      expect(times.map((time) => time - (times[0] ?? 0n))).toEqual([0n, 100_000n, 200_000n]);
      expect(samples(device, 1, times[1] ?? 0n, 8)).toEqual([all[2]]);
      expect(samples(device, 1, times[2] ?? 0n, 8)).toEqual({ code: 6 });
      expect(samples(device, 0, 0n, 8)).toEqual({ code: 3 });
    });

    it('are counted by a call without a buffer', () => {
      const device = openBoard(
        withGpuSamples([
          [2, 1],
          [1, 2],
        ]),
      );
      const count = u32(0);
      expect(call('nvmlDeviceGetSamples', device, 1, 0n, u32(0), count, null)).toBe(0);
      expect(count.readUInt32LE()).toBe(2);
    });

    it('that are live are the present value', () => {
      const device = openBoard(withGpuSamples('live'));
      expect(samples(device, 1, 0n, 4)).toMatchObject([{ value: 87 }]);
      writeFakeHost(hostFile, hostOf([{ ...withGpuSamples('live'), utilization: { gpu: 12 } }]));
      expect(samples(device, 1, 0n, 4)).toMatchObject([{ value: 12 }]);
      expect(samples(device, 1, 2n ** 63n, 4)).toEqual({ code: 6 });
    });
  });

  describe('processes', () => {
    const COMPUTE = 'nvmlDeviceGetComputeRunningProcesses_v3';

    it('are told in two calls, by type, unknown memory as 2^64-1', () => {
      const device = openBoard({
        ...rtx4090(),
        processes: [
          { pid: 10, type: 'compute', memoryBytes: 1024 },
          { pid: 11, type: 'graphics', memoryBytes: 2048 },
          { pid: 12, type: 'compute+graphics' },
          { pid: 13, type: 'mps', memoryBytes: 1 },
        ],
      });
      const [count, infos] = [u32(0), Buffer.alloc(24 * 4)];
      expect(call(COMPUTE, device, count, null)).toBe(7);
      expect(count.readUInt32LE()).toBe(2);
      count.writeUInt32LE(1);
      expect(call(COMPUTE, device, count, infos)).toBe(7);
      count.writeUInt32LE(4);
      expect(call(COMPUTE, device, count, infos)).toBe(0);
      expect([count.readUInt32LE(), infos.readUInt32LE(0), infos.readUInt32LE(24)]).toEqual([2, 10, 12]);
      expect([infos.readBigUInt64LE(8), infos.readBigUInt64LE(32)]).toEqual([1024n, 2n ** 64n - 1n]);
      expect(infos.readUInt32LE(16)).toBe(0xffffffff);
      for (const [name, pids] of [
        ['Graphics', [11, 12]],
        ['MPSCompute', [13]],
      ] as const) {
        count.writeUInt32LE(4);
        expect(call(`nvmlDeviceGet${name}RunningProcesses_v3`, device, count, infos)).toBe(0);
        expect(pids.map((_, at) => infos.readUInt32LE(24 * at))).toEqual(pids);
        expect(count.readUInt32LE()).toBe(pids.length);
      }
    });

    it('are none, which is not the same as not told', () => {
      const device = openBoard({ ...rtx4090(), processes: [] });
      expect(call(COMPUTE, device, u32(0), null)).toBe(0);
      writeFakeHost(hostFile, hostOf([{ ...rtx4090(), processes: undefined }]));
      expect(call(COMPUTE, device, u32(0), null)).toBe(3);
    });

    it('have their name, and a share of the GPU: asked for its size, the older call answers 0, the newer 7', () => {
      const device = openBoard(rtx4090());
      const name = Buffer.alloc(64);
      expect(call('nvmlSystemGetProcessName', 51_001, name, 64)).toBe(0);
      expect(untilZero(name)).toBe('/usr/local/bin/llama-server');
      expect(call('nvmlSystemGetProcessName', 1, name, 64)).toBe(6);
      const [count, samples] = [u32(0), Buffer.alloc(32)];
      expect(call('nvmlDeviceGetProcessUtilization', device, null, count, 0n)).toBe(0);
      expect(count.readUInt32LE()).toBe(1);
      expect(call('nvmlDeviceGetProcessUtilization', device, samples, count, 0n)).toBe(0);
      expect([samples.readUInt32LE(0), samples.readUInt32LE(16)]).toEqual([51_001, 31]);
      const info = Buffer.alloc(24);
      info.writeUInt32LE(0x01000018);
      expect(call('nvmlDeviceGetProcessesUtilizationInfo', device, info)).toBe(7);
      expect(info.readUInt32LE(4)).toBe(1);
    });
  });

  describe('events', () => {
    const event = (id: number, xid: number, board = h100(0).uuid) => ({ id, board, xid });
    const XID = 8n;

    function openSet(...devices: readonly bigint[]): bigint {
      const out = Buffer.alloc(8);
      expect(call('nvmlEventSetCreate', out)).toBe(0);
      const set = out.readBigUInt64LE();
      for (const device of devices) expect(call('nvmlDeviceRegisterEvents', device, XID, set)).toBe(0);
      return set;
    }
    /** The XID of the next event, or the code. */
    function wait(set: bigint): bigint | { readonly code: number } {
      const data = Buffer.alloc(32);
      const code = call('nvmlEventSetWait_v2', set, data, 0);
      return code === 0 ? data.readBigUInt64LE(16) : { code };
    }

    it('are delivered once to each set whose board they are of, and then there are none', () => {
      open({
        ...hostOf([h100(0), h100(1)]),
        events: [event(1, 31), event(2, 79, h100(1).uuid), event(3, 48)],
      });
      const [first, second] = [openSet(handle(0)), openSet(handle(0), handle(1))];
      expect([wait(first), wait(first), wait(first)]).toEqual([31n, 48n, { code: 10 }]);
      expect([wait(second), wait(second), wait(second), wait(second)]).toEqual([31n, 79n, 48n, { code: 10 }]);
      writeFakeHost(hostFile, { ...hostOf([h100(0), h100(1)]), events: [event(3, 48), event(4, 63)] });
      expect([wait(first), wait(first)]).toEqual([63n, { code: 10 }]);
      expect(call('nvmlEventSetFree', first)).toBe(0);
      expect(wait(first)).toEqual({ code: 2 });
      expect(call('nvmlEventSetFree', second)).toBe(0);
    });

    it('of a board that is lost come before the news that it is', () => {
      open(hostOf([h100(0)]));
      const set = openSet(handle());
      expect(wait(set)).toEqual({ code: 10 });
      writeFakeHost(hostFile, { ...hostOf([{ ...h100(0), lost: true }]), events: [event(1, 79)] });
      expect([wait(set), wait(set)]).toEqual([79n, { code: 15 }]);
      expect(call('nvmlEventSetFree', set)).toBe(0);
    });

    it('of unknown kinds cannot be registered', () => {
      open(hostOf([h100(0)]));
      const set = openSet();
      expect(call('nvmlDeviceRegisterEvents', handle(), 0x10000n, set)).toBe(3);
      expect(call('nvmlDeviceRegisterEvents', handle(), XID, set + 8n)).toBe(2);
      expect(call('nvmlEventSetFree', set)).toBe(0);
    });
  });

  describe('MIG', () => {
    const devices: readonly FakeMigDevice[] = h100Mig().mig?.devices ?? [];

    it('has its devices at their places, with holes between', () => {
      const parent = openBoard(h100Mig());
      const found = Array.from({ length: 8 }, (_, index) =>
        whole('nvmlDeviceGetMigDeviceHandleByIndex', parent, index),
      );
      expect(found.map((one) => (typeof one === 'bigint' ? 0 : one.code))).toEqual([0, 6, 0, 0, 6, 6, 6, 2]);
      const uuids = found.flatMap((one) => (typeof one === 'bigint' ? [text('nvmlDeviceGetUUID', one)] : []));
      expect(uuids).toEqual(devices.map(({ uuid }) => uuid));
    });

    it('answers on a device what belongs to it, and nothing else', () => {
      const parent = openBoard(h100Mig());
      const device = whole('nvmlDeviceGetMigDeviceHandleByIndex', parent, 3);
      if (typeof device !== 'bigint') throw new Error(`code ${device.code}`);
      expect(text('nvmlDeviceGetName', device)).toBe('NVIDIA H100 80GB HBM3 MIG 1g.10gb');
      expect(number('nvmlDeviceGetGpuInstanceId', device)).toBe(9);
      expect(number('nvmlDeviceGetComputeInstanceId', device)).toBe(0);
      expect(whole('nvmlDeviceGetDeviceHandleFromMigDeviceHandle', device)).toBe(parent);
      expect(whole('nvmlDeviceGetMemoryInfo', device)).toBe(10n * 1024n ** 3n);
      const attributes = Buffer.alloc(40);
      expect(call('nvmlDeviceGetAttributes_v2', device, attributes)).toBe(0);
      expect([attributes.readUInt32LE(0), attributes.readBigUInt64LE(32)]).toEqual([16, 10240n]);
      const [count, infos] = [u32(4), Buffer.alloc(96)];
      expect(call('nvmlDeviceGetComputeRunningProcesses_v3', device, count, infos)).toBe(0);
      expect([count.readUInt32LE(), infos.readUInt32LE(0), infos.readUInt32LE(16)]).toEqual([1, 42_009, 9]);
      expect(number('nvmlDeviceGetPowerUsage', device)).toEqual({ code: 3 });
      expect(number('nvmlDeviceGetGpuInstanceId', parent)).toEqual({ code: 3 });
      expect(number('nvmlDeviceGetUtilizationRates', parent)).toEqual({ code: 3 });
    });

    it('answers on a device with the codes of the device, else those of its board', () => {
      const parent = h100Mig();
      const devices = (parent.mig?.devices ?? []).map((device) => ({
        ...device,
        returns: { nvmlDeviceGetName: 0 },
      }));
      const board = openBoard({
        ...parent,
        mig: { enabled: true, devices },
        returns: { nvmlDeviceGetName: 4, nvmlDeviceGetGpuInstanceId: 4 },
      });
      const device = whole('nvmlDeviceGetMigDeviceHandleByIndex', board, 3);
      if (typeof device !== 'bigint') throw new Error(`code ${device.code}`);
      expect(text('nvmlDeviceGetName', board)).toEqual({ code: 4 });
      expect(text('nvmlDeviceGetName', device)).toBe('NVIDIA H100 80GB HBM3 MIG 1g.10gb');
      expect(number('nvmlDeviceGetGpuInstanceId', device)).toEqual({ code: 4 });
    });

    it('is off, or not there', () => {
      const off = openBoard(h100());
      expect(whole('nvmlDeviceGetMigDeviceHandleByIndex', off, 0)).toEqual({ code: 6 });
      expect(number('nvmlDeviceGetMaxMigDeviceCount', off)).toBe(7);
      writeFakeHost(hostFile, hostOf([rtx4090()]));
      expect(call('nvmlDeviceGetMigMode', handle(), u32(0), u32(0))).toBe(3);
      expect(number('nvmlDeviceGetMaxMigDeviceCount', handle())).toBe(0);
    });
  });

  describe('GPM', () => {
    /** Codes and values of some metrics between two samples, of the board or of an instance. */
    function metrics(device: bigint, instance: number | undefined, ids: readonly number[]) {
      const pair = [Buffer.alloc(8), Buffer.alloc(8)].map((out) => {
        expect(call('nvmlGpmSampleAlloc', out)).toBe(0);
        return out.readBigUInt64LE();
      });
      const taken = pair.map((sample) =>
        instance === undefined
          ? call('nvmlGpmSampleGet', device, sample)
          : call('nvmlGpmMigSampleGet', device, instance, sample),
      );
      const get = Buffer.alloc(13_344);
      get.writeUInt32LE(1, 0);
      get.writeUInt32LE(ids.length, 4);
      pair.forEach((sample, at) => get.writeBigUInt64LE(sample, 8 + 8 * at));
      ids.forEach((id, at) => get.writeUInt32LE(id, 24 + 40 * at));
      const code = call('nvmlGpmMetricsGet', get);
      for (const sample of pair) expect(call('nvmlGpmSampleFree', sample)).toBe(0);
      return {
        taken,
        code,
        values: ids.map((_, at) =>
          get.readInt32LE(28 + 40 * at) === 0 ? get.readDoubleLE(32 + 40 * at) : undefined,
        ),
      };
    }

    it('gives the metrics that the board has', () => {
      const device = openBoard(h100());
      expect(metrics(device, undefined, [2, 3, 99])).toEqual({
        taken: [0, 0],
        code: 0,
        values: [71.5, 33.25, undefined],
      });
    });

    it('gives those of a MIG instance', () => {
      const device = openBoard(h100Mig());
      expect(metrics(device, 5, [2])).toEqual({ taken: [0, 0], code: 0, values: [42] });
      expect(metrics(device, 6, [2])).toMatchObject({ taken: [3, 3], code: 2 });
      expect(metrics(device, undefined, [2])).toMatchObject({ taken: [3, 3], code: 2 });
    });

    it('refuses samples that are not its own, or no longer', () => {
      const device = openBoard(h100());
      const out = Buffer.alloc(8);
      expect(call('nvmlGpmSampleAlloc', out)).toBe(0);
      const sample = out.readBigUInt64LE();
      expect(call('nvmlGpmSampleGet', device, sample + 8n)).toBe(2);
      expect([call('nvmlGpmSampleFree', sample), call('nvmlGpmSampleFree', sample)]).toEqual([0, 2]);
      expect(call('nvmlGpmSampleGet', device, sample)).toBe(2);
    });

    it('is not there before Hopper', () => {
      const device = openBoard(rtx4090());
      const support = u32(1, 9);
      expect(call('nvmlGpmQueryDeviceSupport', device, support)).toBe(0);
      expect(support.readUInt32LE(4)).toBe(0);
    });
  });

  describe('faults', () => {
    it('are codes for one function, on the host or before that on a board', () => {
      const fail = { returns: { nvmlDeviceGetPowerUsage: 999 } };
      open({ ...hostOf([h100(0), { ...h100(1), returns: { nvmlDeviceGetPowerUsage: 4 } }]), ...fail });
      expect(number('nvmlDeviceGetPowerUsage', handle(0))).toEqual({ code: 999 });
      expect(number('nvmlDeviceGetPowerUsage', handle(1))).toEqual({ code: 4 });
      expect(number('nvmlDeviceGetEnforcedPowerLimit', handle(1))).toBe(700_000);
    });

    it('lose a board, handle and all, and give it back', () => {
      open(hostOf([h100(0), h100(1)]));
      const second = handle(1);
      writeFakeHost(hostFile, hostOf([h100(0), { ...h100(1), lost: true }]));
      expect(number('nvmlDeviceGetCount_v2')).toBe(2);
      expect(whole('nvmlDeviceGetHandleByIndex_v2', 1)).toEqual({ code: 15 });
      expect(number('nvmlDeviceGetPowerUsage', second)).toEqual({ code: 15 });
      expect(number('nvmlDeviceGetPowerUsage', handle(0))).toBe(612_340);
      writeFakeHost(hostFile, hostOf([h100(0), h100(1)]));
      expect(number('nvmlDeviceGetPowerUsage', second)).toBe(612_340);
    });

    it('leave a board that needs a reset its identity', () => {
      const device = openBoard({ ...h100(), resetRequired: true });
      expect(text('nvmlDeviceGetUUID', device)).toBe(h100().uuid);
      expect(number('nvmlDeviceGetPowerUsage', device)).toEqual({ code: 16 });
    });

    it('delay a call', () => {
      const device = openBoard(h100(), { delays: { nvmlDeviceGetPcieThroughput: 40 } });
      const before = process.hrtime.bigint();
      expect(number('nvmlDeviceGetPcieThroughput', device, 0)).toBe(502);
      expect(process.hrtime.bigint() - before).toBeGreaterThanOrEqual(40_000_000n);
    });

    it('are unknown to a JSON file that is none', () => {
      open(hostOf([h100()]));
      rmSync(hostFile);
      expect(number('nvmlDeviceGetCount_v2')).toEqual({ code: 999 });
    });
  });

  it('writes each call and its board down, so that a test can tell who was left alone', () => {
    open(hostOf([h100(0), gt730(1)]));
    number('nvmlDeviceGetPowerUsage', handle(1));
    expect(readFileSync(callLog, 'utf8').trim().split('\n')).toEqual([
      'nvmlInit_v2 -',
      `nvmlDeviceGetHandleByIndex_v2 ${gt730(1).uuid}`,
      `nvmlDeviceGetPowerUsage ${gt730(1).uuid}`,
    ]);
  });

  it('lacks the functions that it is built without, and no other', () => {
    const variant = buildFakeNvml({ without: ['nvmlDeviceGetTemperatureV'] });
    if (variant === undefined) throw new Error(noCompilerReason);
    expect(buildFakeNvml({ without: ['nvmlDeviceGetTemperatureV'] })).toBe(variant);
    expect(variant).not.toBe(built);
    const older = loadLibrary(variant, hostFile);
    try {
      writeFakeHost(hostFile, hostOf([h100()]));
      expect(older.call('nvmlInit_v2')).toBe(0);
      const out = Buffer.alloc(8);
      expect(older.call('nvmlDeviceGetHandleByIndex_v2', 0, out)).toBe(0);
      const device = out.readBigUInt64LE();
      expect(() => older.call('nvmlDeviceGetTemperatureV', device, out)).toThrow(/Cannot find function/);
      expect(older.call('nvmlDeviceGetTemperature', device, 0, out)).toBe(0);
      expect(out.readUInt32LE()).toBe(61);
    } finally {
      older.close();
    }
  });
});
