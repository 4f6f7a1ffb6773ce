import { prefersGzip } from './accept-encoding.ts';

it.each([
  ['gzip', true],
  ['GZIP', true],
  ['x-gzip', true],
  ['deflate, gzip;q=0.5', true],
  ['gzip;q=1.000', true],
  ['gzip; q=0.001', true],
  ['*', true],
  ['identity;q=0, *;q=0.1', true],
  ['gzip;q=0.5, identity;q=0.5', true],
  [undefined, false],
  ['', false],
  ['deflate, br', false],
  ['identity', false],
  ['gzip;q=0', false],
  ['gzip;q=0.000, *', false],
  ['*;q=0', false],
  ['gzip;q=0.5, identity', false],
  ['gzip;q=2', false],
  ['gzip;q=1.5', false],
  ['gzip;q=-1', false],
  ['gzip;q=high', false],
  ['gzipped', false],
])('Accept-Encoding %p wants gzip: %p', (header, expected) => {
  expect(prefersGzip(header)).toBe(expected);
});
