import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { releasesOf } from '../ci/releases.mjs';
import { ScratchClone, noGit } from './scratch-clone.mjs';

const VERSIONS = ['v0.9.0', 'v1.2.3', 'v1.10.0', 'v1.2.4-rc.1', 'nightly', 'v2.0.0-rc.1'];
const MAIN = {
  ...{ event: 'push', ref: 'refs/heads/main', commit: '1234abcd', day: '20261123' },
  ...{ versions: VERSIONS, passed: true },
};

describe('what is published', () => {
  for (const { name, occasion, releases } of [
    {
      name: 'main',
      occasion: {},
      releases: [{ at: '1234abcd', release: '', tags: ['edge', 'sha-1234abc'] }],
    },
    {
      name: 'the newest version, by number and not by letter',
      occasion: { ref: 'refs/tags/v1.10.0' },
      releases: [{ at: 'refs/tags/v1.10.0', release: '1.10.0', tags: ['1.10.0', '1.10', 'latest'] }],
    },
    {
      name: 'the newest of an older line',
      occasion: { ref: 'refs/tags/v1.2.3' },
      releases: [{ at: 'refs/tags/v1.2.3', release: '1.2.3', tags: ['1.2.3', '1.2'] }],
    },
    {
      name: 'an old version, built once more',
      occasion: { ref: 'refs/tags/v1.2.3', versions: [...VERSIONS, 'v1.2.10'] },
      releases: [{ at: 'refs/tags/v1.2.3', release: '1.2.3', tags: ['1.2.3'] }],
    },
    {
      name: 'a candidate, which is nobody’s default',
      occasion: { ref: 'refs/tags/v2.0.0-rc.1' },
      releases: [{ at: 'refs/tags/v2.0.0-rc.1', release: '2.0.0-rc.1', tags: ['2.0.0-rc.1'] }],
    },
    {
      name: 'every week the newest version and main',
      occasion: { event: 'schedule' },
      releases: [
        { at: 'refs/tags/v1.10.0', release: '1.10.0', tags: ['1.10.0-20261123', '1.10', 'latest'] },
        { at: '1234abcd', release: '', tags: ['edge', 'edge-20261123'] },
      ],
    },
    {
      name: 'every week main, before the first version',
      occasion: { event: 'workflow_dispatch', versions: [''] },
      releases: [{ at: '1234abcd', release: '', tags: ['edge', 'edge-20261123'] }],
    },
    {
      name: 'every week the newest version, also while main is broken',
      occasion: { event: 'schedule', passed: false },
      releases: [{ at: 'refs/tags/v1.10.0', release: '1.10.0', tags: ['1.10.0-20261123', '1.10', 'latest'] }],
    },
  ]) {
    it(`is ${name}`, () => assert.deepEqual(releasesOf({ ...MAIN, ...occasion }), releases));
  }

  for (const { ref, message } of [
    { ref: 'refs/heads/feature', message: /^refs\/heads\/feature is not published: only main and tags/ },
    { ref: 'refs/pull/7/merge', message: /^refs\/pull\/7\/merge is not published/ },
    { ref: 'refs/tags/v1.2', message: /is no version: a release is tagged as v1\.2\.3$/ },
  ]) {
    it(`is never ${ref}`, () => assert.throws(() => releasesOf({ ...MAIN, ref }), { message }));
  }

  it('is nothing that CI has not passed', () => {
    for (const occasion of [
      { ref: 'refs/heads/main' },
      { ref: 'refs/tags/v1.10.0' },
      { ref: 'refs/tags/v1.10.0', event: 'workflow_dispatch' }, // by hand, too
    ])
      assert.throws(() => releasesOf({ ...MAIN, ...occasion, passed: false }), {
        message: 'ci.yaml has not passed for 1234abcd: let it pass there, then run this again',
      });
  });
});

describe('the plan of build-images', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  before(() => {
    clone = new ScratchClone();
    const file = join(clone.folder, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, version: '3.1.4' }));
    clone.commit('build: make it 3.1.4');
    clone.run('git', ['tag', 'v3.1.4']);
    clone.run('git', ['tag', 'v3.1.5']);
    clone.run('git', ['tag', 'v3.1.4-rc.1']);
  });
  after(() => clone.remove());

  it('names commits, bundles, images and a registry without capitals', () => {
    const { stdout, stderr } = plan({ GITHUB_REF: 'refs/tags/v3.1.4', GITHUB_REPOSITORY: 'Some/Repo' });
    assert.equal(stderr, '');
    const printed = Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s)));
    const commit = clone.run('git', ['rev-parse', 'HEAD']).trim();
    assert.equal(printed['registry'], 'ghcr.io/some/repo');
    assert.deepEqual(JSON.parse(printed['bundles']), [
      { commit, apps: 'gpu-exporter,llm-exporter,mock-exporter,monitor' },
    ]);
    const { epoch, createdAt, description, ...image } = JSON.parse(printed['images'])[0];
    assert.deepEqual(image, {
      ...{ app: 'gpu-exporter', commit, release: '3.1.4', version: '3.1.4', tags: 'type=raw,value=3.1.4' },
    });
    assert.match(description, /^The GPUs of a host for Prometheus/);
    assert.equal(Date.parse(createdAt), epoch * 1000);
  });

  it('takes the apps that CI names', () => {
    const { stdout } = plan({ GITHUB_REF: 'refs/heads/main', APPS: '["monitor"]' });
    assert.match(stdout, /^bundles=\[\{"commit":"[0-9a-f]{40}","apps":"monitor"\}\]$/m);
  });

  it('bundles a commit once, which is both the newest version and main', () => {
    clone.run('git', ['tag', '--delete', 'v3.1.5']);
    const { stdout } = plan({ GITHUB_REF: 'refs/heads/main', GITHUB_EVENT_NAME: 'schedule' });
    clone.run('git', ['tag', 'v3.1.5']);
    const printed = Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s)));
    assert.equal(JSON.parse(printed['bundles']).length, 1);
    assert.equal(JSON.parse(printed['images']).length, 8);
  });

  it('refuses a tag that says another version than the apps', () => {
    const { status, stderr } = plan({ GITHUB_REF: 'refs/tags/v3.1.5' });
    assert.equal(status, 1);
    assert.match(stderr, /^refs\/tags\/v3\.1\.5 is on a commit whose package\.json says 3\.1\.4: /);
  });

  it('refuses a candidate of what says to be final', () => {
    const { stderr } = plan({ GITHUB_REF: 'refs/tags/v3.1.4-rc.1' });
    assert.match(stderr, /^refs\/tags\/v3\.1\.4-rc\.1 is on a commit whose package\.json says 3\.1\.4: /);
  });

  /** @param {Record<string, string>} environment */
  function plan(environment) {
    return spawnSync(process.execPath, ['tools/ci/releases.mjs'], {
      cwd: clone.folder,
      encoding: 'utf8',
      env: { ...process.env, GITHUB_EVENT_NAME: 'push', APPS: '', PASSED: 'true', ...environment },
    });
  }
});
