import { targetSetting } from './target-setting.ts';

const problem = (input: unknown): string => {
  const parsed = targetSetting.safeParse(input);
  return parsed.success ? '' : parsed.error.issues.map(({ message }) => message).join('; ');
};

describe('a target in the settings', () => {
  it.each([
    ['an address', 'http://gpu-1:8000', { url: 'http://gpu-1:8000' }],
    ['an address with a path and a slash at its end', 'https://gpu-1/llm/', { url: 'https://gpu-1/llm' }],
    ['an engine in front', 'vllm+http://gpu-1:8000', { url: 'http://gpu-1:8000', engine: 'vllm' }],
    ['a path that only ends alike', 'http://gpu-1:8000/my-metrics', { url: 'http://gpu-1:8000/my-metrics' }],
    ['an IPv6 address', 'http://[::1]:8080', { url: 'http://[::1]:8080' }],
    ['a map', { url: 'http://gpu-1:8000' }, { url: 'http://gpu-1:8000' }],
    [
      'a map with everything',
      { url: 'http://gpu-1:8000', engine: 'llamacpp', tokenFile: '/run/secrets/key' },
      { url: 'http://gpu-1:8000', engine: 'llamacpp', tokenFile: '/run/secrets/key' },
    ],
  ])('takes %s', (_title, input, expected) => {
    expect(targetSetting.parse(input)).toEqual(expected);
  });

  it.each([
    ['a bare host and port', 'gpu-1:8000', 'expected an address such as http://host:8000'],
    ['a key in the address', 'http://user:hunter2@gpu-1:8000', 'as the target token'],
    ['a key behind an engine', 'vllm+http://hunter2@gpu-1:8000', 'tokenFile of this target'],
    ['an unknown engine', 'vlllm+http://gpu-1:8000', 'did you mean vllm?'],
    ['an unknown engine in a map', { url: 'http://a:1', engine: 'mistral-rs-9' }, 'known ones are'],
    ['the address of the metrics', 'http://gpu-1:8000/metrics', 'leave it off'],
    ['a query', 'http://gpu-1:8000/?key=1', 'no query'],
    ['a fragment', 'http://gpu-1:8000/#a', '# part'],
    ['a map without url', { engine: 'vllm' }, 'it has no url'],
    ['a map with a stray key', { url: 'http://a:1', tokenfile: '/x' }, 'did you mean tokenFile?'],
    ['a tokenFile that is no path', { url: 'http://a:1', tokenFile: 5 }, 'its tokenFile is not the path'],
    ['a list', ['http://a:1'], 'expected an address'],
  ])('refuses %s, with the mend', (_title, input, words) => {
    expect(problem(input)).toContain(words);
    expect(problem(input)).not.toContain('hunter2');
  });
});
