// The images of the apps as a host runs them: without root, capabilities and a writable file system.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import {
  baseImage,
  buildImages,
  docker,
  dockerDid,
  eventually,
  prepareEngine,
  prepareImages,
  skipFor,
  workspaceRoot,
} from '../engine.mjs';

const MEGABYTES = 8;
const DEADLINE_SECONDS = 60;
const APPS = [
  { app: 'gpu-exporter', options: [] },
  { app: 'llm-exporter', options: [] },
  { app: 'mock-exporter', options: ['--tmpfs', '/run/mock-exporter:uid=1000'] },
  { app: 'monitor', options: [] },
];

const engine = prepareEngine();
const unavailable =
  engine.unavailable ??
  (prepareImages([baseImage()]).missing.length > 0
    ? `no docker images: ${baseImage()} could not be had`
    : false);

describe('the images', { skip: skipFor(unavailable) }, () => {
  before(() => buildImages(APPS.map(({ app }) => app)));

  for (const { app, options } of APPS) {
    describe(app, () => {
      const image = `llm-monitor/${app}:dev`;
      const name = `llm-monitor-e2e-image-${app}`;
      before(() => dockerDid('rm', '-f', '-v', name));
      after(() => dockerDid('rm', '-f', '-v', name));

      it(`adds less than ${MEGABYTES} MB to its base`, () => {
        const added = (sizeOf(image) - sizeOf(baseImage())) / 1e6;
        console.log(`${app}: ${added.toFixed(1)} MB over the base`);
        assert.ok(added < MEGABYTES, `${added.toFixed(1)} MB`);
      });

      it('says what it is and whence it comes', () => {
        /** @type {{ Created: string, Config: { User: string, Labels: Record<string, string> } }} */
        const { Created: created, Config: config } = JSON.parse(
          docker('image', 'inspect', '--format', '{{json .}}', image),
        );
        const label = (/** @type {string} */ key) => config.Labels[`org.opencontainers.image.${key}`];
        assert.equal(config.User, 'node');
        assert.equal(label('title'), app);
        assert.equal(label('licenses'), 'Apache-2.0');
        assert.match(label('revision') ?? '', /^[0-9a-f]{40}$/);
        assert.notEqual(label('version'), '');
        // As old as its commit, whenever it is built.
        const committed = execFileSync('git', ['log', '-1', '--format=%ct'], {
          cwd: workspaceRoot,
          encoding: 'utf8',
        });
        assert.equal(Date.parse(created) / 1000, Number(committed));
      });

      it('holds the licences of what it holds', () => {
        const text = docker('run', '--rm', '--entrypoint', 'cat', image, 'LICENSES.txt');
        assert.match(text, /^LLM Server Monitor\n\n +Apache License\n/);
        assert.match(text, /^koa \d\S+ \(MIT\)$/m);
        assert.match(text, /^Copyright \(c\) .*Koa contributors$/m);
      });

      it('lists what its bundles hold, for scanners', () => {
        const text = docker('run', '--rm', '--entrypoint', 'cat', image, 'sbom.cdx.json');
        const { bomFormat, components } = JSON.parse(text);
        assert.equal(bomFormat, 'CycloneDX');
        const koa = components.find((/** @type {{ name: string }} */ { name }) => name === 'koa');
        assert.equal(koa.purl, `pkg:npm/koa@${koa.version}`);
      });

      it('becomes healthy without root, capabilities and a file system to write to', async () => {
        docker(
          ...[
            'run',
            '-d',
            '--name',
            name,
            '--read-only',
            '--cap-drop',
            'ALL',
            '--security-opt',
            'no-new-privileges',
          ],
          ...['--health-interval', '1s', ...options, image],
        );
        await eventually(DEADLINE_SECONDS, () => {
          assert.equal(docker('inspect', '--format', '{{.State.Health.Status}}', name), 'healthy');
        });
        const processes = docker('top', name, '-eo', 'pid,user,args').split('\n').slice(1);
        assert.ok(processes.length > 0);
        assert.deepEqual(
          processes.filter((line) => /^ *\d+ +root/.test(line)),
          [],
        );
      });

      it('ends by itself when it is told to', () => {
        docker('stop', '--time', '20', name);
        assert.equal(
          docker('inspect', '--format', '{{.State.ExitCode}} {{.State.OOMKilled}}', name),
          '0 false',
        );
      });
    });
  }
});

/** @param {string} image */
function sizeOf(image) {
  return Number(docker('image', 'inspect', '--format', '{{.Size}}', image));
}
