import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const workspaceRoot = path.resolve(__dirname, '../../..');
const MARKS = /fake-nvml|FAKE_NVML/;

const apps = readdirSync(path.join(workspaceRoot, 'apps'));
const projects = ['apps', 'libs'].flatMap((kind) =>
  readdirSync(path.join(workspaceRoot, kind)).map((name) => `${kind}/${name}`),
);

function marked(files: readonly string[]): string[] {
  return files.filter((file) => MARKS.test(readFileSync(path.join(workspaceRoot, file), 'utf8')));
}

function filesOf(folder: string): string[] {
  const absolute = path.join(workspaceRoot, folder);
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(workspaceRoot, path.join(entry.parentPath, entry.name)));
}

describe('the fake driver', () => {
  it('is named by tests only in the sources of apps and libraries', () => {
    const sources = projects
      .map((project) => `${project}/src`)
      .filter((folder) => existsSync(path.join(workspaceRoot, folder)))
      .flatMap(filesOf)
      .filter((file) => !/\.spec\.ts$|\/test-[^/]*$/.test(file));
    expect(sources.length).toBeGreaterThan(50);
    expect(marked(sources)).toEqual([]);
  });

  it('is named by nothing that builds a bundle or an image', () => {
    const recipes = apps.flatMap((app) =>
      readdirSync(path.join(workspaceRoot, 'apps', app))
        .filter((file) => /^(package|project)\.json$|dockerfile|dockerignore/i.test(file))
        .map((file) => `apps/${app}/${file}`),
    );
    expect(recipes.length).toBeGreaterThanOrEqual(2 * apps.length);
    expect(marked(recipes)).toEqual([]);
  });

  const bundles = apps
    .map((app) => `apps/${app}/dist`)
    .filter((dist) => existsSync(path.join(workspaceRoot, dist)));
  it(`is in none of the ${bundles.length} bundles that are built`, () => {
    expect(marked(bundles.flatMap(filesOf))).toEqual([]);
  });

  it('is found where it is', () => {
    expect(marked(['tools/fake-nvml/library/fake-nvml.c', 'tools/fake-nvml/tsconfig.json'])).toEqual([
      'tools/fake-nvml/library/fake-nvml.c',
    ]);
  });
});
