import fc from 'fast-check';

import { readGpuMetricsTable } from './gpu-metrics-table.ts';

type Field = readonly [offset: number, bytes: 2 | 4 | 8, value: number];

/** A table as the driver makes it: all ones, then the fields that this chip has. */
function table(size: number, format: number, content: number, fields: readonly Field[] = []): Buffer {
  const buffer = Buffer.alloc(size, 0xff);
  buffer.writeUInt16LE(size, 0);
  buffer.writeUInt8(format, 2);
  buffer.writeUInt8(content, 3);
  for (const [offset, bytes, value] of fields) {
    if (bytes === 8) buffer.writeBigUInt64LE(BigInt(value), offset);
    else buffer.writeUIntLE(value, offset, bytes);
  }
  return buffer;
}

const none = new Set<string>();

describe('gpu_metrics', () => {
  it.each([
    ['v1.3 of a card', table(120, 1, 3, [[16, 2, 42]]), { apu: false, activityPercent: 42 }],
    [
      'v1.3 whose energy has no certain unit',
      table(120, 1, 3, [
        [24, 8, 17_691_682],
        [20, 2, 7],
      ]),
      { apu: false, videoActivityPercent: 7 },
    ],
    [
      'v1.4 of an Instinct: 65536 units are one joule',
      table(288, 1, 4, [
        [10, 2, 550],
        [12, 2, 99],
        [14, 2, 40],
        [24, 8, 65_536 * 1_000],
        [88, 8, 3],
      ]),
      {
        apu: false,
        powerWatts: 550,
        activityPercent: 99,
        memoryActivityPercent: 40,
        energyJoules: 1_000,
        pcieReplays: 3,
      },
    ],
    ['v1.5 of an Instinct', table(360, 1, 5, [[88, 8, 65_536]]), { apu: false, energyJoules: 1 }],
    ['v2.1, in hundredths of percent or not', table(120, 2, 1, [[28, 2, 79]]), { apu: true }],
    ['v3.0, in mW', table(264, 3, 0, [[112, 4, 24_890]]), { apu: true, averagePowerWatts: 24.89 }],
    ['a revision that is not known', table(400, 1, 9, [[12, 2, 50]]), { apu: false }],
    ['a known revision of another size', table(200, 1, 3, [[16, 2, 42]]), { apu: false }],
    [
      'a table padded to a page',
      Buffer.concat([table(120, 1, 3, [[16, 2, 5]]), Buffer.alloc(3976)]),
      {
        apu: false,
        activityPercent: 5,
      },
    ],
    ['a table cut off', table(120, 1, 3, [[16, 2, 42]]).subarray(0, 119), undefined],
    ['nothing', Buffer.alloc(0), undefined],
    ['zeros', Buffer.alloc(120), undefined],
  ])('%s', (_, content, expected) => {
    expect(readGpuMetricsTable(content)).toEqual(expected);
  });

  it.each([
    ['nothing', 0, none],
    ['PPT0', 2 ** 0, new Set(['sw_power_cap'])],
    ['SPPT of an APU', 2 ** 7, new Set(['sw_power_cap'])],
    ['TDC of graphics', 2 ** 16, new Set(['other'])],
    ['temperature of the GPU', 2 ** 32, new Set(['sw_thermal'])],
    ['hot spot', 2 ** 36, new Set(['sw_thermal'])],
    ['liquid', 2 ** 43, new Set(['sw_thermal'])],
    ['VRHOT', 2 ** 44, new Set(['hw_thermal'])],
    ['PROCHOT of graphics', 2 ** 47, new Set(['hw_thermal'])],
    ['PPM', 2 ** 56, new Set(['other'])],
    ['PPT0 and hot spot', 2 ** 36 + 1, new Set(['sw_power_cap', 'sw_thermal'])],
  ])('throttled by %s', (_, bits, expected) => {
    expect(readGpuMetricsTable(table(120, 1, 3, [[112, 8, bits]]))?.throttledBy).toEqual(expected);
    expect(readGpuMetricsTable(table(128, 2, 2, [[120, 8, bits]]))?.throttledBy).toEqual(expected);
  });

  it('never throws, whatever the file holds', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.constantFrom(1, 2, 3),
        fc.nat(9),
        (bytes, format, content) => {
          const buffer = Buffer.from(bytes);
          if (buffer.length >= 4) {
            buffer.writeUInt16LE(buffer.length, 0);
            buffer.writeUInt8(format, 2);
            buffer.writeUInt8(content, 3);
          }
          const read = readGpuMetricsTable(buffer);
          return read === undefined || typeof read.apu === 'boolean';
        },
      ),
      { seed: 3 },
    );
  });
});
