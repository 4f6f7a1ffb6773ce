import type { LoggedXid } from './kernel-log.ts';
import { XidBook } from './xid-book.ts';
import { FATAL_XIDS } from './xid-catalogue.ts';

const GPU = '0000:8f:00.0';

const logged = (xid: number, unixSeconds: number, rest: Partial<LoggedXid> = {}): LoggedXid => ({
  pciBusId: GPU,
  xid,
  unixSeconds,
  past: false,
  ...rest,
});

function book(sources: { kernelLog: boolean; driver: boolean }): XidBook {
  const xids = new XidBook();
  xids.listenTo(sources);
  return xids;
}

describe('XidBook', () => {
  it('gives the same object until there is another error', () => {
    const xids = book({ kernelLog: true, driver: true });
    const before = xids.of(GPU);
    expect(xids.of(GPU)).toBe(before);
    xids.addKernelEvents([logged(31, 100)]);
    expect(xids.of(GPU)?.get(31)?.count).toBe(1);
    expect(before?.has(31)).toBe(false);
  });

  it('has the fatal ones with 0 before any comes, as a counter born at 1 is invisible to increase() (trap 20)', () => {
    const counts = book({ kernelLog: true, driver: false }).of(GPU);
    expect([...(counts ?? [])]).toEqual(FATAL_XIDS.map((xid) => [xid, { count: 0 }]));
  });

  it.each([
    { kernelLog: false, driver: false, pciBusId: GPU, known: false },
    { kernelLog: false, driver: true, pciBusId: GPU, known: true },
    { kernelLog: true, driver: false, pciBusId: GPU, known: true },
    { kernelLog: true, driver: true, pciBusId: undefined, known: false },
  ])(
    'with kernel log $kernelLog, driver $driver and address $pciBusId is known: $known',
    ({ pciBusId, known, ...sources }) => {
      expect(book(sources).of(pciBusId) !== undefined).toBe(known);
    },
  );

  it('counts the kernel log alone where it is followed, for NVML tells most of the same (trap 19)', () => {
    const xids = book({ kernelLog: true, driver: true });
    xids.addDriverEvents([logged(31, 100)]);
    xids.addKernelEvents([logged(31, 100.2), logged(79, 101)]);
    expect(xids.of(GPU)?.get(31)).toEqual({ count: 1, lastUnixSeconds: 100.2 });
    expect(xids.of(GPU)?.get(79)).toEqual({ count: 1, lastUnixSeconds: 101 });
  });

  it('counts events of NVML where the kernel log is not followed, unknown ones as 999', () => {
    const xids = book({ kernelLog: false, driver: true });
    xids.addDriverEvents([logged(999, 100), logged(999, 103), logged(48, 104)]);
    expect(xids.of(GPU)?.get(999)).toEqual({ count: 2, lastUnixSeconds: 103 });
    expect(xids.of(GPU)?.get(48)).toEqual({ count: 1, lastUnixSeconds: 104 });
  });

  it('goes over to NVML when the kernel log is lost, and keeps its counts', () => {
    const xids = book({ kernelLog: true, driver: true });
    xids.addKernelEvents([logged(31, 100)]);
    xids.listenTo({ kernelLog: false, driver: true });
    xids.addDriverEvents([logged(31, 200)]);
    expect(xids.of(GPU)?.get(31)).toEqual({ count: 2, lastUnixSeconds: 200 });
  });

  it('counts nothing for what was logged before the start, and keeps its time', () => {
    const xids = book({ kernelLog: true, driver: false });
    xids.addKernelEvents([logged(79, 50, { past: true }), logged(13, 40, { past: true })]);
    expect(xids.of(GPU)?.get(79)).toEqual({ count: 0, lastUnixSeconds: 50 });
    expect(xids.of(GPU)?.get(13)).toEqual({ count: 0, lastUnixSeconds: 40 });
    xids.addKernelEvents([logged(79, 60)]);
    expect(xids.of(GPU)?.get(79)).toEqual({ count: 1, lastUnixSeconds: 60 });
  });

  it('keeps GPUs apart', () => {
    const xids = book({ kernelLog: true, driver: false });
    xids.addKernelEvents([logged(79, 100)]);
    expect(xids.of('0000:90:00.0')?.get(79)).toEqual({ count: 0 });
  });

  it('lists by number', () => {
    const xids = book({ kernelLog: true, driver: false });
    xids.addKernelEvents([logged(999, 1), logged(13, 1), logged(100, 1)]);
    const numbers = [...(xids.of(GPU)?.keys() ?? [])];
    expect(numbers).toEqual([...FATAL_XIDS, 13, 100, 999].sort((a, b) => a - b));
  });

  it('holds 64 numbers per GPU at most, always with a place for the fatal ones', () => {
    const xids = book({ kernelLog: true, driver: false });
    xids.addKernelEvents(Array.from({ length: 2000 }, (_, index) => logged(1000 + index, index)));
    xids.addKernelEvents([logged(79, 5000), logged(1000, 5000)]);
    const counts = xids.of(GPU);
    expect(counts?.size).toBe(64);
    expect(counts?.get(79)?.count).toBe(1);
    expect(counts?.get(1000)?.count).toBe(2);
  });

  it('holds 256 GPUs at most', () => {
    const xids = book({ kernelLog: true, driver: false });
    const address = (index: number): string => `${index.toString(16).padStart(4, '0')}:00:00.0`;
    xids.addKernelEvents(
      Array.from({ length: 300 }, (_, index) => logged(31, 1, { pciBusId: address(index) })),
    );
    expect(xids.of(address(255))?.get(31)?.count).toBe(1);
    expect(xids.of(address(256))?.get(31)).toBeUndefined();
  });

  it.each([0, -1, 1.5, NaN, 10_000])('takes no XID %d', (xid) => {
    const xids = book({ kernelLog: true, driver: false });
    xids.addKernelEvents([logged(xid, 1)]);
    expect(xids.of(GPU)?.size).toBe(FATAL_XIDS.length);
  });
});
