import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { ScratchClone, noGit } from './scratch-clone.mjs';

const GOOD = 'fix(config): say which setting is wrong';
const SOURCE = 'libs/config/src/index.ts';

describe('the git hooks', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  before(() => {
    clone = new ScratchClone();
    clone.run('node_modules/.bin/lefthook', ['install']);
  });
  beforeEach(() => {
    clone.run('git', ['reset', '--quiet', '--hard']);
    clone.run('git', ['clean', '--quiet', '-d', '--force']);
  });
  after(() => clone.remove());

  const FAULTS = [
    {
      what: 'a formatting fault',
      path: SOURCE,
      text: 'export   const added = 1\n',
      says: /npx prettier --write/,
    },
    { what: 'a lint fault', path: SOURCE, text: 'export const added: any = 1;\n', says: /no-explicit-any/ },
    {
      what: 'a formatting fault of a page',
      path: 'README.md',
      text: '*  an item\n',
      says: /npx prettier --write/,
    },
    {
      what: 'a fault of a script',
      path: 'scripts/development/compose.sh',
      text: 'echo $unquoted_and_unset\n',
      says: /SC2086|SC2154/,
      needs: 'shellcheck',
    },
    {
      what: 'a formatting fault of a script',
      path: 'scripts/development/compose.sh',
      text: 'if   true; then   echo; fi\n',
      says: /shfmt/,
      needs: 'shfmt',
    },
  ];
  for (const { what, path, text, says, needs } of FAULTS) {
    it(`stop ${what}`, () => {
      appendFileSync(join(clone.folder, path), text);
      const { status, output } = clone.tryCommit(GOOD);
      assert.notEqual(status, 0, needs === undefined ? output : `is ${needs} there? ${output}`);
      assert.match(output, says);
    });
  }

  it('name the file that is not formatted, and no other', () => {
    appendFileSync(join(clone.folder, SOURCE), 'export const added = 1;\n');
    appendFileSync(join(clone.folder, 'README.md'), '*  an item\n');
    const { status, output } = clone.tryCommit(GOOD);
    assert.notEqual(status, 0, output);
    assert.match(output, /^Mend it: npx prettier --write README\.md$/m);
  });

  for (const message of [
    'say which setting is wrong',
    'fix(config) say which',
    'feature: say which',
    'fix: ',
    'say which setting is wrong\n\nfix: a line below does not count',
  ]) {
    it(`stop the message ${JSON.stringify(message)}`, () => {
      appendFileSync(join(clone.folder, 'docs/stack.md'), '\nMore words.\n');
      const { status, output } = clone.tryCommit(message);
      assert.notEqual(status, 0, output);
      assert.match(output, /The first line must read like/);
    });
  }

  it('let a good commit of five files pass', (context) => {
    for (const name of ['config', 'engines', 'gpus', 'metrics-core', 'simulation'])
      writeFileSync(join(clone.folder, `libs/${name}/src/added.ts`), 'export const added = 1;\n');
    const start = process.hrtime.bigint();
    const { status, output } = clone.tryCommit(GOOD);
    context.diagnostic(`${(Number(process.hrtime.bigint() - start) / 1e9).toFixed(1)} s`);
    assert.equal(status, 0, output);
  });

  it('can be skipped, as they say', () => {
    appendFileSync(join(clone.folder, SOURCE), 'export   const added = 1\n');
    assert.equal(clone.tryCommit('whatever', ['--no-verify']).status, 0);
    clone.run('git', ['reset', '--quiet', '--hard', 'HEAD~1']);
  });
});
