import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AFFECTED, AFFECT_NOTHING } from '../ci/affected.mjs';
import { planOf } from '../ci/plan.mjs';
import { ScratchClone, noGit } from './scratch-clone.mjs';

/**
 * @typedef {object} Answer
 * @property {{ name: string, tags: string[], targets: string[], implicitDependencies: string[] }[]} projects
 * @property {{ files: string[], affected: string[] }[]} commits
 * @property {string[]} untouched
 */

describe('what a change affects', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  /** @type {Answer} */
  let answer;

  before(() => {
    clone = new ScratchClone();
    for (const { change, files } of AFFECTED) {
      for (const file of files) appendFileSync(join(clone.folder, file), file.endsWith('.json') ? ' ' : '\n');
      clone.commit(change);
    }
    const script = fileURLToPath(new URL('ask-nx.mjs', import.meta.url));
    answer = JSON.parse(clone.run(process.execPath, [script, String(AFFECTED.length)]));
  });
  after(() => clone.remove());

  AFFECTED.forEach(({ change, files, ...expected }, row) => {
    it(`of ${change} is what the table says`, () => {
      const commit = answer.commits[row] ?? { files: [], affected: [] };
      assert.deepEqual([...commit.files].sort(), [...files].sort());
      const affected = (/** @type {string} */ target) =>
        withTarget(target).filter((name) => commit.affected.includes(name));
      assert.deepEqual(affected('build'), affected('docker'), 'what is bundled has an image');
      assert.deepEqual(
        {
          tests: affected('test'),
          workspace: affected('workspace').length > 0,
          ...planOf({ ...commit, images: withTarget('docker') }),
        },
        { ...expected, tests: [...expected.tests].sort(), images: [...expected.images].sort() },
      );
    });
  });

  it('is never nothing, but for files that are checked whatever has changed', () => {
    const unseen = answer.untouched.filter((file) => !AFFECT_NOTHING.some((rule) => rule.test(file)));
    assert.deepEqual(unseen, [], 'tools/checks/project.json can name them as inputs of its target');
  });

  it('includes the tests of all apps together and of the stack, for every app', () => {
    const apps = answer.projects.filter(({ tags }) => tags.includes('type:app')).map(({ name }) => name);
    for (const name of ['checks', 'e2e']) {
      const listed = answer.projects.find((project) => project.name === name)?.implicitDependencies ?? [];
      assert.deepEqual(
        apps.filter((app) => !listed.includes(app)),
        [],
        `implicitDependencies of ${name}`,
      );
    }
  });

  it('is what the plan of CI prints', () => {
    const row = AFFECTED.findIndex(({ change }) => change === 'one app');
    const { images, stack, scripts } = AFFECTED[row] ?? AFFECTED[0] ?? {};
    const head = `HEAD~${AFFECTED.length - 1 - row}`;
    const { stdout, stderr, status } = spawnSync(process.execPath, ['tools/ci/plan.mjs'], {
      cwd: clone.folder,
      encoding: 'utf8',
      env: { ...process.env, NX_BASE: `${head}~1`, NX_HEAD: head },
    });
    assert.equal(status, 0, stderr);
    assert.deepEqual(stdout.trim().split('\n'), [
      `base=${head}~1`,
      `images=${JSON.stringify(images)}`,
      `stack=${stack}`,
      `scripts=${scripts}`,
    ]);
  });

  it('asks for the commit to compare with', () => {
    const { status, stderr } = spawnSync(process.execPath, ['tools/ci/plan.mjs'], {
      cwd: clone.folder,
      encoding: 'utf8',
      env: { ...process.env, NX_BASE: '' },
    });
    assert.equal(status, 2);
    assert.match(stderr, /^Usage: NX_BASE=COMMIT/);
  });

  /** Names of projects. @param {string} target */
  function withTarget(target) {
    return answer.projects
      .filter(({ targets }) => targets.includes(target))
      .map(({ name }) => name)
      .sort();
  }
});
