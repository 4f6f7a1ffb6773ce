import { FATAL_XIDS, xidCatalogue } from './xid-catalogue.ts';

describe('xidCatalogue', () => {
  it.each([
    { xid: 48, fatal: true, why: 'an uncorrectable memory error' },
    { xid: 63, fatal: false, why: 'a remapped row is the repair' },
    { xid: 64, fatal: true, why: 'the repair failed' },
    { xid: 62, fatal: true, why: 'the micro-controller halted' },
    { xid: 61, fatal: false, why: 'it only warned' },
    { xid: 74, fatal: true, why: 'NVLink failed' },
    { xid: 79, fatal: true, why: 'off the bus' },
    { xid: 92, fatal: false, why: 'all errors were corrected' },
    { xid: 94, fatal: false, why: 'it cost one program' },
    { xid: 95, fatal: true, why: 'it cost all programs' },
    { xid: 119, fatal: true, why: 'the firmware is silent' },
    { xid: 120, fatal: true, why: 'the firmware failed' },
    { xid: 140, fatal: true, why: 'ECC did not recover' },
    { xid: 143, fatal: true, why: 'the GPU could not be initialized' },
    { xid: 154, fatal: true, why: 'the driver asks for a recovery' },
    { xid: 13, fatal: false, why: 'a bug of the program' },
    { xid: 31, fatal: false, why: 'a bug of the program' },
    { xid: 43, fatal: false, why: 'a bug of the program' },
    { xid: 999, fatal: false, why: 'nobody knows' },
  ])('$xid is fatal: $fatal, for $why', ({ xid, fatal }) => {
    expect(xidCatalogue[xid]?.fatal).toBe(fatal);
    expect(FATAL_XIDS.includes(xid)).toBe(fatal);
  });

  it('explains every entry in one line with one sentence of what to do', () => {
    for (const { meaning, action } of Object.values(xidCatalogue)) {
      expect(meaning).toMatch(/^\S[^\n|]{5,100}[^.\s]$/);
      expect(action).toMatch(/^[A-Z][^\n|]+\.$/);
    }
    expect(Object.keys(xidCatalogue).length).toBeGreaterThan(40);
  });

  it('leaves room for others beside the fatal ones', () => {
    expect(FATAL_XIDS.length).toBeLessThan(32);
    expect(FATAL_XIDS).toEqual([...FATAL_XIDS].sort((a, b) => a - b));
  });
});
