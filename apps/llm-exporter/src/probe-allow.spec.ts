import { allowPattern, probeUrl } from './probe-allow.ts';

describe('an address that /probe may read', () => {
  it.each([
    ['http://10.0.0.*:8000', 'http://10.0.0.17:8000', true],
    ['http://10.0.0.*:8000', 'http://10.0.0.17:8001', false],
    ['http://10.0.0.*:8000', 'http://10.0.0.evil.example:8000', false],
    ['http://gpu-*.lan:8000', 'http://gpu-12.lan:8000', true],
    ['http://gpu-*.lan:8000', 'http://gpu-12.evil.lan:8000', false],
    ['http://gpu-*.lan:*', 'http://gpu-12.lan:8000', true],
    ['http://gpu-1.lan', 'http://gpu-1.lan', true],
    ['http://gpu-1.lan:80', 'http://gpu-1.lan', true],
    ['https://gpu-1.lan:443', 'https://gpu-1.lan', true],
    ['https://gpu-1.lan:443/llm', 'https://gpu-1.lan/llm', true],
    ['http://gpu-1.lan:80/llm', 'http://gpu-1.lan/llm', true],
    ['https://gpu-*.lan:443', 'https://gpu-1.lan:8443', false],
    ['http://gpu-1.lan:443', 'http://gpu-1.lan', false],
    ['http://gpu-1.lan', 'https://gpu-1.lan', false],
    ['http://gpu-1.lan', 'http://gpu-1xlan', false],
    ['http://gpu-1.lan/', 'http://gpu-1.lan/admin', false],
    ['http://[::1]:*', 'http://[::1]:8080', true],
  ])('%s allows %s: %s', (pattern, url, allowed) => {
    expect(allowPattern.parse(pattern).matches(url)).toBe(allowed);
  });

  it.each(['10.0.0.*:8000', '*', 'http://a b', 'http://user@host', 'ftp://host', 'http://host?x=*'])(
    'refuses the pattern %s',
    (pattern) => {
      expect(allowPattern.safeParse(pattern).success).toBe(false);
    },
  );

  it.each([
    ['gpu-1:8000', 'http://gpu-1:8000'],
    ['HTTP://GPU-1:80/', 'http://gpu-1'],
    ['https://gpu-1/llm/', 'https://gpu-1/llm'],
    ['http://gpu-1/../x', 'http://gpu-1/x'],
    ['http://user:key@gpu-1', undefined],
    ['http://gpu-1/?a', undefined],
    ['file:///etc/passwd', undefined],
    ['http://', undefined],
    ['a b', undefined],
  ])('writes %s as %s', (target, expected) => {
    expect(probeUrl(target)).toBe(expected);
  });
});
