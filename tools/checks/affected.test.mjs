import assert from 'node:assert/strict';
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AFFECTED } from '../ci/affected.mjs';
import { ScratchClone, noGit } from './scratch-clone.mjs';

const NX = 'node_modules/.bin/nx';

describe('what a change affects', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  /** @type {Map<string, object>} */
  let targets;

  before(() => {
    clone = new ScratchClone();
    targets = readTargets();
  });
  after(() => clone.remove());

  for (const { change, files, ...expected } of AFFECTED) {
    it(`of ${change} is what the table says`, () => {
      for (const file of files) appendFileSync(join(clone.folder, file), file.endsWith('.json') ? ' ' : '\n');
      clone.commit(change);
      assert.deepEqual(affected(), { ...expected, tests: [...expected.tests].sort() });
    });
  }

  /** What Nx would run after the last commit. */
  function affected() {
    const base = ['--base=HEAD~1', '--head=HEAD'];
    /** @type {string[]} */
    const names = JSON.parse(clone.run(NX, ['show', 'projects', '--affected', ...base, '--json']));
    const withTarget = (/** @type {string} */ target) =>
      names.filter((name) => Object.hasOwn(targets.get(name) ?? {}, target)).sort();
    assert.deepEqual(withTarget('build'), withTarget('docker'), 'what is bundled has an image');
    return {
      tests: withTarget('test'),
      images: withTarget('docker'),
      workspace: withTarget('workspace').length > 0,
      e2e: withTarget('e2e').length > 0,
    };
  }

  /** The targets of each project. @returns {Map<string, object>} */
  function readTargets() {
    const file = join(clone.folder, '.nx/graph.json');
    clone.run(NX, ['graph', `--file=${file}`]);
    /** @type {Record<string, { data: { targets: object } }>} */
    const nodes = JSON.parse(readFileSync(file, 'utf8')).graph.nodes;
    return new Map(Object.entries(nodes).map(([name, { data }]) => [name, data.targets]));
  }
});
