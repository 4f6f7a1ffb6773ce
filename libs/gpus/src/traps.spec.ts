import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const TRAPS = 35;
const readme = readFileSync(path.resolve(__dirname, '../README.md'), 'utf8');
const rows = readme.split('\n').flatMap((line) => {
  const number = /^\| (\d+) +\|/.exec(line)?.[1];
  return number === undefined ? [] : [{ number: Number(number), line }];
});

/** Below this folder, or for a path that begins with that of an app, below the repository. */
function fileOf(name: string): string {
  return path.resolve(__dirname, name.startsWith('apps/') ? '../../..' : '.', name);
}

/** Tests that a row names and that are not there: `file: name`, by any text of the spec that is quoted so. */
function missingTests(line: string): string[] {
  return testsIn(line).flatMap(({ spec, name }) => {
    const file = fileOf(spec);
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    const isThere = ["'", '"', '`'].some((quote) => text.includes(`${quote}${name}${quote}`));
    return isThere ? [] : [`${spec}: ${name}`];
  });
}

function testsIn(line: string): { readonly spec: string; readonly name: string }[] {
  return [...line.matchAll(/`([\w/.-]+\.spec\.ts): ([^`]+)`/g)].flatMap(([, spec, name]) =>
    spec === undefined || name === undefined ? [] : [{ spec, name }],
  );
}

describe('the traps of the README', () => {
  it('are all there, in order', () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: TRAPS }, (_, index) => index + 1));
  });

  it.each(rows)('$number has tests, and each of them is there', ({ line }) => {
    expect(testsIn(line)).not.toEqual([]);
    expect(missingTests(line)).toEqual([]);
  });

  it.each([
    ['a test that is there', '`traps.spec.ts: are all there, in order`', []],
    ['a test of an app', '`apps/gpu-exporter/src/app.spec.ts: stops its readers with its server`', []],
    ['part of a name', '`traps.spec.ts: are all there`', ['traps.spec.ts: are all there']],
    ['a file that is not there', '`none.spec.ts: $number`', ['none.spec.ts: $number']],
  ])('would not name in vain %s', (_what, line, missing) => {
    expect(missingTests(line)).toEqual(missing);
  });
});
