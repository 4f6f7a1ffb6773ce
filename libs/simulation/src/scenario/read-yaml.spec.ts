import fc from 'fast-check';
import { formatPath, formatScenarioProblem, readYaml } from './read-yaml.ts';

const problemsOf = (text: string) => {
  const read = readYaml(text);
  return read.ok ? [] : read.problems.map((problem) => formatScenarioProblem(problem, 'x.yaml'));
};

describe('readYaml', () => {
  it('reads scalars as the text that stands there', () => {
    const read = readYaml('version: 0.10\nport: 8000\nflag: yes\nlist: [1, 2.50]\nempty:\n');
    expect(read.ok && read.yaml.value).toEqual({
      version: '0.10',
      port: '8000',
      flag: 'yes',
      list: ['1', '2.50'],
      empty: '',
    });
  });

  it.each([
    { path: [], at: { line: 2, column: 1 } },
    { path: ['host'], at: { line: 2, column: 1 } },
    { path: ['host', 'gpus', 1], at: { line: 4, column: 5 } },
    { path: ['host', 'gpus', 1, 'board'], at: { line: 4, column: 7 } },
    { path: ['host', 'gpus', 7], at: { line: 3, column: 3 } },
    { path: ['host', 'missing'], at: { line: 2, column: 1 } },
    { path: ['engines', 0, 'port'], at: { line: 6, column: 5 } },
    { path: ['same', 0, 'port'], at: { line: 6, column: 5 } },
  ])('places $path', ({ path, at }) => {
    const text = [
      '# a comment',
      'host:',
      '  gpus: [{ board: a },',
      '    { board: b }]',
      'engines: &all',
      '  - port: 1',
      'same: *all',
    ];
    const read = readYaml(text.join('\n'));
    expect(read.ok && read.yaml.placeOf(path)).toEqual(at);
  });

  it.each([
    {
      what: 'a key twice',
      text: 'a: 1\nb: 2\na: 3\n',
      message: 'x.yaml:3:1: this is not valid YAML: the key stands here twice; keep one',
    },
    { what: 'an open bracket', text: 'a: [1, 2\n', message: /^x\.yaml:\d+:\d+: this is not valid YAML: / },
    { what: 'a tab', text: 'a:\n\tb: 1\n', message: /^x\.yaml:2:\d+: this is not valid YAML: / },
    { what: 'two documents', text: 'a: 1\n---\nb: 1\n', message: /more than one document/ },
    {
      what: 'a key that is a list',
      text: 'a: 1\n[b]: 2\n',
      message:
        'x.yaml:2:1: a key must be a plain word, and here it is a list, a map or an alias; is a quote missing?',
    },
    {
      what: 'a template that was not filled in',
      text: 'a: {{ value }}\n',
      message: /^x\.yaml:1:5: a key must be a plain word/,
    },
    { what: 'an alias of nothing', text: 'a: *gone\n', message: /aliases/ },
    {
      what: 'a long line',
      text: `a: 1\nb: ${'x'.repeat(3000)}\n`,
      message: /^x\.yaml:2:1: this line is longer/,
    },
    { what: 'brackets without end', text: '[\n'.repeat(100_000), message: /brackets are open/ },
    { what: 'braces without end', text: `a: ${'{a: '.repeat(300)}`, message: /brackets are open/ },
    { what: 'much text', text: 'a: 1\n'.repeat(300_000), message: /longer than 1000000 characters/ },
  ])('tells of $what', ({ text, message }) => {
    expect(problemsOf(text)).toEqual([
      typeof message === 'string' ? message : expect.stringMatching(message),
    ]);
  });

  it('tells of aliases that would explode', () => {
    const levels = Array.from(
      { length: 9 },
      (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level}, `.repeat(9)}]`,
    );
    expect(problemsOf(`l0: &l0 [x]\n${levels.join('\n')}\n`)).toEqual([expect.stringMatching(/aliases/)]);
  });

  it.each([
    ['lists in one line', '- '.repeat(900)],
    ['keys in one line', '? '.repeat(900)],
    [
      'lines that go further in',
      Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'),
    ],
    ['brackets', `${'['.repeat(100)}${']'.repeat(100)}`],
  ])('survives deep nesting: %s', (_what, text) => {
    const read = readYaml(text);
    expect(read.ok ? [] : read.problems.map(({ line }) => line >= 1)).not.toContain(false);
  });

  it('never throws', () => {
    const bits = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '- ',
      '[',
      '}',
      '&x',
      '*x',
      '"',
      "'",
      '|',
      '>',
      '#',
      '\t',
      '!!map',
      '? ',
      '---',
      '%',
    );
    fc.assert(
      fc.property(fc.array(bits, { maxLength: 80 }), (parts) => {
        const read = readYaml(parts.join(''));
        if (read.ok) expect(read.yaml.placeOf(['a', 0, 'b']).line).toBeGreaterThanOrEqual(1);
        else expect(read.problems.length).toBeGreaterThan(0);
      }),
      { seed: 5, numRuns: 1500 },
    );
  });

  it.each([
    { path: [], text: '' },
    { path: ['host'], text: 'host' },
    { path: ['engines', 3, 'settings', 'loras', 0], text: 'engines[3].settings.loras[0]' },
  ])('writes a path as $text', ({ path, text }) => {
    expect(formatPath(path)).toBe(text);
  });
});
