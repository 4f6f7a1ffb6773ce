import { settingSchema, textOf } from './setting-schema.ts';

const BYTES_OF_UNIT: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ...['k', 'm', 'g', 't'].flatMap((letter, index): [string, number][] => [
    [`${letter}b`, 1000 ** (index + 1)],
    [`${letter}ib`, 1024 ** (index + 1)],
  ]),
]);

const WRITTEN_UNITS = ['TiB', 'TB', 'GiB', 'GB', 'MiB', 'MB', 'KiB', 'kB'];

/** A number of bytes such as `16MiB`, `1.5GB` or `65536`; the value is a whole number of bytes. */
export const byteSize = settingSchema<number>({
  expected: 'a size in bytes, alone or with a unit (kB, MB, GB, TB, KiB, MiB, GiB, TiB)',
  example: '16MiB',
  parse: (input, refuse) => {
    const match = /^(\d+(?:\.\d+)?)\s?([a-z]*)$/i.exec(textOf(input) ?? '');
    if (match === null) return refuse();
    const [, amount = '', unit = ''] = match;
    const bytesOfUnit = BYTES_OF_UNIT.get(unit.toLowerCase());
    if (bytesOfUnit === undefined) return refuse('the unit is not one of these');
    const bytes = Number(amount) * bytesOfUnit;
    return Number.isSafeInteger(bytes) ? bytes : refuse('it is not a whole number of bytes');
  },
  format: formatByteSize,
});

/** Bytes in the largest unit that divides them: 16777216 is `16MiB`, 1500 is `1500B`. */
export function formatByteSize(bytes: number): string {
  for (const unit of WRITTEN_UNITS) {
    const bytesOfUnit = BYTES_OF_UNIT.get(unit.toLowerCase()) ?? 1;
    if (bytes >= bytesOfUnit && bytes % bytesOfUnit === 0) return `${bytes / bytesOfUnit}${unit}`;
  }
  return `${bytes}B`;
}
