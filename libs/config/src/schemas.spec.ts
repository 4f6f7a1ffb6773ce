import fc from 'fast-check';
import { z } from 'zod';
import { byteSize, formatByteSize } from './byte-size.ts';
import { duration, durationBetween, formatDuration, parseDuration } from './duration.ts';
import { httpSettings } from './http-settings.ts';
import {
  boolean,
  filePath,
  folderPath,
  host,
  httpUrl,
  integerBetween,
  list,
  logLevel,
  nameValueList,
  numberBetween,
  oneOf,
  plainText,
  port,
  headerKey,
  secretText,
} from './schemas.ts';
import { formatValue, kindOf } from './setting-schema.ts';

const HASH = '$2b$05$abcdefghijklmnopqrstuuK1Zn9mB0iDOcsIEKPxTtP1eYgtYbwYm';
const REFUSED = Symbol('refused');

const { ALLOWED_HOSTS, AUTH_TOKEN, BASIC_AUTH_USERS } = httpSettings({ port: 9500 }).table;

/** Beside each accepted input stands the nearest refused one. */
const CASES: Record<string, [schema: z.ZodType, cases: [input: unknown, value: unknown][]]> = {
  port: [
    port,
    [
      ['9502', 9502],
      ['95o2', REFUSED],
      [9502, 9502],
      [9502.5, REFUSED],
      [' 9502\r', 9502],
      ['9502.0', REFUSED],
      ['0', 0],
      ['-1', REFUSED],
      ['65535', 65_535],
      ['65536', REFUSED],
      ['1e3', REFUSED],
      ['0x10', REFUSED],
      ['', REFUSED],
      [true, REFUSED],
      [undefined, REFUSED],
    ],
  ],
  host: [
    host,
    [
      ['127.0.0.1', '127.0.0.1'],
      ['127.0.0.256', REFUSED],
      ['::1', '::1'],
      [':::1', REFUSED],
      ['[::1]', '::1'],
      ['[127.0.0.1]', REFUSED],
      ['gpu-1.lan', 'gpu-1.lan'],
      ['gpu-1.lan:9500', REFUSED],
      ['-gpu.lan', REFUSED],
      ['gpu..lan', REFUSED],
      ['http://gpu-1.lan', REFUSED],
      ['', REFUSED],
    ],
  ],
  boolean: [
    boolean,
    [
      ['true', true],
      ['tru', REFUSED],
      ['No', false],
      ['n', REFUSED],
      [false, false],
      [1, true],
      [2, REFUSED],
      [null, REFUSED],
    ],
  ],
  integerBetween: [
    integerBetween(1, 10),
    [
      ['1', 1],
      ['0', REFUSED],
      [10, 10],
      [11, REFUSED],
      ['1.5', REFUSED],
      ['+1', REFUSED],
    ],
  ],
  numberBetween: [
    numberBetween(0, 1),
    [
      ['0.25', 0.25],
      ['0,25', REFUSED],
      ['.5', 0.5],
      ['.', REFUSED],
      [1, 1],
      [1.001, REFUSED],
      ['1e-3', 0.001],
      ['1e', REFUSED],
      [NaN, REFUSED],
      ['Infinity', REFUSED],
    ],
  ],
  duration: [
    duration,
    [
      ['15s', 15],
      ['15', REFUSED],
      [15, REFUSED],
      ['15 s', REFUSED],
      ['500ms', 0.5],
      ['500MS', REFUSED],
      ['1h', 3600],
      ['1h30m', 5400],
      ['30m1h', REFUSED],
      ['1.5h', 5400],
      ['1.5.h', REFUSED],
      ['2d', 172_800],
      ['2w', REFUSED],
      ['0', 0],
      [0, 0],
      ['-1s', REFUSED],
      ['s', REFUSED],
      ['', REFUSED],
    ],
  ],
  durationBetween: [
    durationBetween(0.1, 60),
    [
      ['100ms', 0.1],
      ['99ms', REFUSED],
      ['60s', 60],
      ['1m', 60],
      ['61s', REFUSED],
    ],
  ],
  byteSize: [
    byteSize,
    [
      ['16MiB', 16_777_216],
      ['16Mi', REFUSED],
      ['16MB', 16_000_000],
      ['16M', REFUSED],
      ['1.5 KiB', 1536],
      ['1.3 KiB', REFUSED],
      [65_536, 65_536],
      [-1, REFUSED],
      ['512B', 512],
      ['9007199254740993', REFUSED],
      ['MiB', REFUSED],
    ],
  ],
  httpUrl: [
    httpUrl,
    [
      ['http://gpu-1:8000', 'http://gpu-1:8000'],
      ['gpu-1:8000', REFUSED],
      ['https://gpu-1/v1/', 'https://gpu-1/v1'],
      ['ftp://gpu-1/v1/', REFUSED],
      ['HTTP://[::1]:8000/', 'http://[::1]:8000'],
      ['http://[::1:8000/', REFUSED],
      ['http://gpu-1/?a=b', 'http://gpu-1/?a=b'],
      ['http://gpu-1/#a', REFUSED],
      ['http://gpu-1:65536', REFUSED],
      ['http:gpu-1', REFUSED],
      ['http://gpu 1', REFUSED],
      ['http://me:pass@gpu-1', REFUSED],
      ['http://me@gpu-1', REFUSED],
    ],
  ],
  oneOf: [
    oneOf('nvml', 'amdgpu'),
    [
      ['nvml', 'nvml'],
      ['NVML', REFUSED],
      ['nvm', REFUSED],
      ['toString', REFUSED],
    ],
  ],
  logLevel: [
    logLevel,
    [
      ['warn', 'warn'],
      ['warning', REFUSED],
    ],
  ],
  plainText: [
    plainText,
    [
      [' a b ', 'a b'],
      ['  ', REFUSED],
      [12, '12'],
      [{}, REFUSED],
    ],
  ],
  filePath: [
    filePath,
    [
      ['/etc/tls key.pem', '/etc/tls key.pem'],
      ['~/key.pem', REFUSED],
      ['a\0b', REFUSED],
      ['', REFUSED],
    ],
  ],
  folderPath: [
    folderPath,
    [
      ['/host/sys ', '/host/sys'],
      ['~/sys', REFUSED],
      ['', REFUSED],
    ],
  ],
  secretText: [
    secretText,
    [
      ['a b ', 'a b '],
      [' ', REFUSED],
      [1234, REFUSED],
    ],
  ],
  'list of ports': [
    list(port),
    [
      ['1, 2', [1, 2]],
      ['1, ,2', REFUSED],
      ['1,x', REFUSED],
      [
        [1, '2'],
        [1, 2],
      ],
      [[[1]], REFUSED],
      ['', []],
      [',', REFUSED],
      [[], []],
      [{ a: 1 }, REFUSED],
      [7, [7]],
    ],
  ],
  'nameValueList of addresses': [
    nameValueList(httpUrl),
    [
      [
        'vllm=http://host:8000, other=http://host:8001?a=b',
        [
          { name: 'vllm', value: 'http://host:8000' },
          { name: 'other', value: 'http://host:8001/?a=b' },
        ],
      ],
      ['http://host:8000', REFUSED],
      ['vllm=host:8000', REFUSED],
      ['=http://host:8000', REFUSED],
      ['vl lm=http://host:8000', REFUSED],
      ['a=http://h,a=http://h', REFUSED],
      ['a=http://h,b=http://h,', REFUSED],
      [{ vllm: 'http://host:8000' }, [{ name: 'vllm', value: 'http://host:8000' }]],
      [{ vllm: null }, REFUSED],
      [['vllm=http://host:8000'], [{ name: 'vllm', value: 'http://host:8000' }]],
      [[{ vllm: 'http://host:8000' }], REFUSED],
      ['', []],
    ],
  ],
  headerKey: [
    headerKey,
    [
      ['sk-1/+=', 'sk-1/+='],
      ['two words', REFUSED],
      ['two\nlines', REFUSED],
      ['x'.repeat(4097), REFUSED],
      ['', REFUSED],
      [1234, REFUSED],
    ],
  ],
  'allowed hosts': [
    ALLOWED_HOSTS.schema,
    [
      ['gpu-box.lan, [::2],10.0.0.7', ['gpu-box.lan', '::2', '10.0.0.7']],
      ['gpu-box.lan:9500', REFUSED],
      ['http://gpu-box.lan', REFUSED],
    ],
  ],
  'bearer token': [
    AUTH_TOKEN.schema,
    [
      ['a-b.c_d~e+/=', 'a-b.c_d~e+/='],
      ['a b', REFUSED],
      ['geheimniß', REFUSED],
      ['', REFUSED],
    ],
  ],
  'basic auth users': [
    BASIC_AUTH_USERS.schema,
    [
      [`ann:${HASH}`, [{ username: 'ann', passwordHash: HASH }]],
      [`ann:${HASH.slice(1)}`, REFUSED],
      [`ann:${HASH}x`, REFUSED],
      ['ann:plain', REFUSED],
      [`:${HASH}`, REFUSED],
      [
        `ann:${HASH}\r\nbob:${HASH}\n`,
        [
          { username: 'ann', passwordHash: HASH },
          { username: 'bob', passwordHash: HASH },
        ],
      ],
      [`ann:${HASH},ann:${HASH}`, REFUSED],
      [',', REFUSED],
    ],
  ],
};

describe.each(Object.entries(CASES))('%s', (_, [schema, cases]) => {
  it.each(cases)('reads %j as %p', (input, expected) => {
    const parsed = schema.safeParse(input);
    expect(parsed.success ? parsed.data : REFUSED).toEqual(expected);
  });

  it('says what it expects when it refuses', () => {
    for (const [input, expected] of cases) {
      if (expected !== REFUSED || input === undefined) continue;
      const parsed = schema.safeParse(input);
      expect(parsed.error?.issues[0]?.message).toMatch(/^expected (a|an|one|name=value|true|some|the|user)/);
    }
  });

  it('accepts again what it formats', () => {
    for (const [, expected] of cases) {
      if (expected === REFUSED || schema === BASIC_AUTH_USERS.schema) continue;
      expect(schema.parse(formatValue(schema, expected))).toEqual(expected);
    }
  });
});

describe('messages', () => {
  it.each([
    [duration, '15', 'expected a duration with its unit (ms, s, m, h, d): the unit is missing'],
    [
      durationBetween(0.1, 60),
      '2h',
      'expected a duration with its unit (ms, s, m, h, d) of at least 100ms and of at most 1m',
    ],
    [port, 'x', 'expected a port number from 0 to 65535'],
    [logLevel, 'warning', 'expected one of trace, debug, info, warn, error, fatal, silent'],
    [logLevel, 'wran', 'expected one of trace, debug, info, warn, error, fatal, silent: did you mean warn?'],
    [
      list(port),
      '1,x,70000',
      'expected a list separated by commas, each of it a port number from 0 to 65535: item 2: expected a port number from 0 to 65535; item 3: expected a port number from 0 to 65535',
    ],
    [
      nameValueList(httpUrl),
      'a=http://u:hunter2@h',
      'expected name=value pairs separated by commas, each value an address that starts with http:// or https://: pair 1: expected an address that starts with http:// or https://: credentials do not belong in an address',
    ],
  ])('%#', (schema, input, message) => {
    expect((schema as z.ZodType).safeParse(input).error?.issues.map((issue) => issue.message)).toEqual([
      message,
    ]);
  });
});

describe('kindOf', () => {
  it.each([
    ['itself', port, true],
    ['a default', port.default(1), true],
    ['an optional one', port.optional(), true],
    ['a refined one', port.refine((value) => value > 1024), true],
    ['a default of a refined one', port.refine((value) => value > 1024).default(9000), true],
    ['another value made of it', port.transform((value) => `:${value}`), false],
    ['a schema from elsewhere', z.string(), false],
  ])('knows %s', (_, schema, known) => {
    expect(kindOf(schema) === kindOf(port) || kindOf(schema)?.expected === kindOf(port)?.expected).toBe(
      known,
    );
  });
});

describe('formatting', () => {
  it.each([
    [0, '0s'],
    [0.25, '250ms'],
    [0.0005, '0.5ms'],
    [5400, '1h30m'],
    [90_061.001, '1d1h1m1s1ms'],
  ])('writes %d seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  it.each([
    [16_777_216, '16MiB'],
    [5_000_000, '5MB'],
    [1500, '1500B'],
    [0, '0B'],
  ])('writes %d bytes as %s', (bytes, text) => {
    expect(formatByteSize(bytes)).toBe(text);
  });

  it('loses nothing of a duration in whole milliseconds', () => {
    const milliseconds = fc.integer({ min: 0, max: 10 ** 12 });
    const property = fc.property(milliseconds, (value) => {
      expect(parseDuration(formatDuration(value / 1000))).toBe(value / 1000);
    });
    fc.assert(property, { seed: 1 });
  });

  it('loses nothing of a size', () => {
    const property = fc.property(
      fc.maxSafeNat(),
      fc.constantFrom(1, 1000, 1024, 1024 ** 2),
      (amount, unit) => {
        const bytes = Math.floor(amount / unit) * unit;
        expect(byteSize.parse(formatByteSize(bytes))).toBe(bytes);
      },
    );
    fc.assert(property, { seed: 2 });
  });

  it('never throws and never yields a value out of range, whatever is given', () => {
    const property = fc.property(fc.anything(), (input) => {
      for (const [schema] of Object.values(CASES)) schema.safeParse(input);
      const parsed = durationBetween(0.1, 60).safeParse(input);
      expect(parsed.success ? parsed.data >= 0.1 && parsed.data <= 60 : true).toBe(true);
    });
    fc.assert(property, { seed: 3 });
  });
});
