import { isIP, isIPv6 } from 'node:net';
import type { z } from 'zod';
import { nearestName } from './nearest-name.ts';
import { formatValue, kindOf, settingSchema, textOf } from './setting-schema.ts';

/** A TCP port; 0 lets the system choose a free one. */
export const port = integerBetween(0, 65_535, 'a port number');

/** An address or name to listen on: IPv4, IPv6 (brackets are dropped) or a host name; no port. */
export const host = settingSchema<string>({
  expected: 'an IP address or a host name without a port',
  example: '127.0.0.1',
  parse: (input, refuse) => {
    const text = textOf(input) ?? '';
    const address = /^\[(.*)\]$/.exec(text)?.[1];
    if (address !== undefined) return isIPv6(address) ? address : refuse();
    return isIP(text) !== 0 || isHostName(text) ? text : refuse();
  },
});

/** `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case. */
export const boolean = settingSchema<boolean>({
  expected: 'true or false',
  example: 'true',
  isSwitch: true,
  parse: (input, refuse) => {
    const text = typeof input === 'boolean' ? String(input) : (textOf(input) ?? '').toLowerCase();
    if (['true', 'yes', 'on', '1'].includes(text)) return true;
    return ['false', 'no', 'off', '0'].includes(text) ? false : refuse();
  },
});

/** A whole number between two bounds, both included; a bound may be infinite. `what` names it in messages. */
export function integerBetween(minimum: number, maximum: number, what = 'a whole number') {
  return settingSchema<number>({
    expected: `${what}${rangeText(minimum, maximum)}`,
    example: exampleNumber(minimum, maximum),
    parse: (input, refuse) => {
      const text = textOf(input) ?? '';
      const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
      return Number.isSafeInteger(value) && value >= minimum && value <= maximum ? value : refuse();
    },
  });
}

/** A number, fractions allowed, between two bounds, both included; a bound may be infinite. */
export function numberBetween(minimum: number, maximum: number) {
  return settingSchema<number>({
    expected: `a number${rangeText(minimum, maximum)}`,
    example: exampleNumber(minimum, maximum),
    parse: (input, refuse) => {
      const text = textOf(input) ?? '';
      const value = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
      return Number.isFinite(value) && value >= minimum && value <= maximum ? value : refuse();
    },
  });
}

/**
 * An http or https address, without a slash at its end, so that a path can be put behind it.
 * Credentials in it are refused: an address ends up in labels, logs and pages.
 */
export const httpUrl = settingSchema<string>({
  expected: 'an address that starts with http:// or https://',
  example: 'http://127.0.0.1:8000',
  parse: (input, refuse) => {
    const text = textOf(input) ?? '';
    if (!/^https?:\/\/[^/\s]\S*$/i.test(text) || !URL.canParse(text)) return refuse();
    const url = new URL(text);
    if (url.username !== '' || url.password !== '') return refuse('credentials do not belong in an address');
    if (url.hash !== '') return refuse('it has a # part, which no server ever sees');
    return url.search === '' ? url.href.replace(/\/+$/, '') : url.href;
  },
});

/** One of a closed set of words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(...words: Words) {
  return settingSchema<Words[number]>({
    expected: `one of ${words.join(', ')}`,
    example: words[0],
    parse: (input, refuse) => {
      const text = textOf(input) ?? '';
      const nearest = nearestName(text, words);
      const hint = nearest === undefined ? undefined : `did you mean ${nearest}?`;
      return words.find((word) => word === text) ?? refuse(hint);
    },
  });
}

/** How much is logged, in pino's words. */
export const logLevel = oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent');

/** Any text but the empty one, without the spaces around it. */
export const plainText = settingSchema<string>({
  expected: 'some text',
  example: 'text',
  parse: (input, refuse) => textOf(input) || refuse(),
});

/** Path of a file; whether it is there shows when it is read. */
export const filePath = settingSchema<string>({
  expected: 'the path of a file',
  example: '/etc/ssl/private/monitor.pem',
  parse: parsePath,
});

/** Path of a folder that is there: one that was given and is not is refused where the loader can look. */
export const folderPath = settingSchema<string>({
  expected: 'the path of a folder',
  example: '/srv',
  isFolder: true,
  parse: parsePath,
});

/** A password, key or token: any text but the empty one. Give the setting `secret: true` as well. */
export const secretText = settingSchema<string>({
  expected: 'a secret that is not empty',
  example: '',
  parse: (input, refuse) => (typeof input === 'string' && input.trim() !== '' ? input : refuse()),
});

/** A token or API key as an HTTP header can carry it: found at start rather than as a failure of every request. */
export const headerKey = settingSchema<string>({
  expected:
    'a key of 1 to 4096 visible ASCII characters without spaces, on one line, as an HTTP header can carry it',
  example: '',
  parse: (input, refuse) =>
    typeof input === 'string' && /^[\x21-\x7e]{1,4096}$/.test(input) ? input : refuse(),
});

/** Several values of one kind: separated by commas, or a YAML list. */
export function list<Item>(item: z.ZodType<Item>) {
  const kind = kindOf(item);
  return settingSchema<readonly Item[]>({
    expected: `a list separated by commas${kind === undefined ? '' : `, each of it ${kind.expected}`}`,
    example: kind?.example ?? 'one,two',
    parse: (input, refuse) => {
      const parts = Array.isArray(input) ? (input as unknown[]) : splitList(textOf(input));
      if (parts === undefined) return refuse();
      const items: Item[] = [];
      const faults: string[] = [];
      for (const [index, part] of parts.entries()) {
        const parsed = item.safeParse(part);
        if (parsed.success) items.push(parsed.data);
        else
          faults.push(`item ${index + 1}: ${parsed.error.issues.map((issue) => issue.message).join(', ')}`);
      }
      return faults.length === 0 ? items : refuse(faults.join('; '));
    },
    format: (items) => items.map((value) => formatValue(item, value)).join(','),
  });
}

/** One entry of a `nameValueList`. */
export interface NamedValue<Value> {
  readonly name: string;
  readonly value: Value;
}

/** Named values: `vllm=http://host:8000,other=http://…`, or a YAML map, or a YAML list of `name=value`. Names are unique. */
export function nameValueList<Value>(value: z.ZodType<Value>) {
  const kind = kindOf(value);
  return settingSchema<readonly NamedValue<Value>[]>({
    expected: `name=value pairs separated by commas${kind === undefined ? '' : `, each value ${kind.expected}`}`,
    example: `vllm=${kind?.example ?? 'value'}`,
    parse: (input, refuse) => {
      const pairs = pairsOf(input);
      if (pairs === undefined) return refuse();
      const values = new Map<string, Value>();
      const faults: string[] = [];
      for (const [index, pair] of pairs.entries()) {
        const fault = (reason: string) => faults.push(`pair ${index + 1}: ${reason}`);
        if (pair === undefined) fault('it is not of the form name=value');
        else if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(pair.name))
          fault('a name has letters, digits, ".", "_" and "-" only');
        else if (values.has(pair.name)) fault('its name was given before');
        else {
          const parsed = value.safeParse(pair.value);
          if (parsed.success) values.set(pair.name, parsed.data);
          else fault(parsed.error.issues.map((issue) => issue.message).join(', '));
        }
      }
      if (faults.length > 0) return refuse(faults.join('; '));
      return Array.from(values, ([name, named]) => ({ name, value: named }));
    },
    format: (pairs) => pairs.map((pair) => `${pair.name}=${formatValue(value, pair.value)}`).join(','),
  });
}

function pairsOf(input: unknown): readonly (NamedValue<unknown> | undefined)[] | undefined {
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) {
    return Object.entries(input).map(([name, value]) => ({ name: name.trim(), value: value as unknown }));
  }
  const items = Array.isArray(input) ? (input as unknown[]) : splitList(textOf(input));
  return items?.map((item) => {
    const [, name, value] = /^([^=]*)=(.*)$/s.exec(typeof item === 'string' ? item : '') ?? [];
    return name === undefined || value === undefined ? undefined : { name: name.trim(), value: value.trim() };
  });
}

function splitList(commaSeparated: string | undefined): string[] | undefined {
  if (commaSeparated === '') return [];
  return commaSeparated?.split(',').map((part) => part.trim());
}

function parsePath(input: unknown, refuse: (detail?: string) => never): string {
  const path = typeof input === 'string' ? input.trim() : '';
  if (path === '' || path.includes('\0')) return refuse();
  return path.startsWith('~') ? refuse('only a shell knows ~, so write the whole path') : path;
}

function isHostName(name: string): boolean {
  const labels = name.replace(/\.$/, '').split('.');
  const wellFormed = labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));
  return name.length <= 253 && wellFormed && !/^\d+$/.test(labels.at(-1) ?? ''); // 256.0.0.1 is no host name
}

function rangeText(minimum: number, maximum: number): string {
  if (minimum > -Infinity && maximum < Infinity) return ` from ${minimum} to ${maximum}`;
  if (minimum > -Infinity) return ` of at least ${minimum}`;
  return maximum < Infinity ? ` of at most ${maximum}` : '';
}

function exampleNumber(minimum: number, maximum: number): string {
  const plain = [9500, 10, 1, 0].find((candidate) => candidate >= minimum && candidate <= maximum);
  return String(plain ?? (minimum > -Infinity ? minimum : maximum));
}
