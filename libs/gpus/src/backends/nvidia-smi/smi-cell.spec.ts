import {
  bytes,
  bytesPerSecond,
  celsius,
  count,
  hertz,
  lanes,
  percent,
  performanceState,
  readCell,
  seconds,
  watts,
  words,
  type CellReader,
} from './smi-cell.ts';

describe('readCell', () => {
  it.each([
    ['N/A', 'absent'],
    ['[N/A]', 'absent'],
    ['[n/a]', 'absent'],
    ['Not Supported', 'absent'],
    ['[Not Supported]', 'absent'],
    ['Not Available', 'absent'],
    ['Requested functionality has been deprecated', 'absent'],
    ['Not available in WDDM driver model', 'absent'],
    ['[Not Found]', 'absent'],
    ['Unknown', 'absent'],
    ['', 'absent'],
    [' \n\t ', 'absent'],
    [undefined, 'absent'],
    ['Insufficient Permissions', 'no_permission'],
    ['[Insufficient  Permissions]', 'no_permission'],
    ['Unknown Error', 'error'],
    ['[Unknown Error]', 'error'],
    ['ERR!', 'error'],
    ['GPU is lost', 'lost'],
    ['[GPU is lost]', 'lost'],
    ['GPU requires reset', 'reset_required'],
    ['[GPU requires reset]', 'reset_required'],
    ['0 %', 'value'],
    ['0', 'value'],
    ['None', 'value'],
    ['N/A W', 'value'],
    ['Unknown Errors', 'value'],
  ] as const)('takes %j for %s', (text, kind) => {
    expect(readCell(text).kind).toBe(kind);
  });
});

describe('units', () => {
  const readers: Readonly<Record<string, CellReader>> = {
    bytes,
    watts,
    hertz,
    celsius,
    percent,
    seconds,
    bytesPerSecond,
    lanes,
    count,
    performanceState,
  };
  it.each([
    ['bytes', '81559 MiB', 85520809984],
    ['bytes', '1 GiB', 1073741824],
    ['bytes', '512 KiB', 524288],
    ['bytes', '12 MB', undefined],
    ['bytes', '12', undefined],
    ['bytes', 'MiB', undefined],
    ['watts', '68.92 W', 68.92],
    ['watts', '68920 mW', 68.92],
    ['watts', '1 KW', undefined],
    ['watts', '1,5 W', undefined],
    ['hertz', '1980 MHz', 1.98e9],
    ['hertz', '1980', undefined],
    ['celsius', '37 C', 37],
    ['celsius', '-5 C', -5],
    ['celsius', '99 F', undefined],
    ['percent', '99.3 %', 0.993],
    ['percent', '7 %', 0.07],
    ['percent', '7', undefined],
    ['seconds', '7015662857 us', 7015.662857],
    ['seconds', '5 min', undefined],
    ['bytesPerSecond', '502 KB/s', 502000],
    ['bytesPerSecond', '502 KB', undefined],
    ['lanes', '16x', 16],
    ['lanes', '16', undefined],
    ['lanes', 'x16', undefined],
    ['count', '2560 bank(s)', 2560],
    ['count', '5000000000', 5e9],
    ['count', '0x1F', 31],
    ['count', '0x', undefined],
    ['count', '1e3', undefined],
    ['count', '3 rows', undefined],
    ['performanceState', 'P0', 0],
    ['performanceState', 'P15', 15],
    ['performanceState', 'P32', undefined],
    ['performanceState', '8', undefined],
  ])('%s reads %j as %s', (reader, text, value) => {
    expect(readers[reader]?.(text)).toBe(value);
  });

  it('takes words in any case and no others', () => {
    const yesNo = words({ yes: 1, no: 0 });
    expect([yesNo('Yes'), yesNo('NO'), yesNo('maybe'), yesNo('constructor')]).toEqual([
      1,
      0,
      undefined,
      undefined,
    ]);
  });
});
