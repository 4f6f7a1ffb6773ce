import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const MARKS = /@llm-monitor\/fake-nvml|NVIDIA_FAKE_/;

const apps = readdirSync(join(workspaceRoot, 'apps'));
const projects = ['apps', 'libs'].flatMap((kind) =>
  readdirSync(join(workspaceRoot, kind)).map((name) => `${kind}/${name}`),
);

describe('the fake driver', () => {
  it('is named by tests only in the sources of apps and libraries', () => {
    const sources = projects
      .map((project) => `${project}/src`)
      .filter((folder) => existsSync(join(workspaceRoot, folder)))
      .flatMap(filesOf)
      .filter((file) => !/\.spec\.ts$|\/test-[^/]*$/.test(file));
    assert.ok(sources.length > 50);
    assert.deepEqual(marked(sources), []);
  });

  it('is named by nothing that builds a bundle or an image', () => {
    const recipes = apps.flatMap((app) =>
      readdirSync(join(workspaceRoot, 'apps', app))
        .filter((file) => /^(package|project)\.json$|dockerfile|dockerignore/i.test(file))
        .map((file) => `apps/${app}/${file}`),
    );
    assert.ok(recipes.length >= 2 * apps.length);
    assert.deepEqual(marked(recipes), []);
  });

  // Built here, by each app's own recipe, so that it does not matter what is in dist/ and how old it is.
  for (const app of apps) {
    it(`is in no bundle of ${app}`, () => {
      const { additionalEntryPoints = [] } = recipeOf(app);
      const bundles = bundle(app, [`apps/${app}/src/main.ts`, ...additionalEntryPoints]);
      assert.ok(bundles.length > 0);
      assert.deepEqual(
        bundles.filter(({ text }) => MARKS.test(text)).map(({ path }) => path),
        [],
      );
    });
  }

  it('is found where it is: in its sources, and in a bundle that has it', () => {
    assert.deepEqual(marked(['tools/fake-nvml/library/fake-nvml.c', 'tools/fake-nvml/tsconfig.json']), [
      'tools/fake-nvml/library/fake-nvml.c',
    ]);
    const [script] = bundle('gpu-exporter', ['tools/fake-nvml/src/index.ts']);
    assert.match(script?.text ?? '', MARKS);
  });
});

/** @param {readonly string[]} files */
function marked(files) {
  return files.filter((file) => MARKS.test(readFileSync(join(workspaceRoot, file), 'utf8')));
}

/** @param {string} folder */
function filesOf(folder) {
  return readdirSync(join(workspaceRoot, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(workspaceRoot, join(entry.parentPath, entry.name)));
}

/**
 * @typedef {{ external?: string[], additionalEntryPoints?: string[], esbuildOptions?: { loader?: Record<string, 'text'> } }} Recipe
 */

/** What its project.json says of how an app is built. @param {string} app @returns {Recipe} */
function recipeOf(app) {
  const file = join(workspaceRoot, 'apps', app, 'project.json');
  return JSON.parse(readFileSync(file, 'utf8')).targets.build.options ?? {};
}

/** Bundles as an app's are made, in memory. @param {string} app @param {readonly string[]} entryPoints */
function bundle(app, entryPoints) {
  const { external = [], esbuildOptions = {} } = recipeOf(app);
  return buildSync({
    entryPoints: entryPoints.map((entry) => join(workspaceRoot, entry)),
    outdir: join(workspaceRoot, 'apps', app, 'dist'),
    write: false,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external,
    loader: esbuildOptions.loader ?? {},
    logLevel: 'error',
  }).outputFiles;
}
