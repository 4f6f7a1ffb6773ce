import { settingSchema, textOf } from './setting-schema.ts';

const UNITS = [
  { unit: 'd', milliseconds: 86_400_000 },
  { unit: 'h', milliseconds: 3_600_000 },
  { unit: 'm', milliseconds: 60_000 },
  { unit: 's', milliseconds: 1_000 },
  { unit: 'ms', milliseconds: 1 },
] as const;

const DURATION = /^(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?(?:([\d.]+)ms)?$/;

/** A length of time such as `15s`, `500ms`, `1h30m` or `0`; the value is a number of seconds. */
export const duration = durationBetween(0, Infinity);

/** A `duration` within two bounds in seconds, both included. */
export function durationBetween(minimumSeconds: number, maximumSeconds: number) {
  const lowest = minimumSeconds > 0 ? ` of at least ${formatDuration(minimumSeconds)}` : '';
  const highest =
    maximumSeconds < Infinity ? `${lowest && ' and'} of at most ${formatDuration(maximumSeconds)}` : '';
  return settingSchema<number>({
    expected: `a duration with its unit (ms, s, m, h, d)${lowest}${highest}`,
    example: exampleWithin(minimumSeconds, maximumSeconds),
    parse: (input, refuse) => {
      const text = textOf(input);
      if (text === undefined || text === '') return refuse();
      const seconds = parseDuration(text);
      if (seconds === undefined) return refuse(/^[\d.]+$/.test(text) ? 'the unit is missing' : undefined);
      return seconds >= minimumSeconds && seconds <= maximumSeconds ? seconds : refuse();
    },
    format: formatDuration,
  });
}

/** Seconds of `1h30m`, `500ms`, `0`; undefined when the text is no duration (a bare number but 0 is none). */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = text === '' ? null : DURATION.exec(text);
  if (match === null) return undefined;
  let milliseconds = 0;
  for (const [index, unit] of UNITS.entries()) {
    const amount = match[index + 1];
    if (amount === undefined) continue;
    if (!/^\d+(\.\d+)?$/.test(amount)) return undefined;
    milliseconds += Number(amount) * unit.milliseconds;
  }
  return Number.isFinite(milliseconds) ? milliseconds / 1000 : undefined;
}

/** Seconds in the largest units that fit: 5400 is `1h30m`, 0.25 is `250ms`. */
export function formatDuration(seconds: number): string {
  let left = Number((seconds * 1000).toFixed(6)); // below a nanosecond is rounding of the division by 1000
  let text = '';
  for (const { unit, milliseconds } of UNITS) {
    const amount = unit === 'ms' ? left : Math.floor(left / milliseconds);
    left -= amount * milliseconds;
    if (amount > 0) text += `${plainDecimal(amount)}${unit}`;
  }
  return text === '' ? '0s' : text;
}

function plainDecimal(value: number): string {
  return Number.isInteger(value) ? BigInt(value).toString() : value.toFixed(6).replace(/\.?0+$/, '');
}

function exampleWithin(minimumSeconds: number, maximumSeconds: number): string {
  const seconds = [15, 0.5, 3600].find(
    (candidate) => candidate >= minimumSeconds && candidate <= maximumSeconds,
  );
  return formatDuration(seconds ?? minimumSeconds);
}
