// Which images are published, from which commits and under which tags, as lines `NAME=VALUE` for build-images.yaml:
//
//   main           edge, sha-1234abc                 the apps that the change affects
//   v1.2.3         1.2.3, and 1.2 and latest         unless a newer one is there; every app
//   weekly         1.2.3-20261123, 1.2, latest       of the newest release, for what lies below it is mended without us,
//                  edge, edge-20261123               and of main, where CI has passed; every app
//
// The workflow asks once more before it sets a tag: a job that is run again must not take back what a newer one has set,
// and a version's own tag (1.2.3) is written once and then stays.
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';

/**
 * @typedef {object} Occasion
 * @property {string} event  push, schedule or workflow_dispatch
 * @property {string} ref  refs/heads/main or refs/tags/v1.2.3
 * @property {string} commit  of the ref
 * @property {string} day  20261123
 * @property {readonly string[]} versions  every tag of the repository
 * @property {boolean} passed  whether CI has passed for the commit
 */

/**
 * @typedef {object} Release
 * @property {string} at  a commit, or the ref of a tag
 * @property {string} release  1.2.3, of which it is a build; empty for main
 * @property {string[]} tags  of its images, the first as their version
 */

/**
 * @param {Occasion} occasion
 * @returns {Release[]}
 * @throws {Error} for what is not published
 */
export function releasesOf({ event, ref, commit, day, versions, passed }) {
  const stable = versions
    .filter((tag) => /^v\d+\.\d+\.\d+$/.test(tag))
    .map((tag) => tag.slice(1))
    .sort(byVersion);
  const newest = stable.at(-1);
  const newestLike = (/** @type {string} */ version) =>
    stable.filter((other) => minorOf(other) === minorOf(version)).at(-1);

  if (ref !== 'refs/heads/main' && !ref.startsWith('refs/tags/'))
    throw new Error(`${ref} is not published: only main and tags of versions are`);
  const renews = ref === 'refs/heads/main' && event !== 'push';
  if (!passed && !renews)
    throw new Error(`ci.yaml has not passed for ${commit}: let it pass there, then run this again`);
  if (ref.startsWith('refs/tags/')) {
    const version = /^refs\/tags\/v(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)$/.exec(ref)?.[1];
    if (version === undefined) throw new Error(`${ref} is no version: a release is tagged as v1.2.3`);
    return [
      {
        at: ref,
        release: version,
        tags: [
          version,
          ...(newestLike(version) === version ? [minorOf(version)] : []),
          ...(newest === version ? ['latest'] : []),
        ],
      },
    ];
  }
  if (!renews) return [{ at: commit, release: '', tags: ['edge', `sha-${commit.slice(0, 7)}`] }];
  return [
    ...(newest === undefined
      ? []
      : [
          {
            at: `refs/tags/v${newest}`,
            release: newest,
            tags: [`${newest}-${day}`, minorOf(newest), 'latest'],
          },
        ]),
    ...(passed ? [{ at: commit, release: '', tags: ['edge', `edge-${day}`] }] : []),
  ];
}

/** @param {string} one @param {string} other */
function byVersion(one, other) {
  return one.localeCompare(other, 'en', { numeric: true });
}

/** @param {string} version */
function minorOf(version) {
  return version.split('.').slice(0, 2).join('.');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    printReleases(process.env);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

/** @param {NodeJS.ProcessEnv} environment of a job; APPS is a list in JSON, or empty for every app */
function printReleases({
  GITHUB_EVENT_NAME = '',
  GITHUB_REF = '',
  GITHUB_REPOSITORY = '',
  APPS = '',
  PASSED,
}) {
  const releases = releasesOf({
    event: GITHUB_EVENT_NAME,
    ref: GITHUB_REF,
    commit: git('rev-parse', 'HEAD'),
    day: new Date().toISOString().slice(0, 10).replaceAll('-', ''),
    versions: git('tag', '--list').split('\n'),
    passed: PASSED === 'true',
  }).map(({ at, release, tags }) => {
    const commit = git('rev-parse', `${at}^{commit}`);
    checkVersion(at, commit);
    return {
      commit,
      release,
      tags,
      apps: APPS === '' ? appsAt(commit) : /** @type {string[]} */ (JSON.parse(APPS)),
    };
  });
  const images = releases.flatMap(({ commit, release, tags, apps }) => {
    const created = git('log', '-1', '--date=format-local:%Y-%m-%dT%H:%M:%SZ', '--format=%cd %ct', commit);
    const [createdAt, epoch] = created.split(' ');
    return apps.map((app) => ({
      ...{ app, commit, createdAt, epoch, release, version: tags[0] },
      description: descriptionOf(app, commit),
      tags: tags.map((tag) => `type=raw,value=${tag}`).join('\n'),
    }));
  });
  // The newest release and main may be one commit, which is bundled once.
  const bundles = new Map(releases.map(({ commit, apps }) => [commit, { commit, apps: apps.join(',') }]));
  console.log(`registry=ghcr.io/${GITHUB_REPOSITORY.toLowerCase()}`); // it takes no capital letters
  console.log(`bundles=${JSON.stringify([...bundles.values()])}`);
  console.log(`images=${JSON.stringify(images)}`);
}

/** What the Dockerfile of an app says that it is. @param {string} app @param {string} commit */
function descriptionOf(app, commit) {
  const text = git('show', `${commit}:apps/${app}/Dockerfile`);
  return /image\.description="([^"]*)"/.exec(text)?.[1] ?? '';
}

/** The apps that have an image in a commit. @param {string} commit */
function appsAt(commit) {
  const files = git('ls-tree', '-r', '--name-only', commit, 'apps/').split('\n');
  return files.flatMap((file) => /^apps\/([^/]+)\/Dockerfile$/.exec(file)?.[1] ?? []);
}

/** @param {string} at @param {string} commit @throws {Error} where the apps would say another version than their tag */
function checkVersion(at, commit) {
  const tagged = /^refs\/tags\/v(.+)$/.exec(at)?.[1];
  const { version } = JSON.parse(git('show', `${commit}:package.json`));
  if (tagged !== undefined && tagged !== version)
    throw new Error(`${at} is on a commit whose package.json says ${version}: one of the two is wrong`);
}

/** @param {string[]} args @returns {string} what it prints */
function git(...args) {
  const { status, stdout, stderr, error } = spawnSync('git', args, {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
  });
  if (status === 0) return stdout.trim();
  throw new Error(`git ${args.join(' ')}: ${error?.message ?? stderr}`);
}
