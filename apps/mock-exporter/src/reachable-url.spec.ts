import { reachableUrl } from './reachable-url.ts';

describe('reachableUrl', () => {
  it.each([
    ['http', '127.0.0.1', 'http://127.0.0.1:9503'],
    ['https', 'mock.lan', 'https://mock.lan:9503'],
    ['http', '0.0.0.0', 'http://127.0.0.1:9503'],
    ['http', '::', 'http://[::1]:9503'],
    ['http', 'fd00::7', 'http://[fd00::7]:9503'],
  ] as const)('%s at %s is %s', (scheme, host, url) => {
    expect(reachableUrl(scheme, host, 9503)).toBe(url);
  });
});
