import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const TRAPS = 35;
const rows = readFileSync(join(workspaceRoot, 'libs/gpus/README.md'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const number = /^\| (\d+) +\|/.exec(line)?.[1];
    return number === undefined ? [] : [{ number: Number(number), line }];
  });

describe('the traps of libs/gpus/README.md', () => {
  it('are all there, in order', () => {
    assert.deepEqual(
      rows.map(({ number }) => number),
      Array.from({ length: TRAPS }, (_, index) => index + 1),
    );
  });

  for (const { number, line } of rows) {
    it(`name tests that are there: ${number}`, () => {
      assert.notDeepEqual(testsIn(line), []);
      assert.deepEqual(missingTests(line), []);
    });
  }

  for (const { what, line, missing } of [
    {
      what: 'a test that is there',
      line: '`watch/known-gpus.spec.ts: gives a GPU as it was last read`',
      missing: [],
    },
    {
      what: 'part of a name',
      line: '`watch/known-gpus.spec.ts: gives a GPU`',
      missing: ['watch/known-gpus.spec.ts: gives a GPU'],
    },
    { what: 'a file that is not there', line: '`none.spec.ts: $number`', missing: ['none.spec.ts: $number'] },
  ]) {
    it(`are checked: ${what}`, () => assert.deepEqual(missingTests(line), missing));
  }
});

/** Tests that a row names and that are not there: `file: name`, by any text of the spec that is quoted so. @param {string} line */
function missingTests(line) {
  return testsIn(line).flatMap(({ spec, name }) => {
    // Below the library, or for a path that begins with that of an app, below the repository.
    const file = join(workspaceRoot, spec.startsWith('apps/') ? '' : 'libs/gpus/src', spec);
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    const isThere = ["'", '"', '`'].some((quote) => text.includes(`${quote}${name}${quote}`));
    return isThere ? [] : [`${spec}: ${name}`];
  });
}

/** @param {string} line */
function testsIn(line) {
  return [...line.matchAll(/`([\w/.-]+\.spec\.ts): ([^`]+)`/g)].map(([, spec = '', name = '']) => ({
    spec,
    name,
  }));
}
