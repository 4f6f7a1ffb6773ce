// Runs the scripts for real in fresh containers of Ubuntu and Debian, with their real apt and npm: `node --test
// tools/checks/scripts-in-containers.mjs` or `npx nx run scripts:containers`. What comes from elsewhere (NodeSource,
// Docker, NVIDIA) comes from signed apt repositories on this machine that have packages of the same names; with
// SCRIPTS_REPOSITORIES=real it comes from there. Takes minutes and the network, so `make test` leaves it out.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join, normalize } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const areReal = process.env['SCRIPTS_REPOSITORIES'] === 'real';
const IMAGES = (
  process.env['SCRIPTS_IMAGES'] ?? 'ubuntu:24.04 ubuntu-like:bookworm debian:bookworm-slim debian:trixie-slim'
).split(' ');
/** Where CI runs it, what cannot be tried is a fault. */
const mustRun = process.env['CI'] === 'true';
const noEngine =
  mustRun || answers(['version'])
    ? false
    : 'no docker: scripts are not run in containers, for no engine answers';

/** @type {string} */
let folder;
/** @type {import('node:http').Server} */
let server;
/** @type {Record<string, string>} */
let environment = {};
/** What is left of a run: commands of docker that remove it. @type {string[][]} */
const remains = [];

// They wait for the network in turns.
describe('the scripts in containers', { skip: noEngine, concurrency: 2 }, () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'llm-monitor-containers-'));
    mkdirSync(join(folder, 'project'));
    cpSync(join(workspaceRoot, 'scripts'), join(folder, 'project/scripts'), { recursive: true });
    cpSync(join(workspaceRoot, 'package.json'), join(folder, 'project/package.json'));
    if (areReal) return;
    environment = makeRepositories();
    server = createServer((request, response) => {
      const file = join(folder, 'served', normalize(`/${decodeURIComponent(request.url ?? '')}`));
      if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) response.writeHead(404).end();
      else createReadStream(file).pipe(response);
    }).listen(0, '127.0.0.1');
    await new Promise((done) => server.once('listening', done));
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    Object.assign(environment, {
      NODESOURCE_URL: `${url}/nodesource`,
      DOCKER_APT_URL: `${url}/docker`,
      NVIDIA_APT_URL: `${url}/nvidia`,
    });
  });

  after(() => {
    for (const command of remains.reverse()) spawnSync('docker', command);
    server?.closeAllConnections();
    server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const image of IMAGES) {
    const isThere =
      noEngine === false && (answers(['image', 'inspect', image]) || answers(['pull', '-q', image]));
    const skip = isThere || mustRun ? false : `no image ${image}: it could not be fetched`;
    describe(image, { skip, concurrency: 1 }, () => {
      const container = `llm-monitor-scripts-${process.pid}-${image.replace(/\W/g, '-')}`;
      const checkout = `${container}:/checkout`;
      before(() => {
        remains.push(['volume', 'rm', container]);
        startContainer(container, image, [
          ...['--network', 'host', '-v', `${join(folder, 'project')}:/project:ro`, '-w', '/project'],
          ...['-v', checkout, ...npmSettings()],
        ]);
      });

      it('says what is lacking for development, and finds nothing to end or to remove', async () => {
        const packages = await run(container, ['scripts/setup/install-packages.sh'], DEVELOPER);
        assert.equal(packages.status, 1);
        assert.match(
          packages.output,
          /^node is not installed, .*\n {2}scripts\/setup\/install-dependencies\.sh --without-docker\n$/,
        );
        const stopped = await run(container, ['scripts/development/stop-dev.sh'], DEVELOPER);
        assert.deepEqual([stopped.status, stopped.output], [0, 'Nothing of it runs.\n']);
        const reset = await run(container, ['scripts/development/reset-data.sh', '--yes'], DEVELOPER);
        assert.equal(reset.status, 0);
        assert.match(reset.output, /^Docker is not installed, .*\nThere is no data to remove\.\n$/);
      });

      it('says what it would do, as a user without rights, and changes nothing', async () => {
        const { status, output } = await run(
          container,
          ['scripts/setup/install-dependencies.sh', '--dry-run'],
          {
            user: '65534',
          },
        );
        assert.equal(status, 0, output);
        assert.match(output, /install (gpg )?make git nodejs .*docker/);
        assert.match(output, /^Nothing was done \(--dry-run\)\.$/m);
        assert.equal((await run(container, ['which', 'make'])).status, 1);
      });

      it('refuses to go on without root and sudo', async () => {
        const { status, output } = await run(container, ['scripts/setup/install-dependencies.sh', '--yes'], {
          user: '65534',
        });
        assert.equal(status, 1);
        assert.match(output, /^This needs root, and there is no sudo here\.\n {2}su -c '/m);
      });

      it('trusts no other key than the one it knows', { skip: areReal }, async (test) => {
        const wrong = { NODESOURCE_KEY_FINGERPRINT: '0'.repeat(40) };
        const planned = await run(container, ['scripts/setup/install-dependencies.sh', '--dry-run']);
        if (!planned.output.includes('nodesource')) return test.skip('no other repository is needed here');
        const { status, output } = await run(container, ['scripts/setup/install-dependencies.sh', '--yes'], {
          env: wrong,
        });
        assert.equal(status, 1);
        assert.match(
          output,
          /^The key from http:\S+ is [0-9A-F]{40} instead of 0{40}, so nothing was added\.$/m,
        );
        assert.equal((await run(container, ['ls', '/etc/apt/sources.list.d/nodesource.sources'])).status, 2);
      });

      it('installs all of it, and finds nothing to do the second time', async (test) => {
        const first = await run(container, ['scripts/setup/install-dependencies.sh', '--yes']);
        assert.equal(first.status, 0, first.output);
        test.diagnostic(`first run, ${first.seconds} s:\n${first.output}`);
        assert.match(first.output, /^Node\.js \d+\.\d+\.\d+, npm \d[\d.]*, GNU Make 4/m);
        assert.match(first.output, /^Docker version \d+\.\d+\.\d+\S*, Compose [2-9]/m);
        assert.match(first.output, /^Docker's engine does not run yet:$/m);
        const second = await run(container, ['scripts/setup/install-dependencies.sh', '--yes']);
        assert.equal(second.status, 0, second.output);
        test.diagnostic(`second run, ${second.seconds} s:\n${second.output}`);
        assert.match(second.output, /^Nothing is to be done\.$/m);
        assert.doesNotMatch(second.output, /Installing/);
      });

      it('runs all apps for development without a network, builds them anew, and ends them', async (test) => {
        execFileSync('docker', ['exec', '-i', container, 'tar', '-x', '-C', '/checkout'], {
          input: workspace(),
        });
        await well(test, container, 'chown -R 1000:1000 /checkout', { user: '0' });
        await well(test, container, 'scripts/setup/install-packages.sh');
        assert.equal((await well(test, container, 'scripts/setup/install-packages.sh')).output, '');
        // Where every port is free, and nothing of the network is left.
        const apart = `${container}-apart`;
        execFileSync('docker', ['commit', container, apart], { stdio: 'ignore' });
        remains.push(['image', 'rm', '-f', apart]);
        startContainer(apart, apart, ['--network', 'none', '-v', checkout]);

        const main = 'apps/monitor/src/main.ts';
        await well(test, apart, `cp ${main} /checkout/.cache/main.ts && echo ')' >>${main}`);
        const broken = await run(apart, ['scripts/development/start-dev.sh'], {
          ...DEVELOPER,
          directory: '/checkout',
          env: { START_DEV_WAIT_SECONDS: '600' },
        });
        test.diagnostic(broken.output);
        assert.equal(broken.status, 1);
        assert.match(broken.output, /^builder failed before it had built all apps, so all of it was ended;/m);
        await well(test, apart, `cp /checkout/.cache/main.ts ${main}`);

        const started = await well(
          test,
          apart,
          'START_DEV_WAIT_SECONDS=600 scripts/development/start-dev.sh',
        );
        assert.match(started.output, /^ {2}monitor +http:\/\/127\.0\.0\.1:9500\/?$/m);
        for (const port of [9500, 9501, 9502, 9503])
          assert.equal((await well(test, apart, ask(`http://127.0.0.1:${port}/-/healthy`))).output, '200\n');
        const again = await well(test, apart, 'scripts/development/start-dev.sh');
        assert.match(again.output, /^All of it runs already:$/m);

        await well(test, apart, `echo 'console.log("changed");' >>${main}`);
        await well(test, apart, "timeout 300 tail -n +1 -F .cache/dev/monitor.log | grep -q -m1 '^changed$'");
        assert.match(
          (await well(test, apart, 'cat .cache/dev/monitor.log')).output,
          /^monitor was built anew\.$/m,
        );

        const stopped = await well(test, apart, 'scripts/development/stop-dev.sh');
        assert.equal(stopped.output, 'All of it has ended.\n');
        assert.doesNotMatch(
          (await well(test, apart, 'cat /proc/[0-9]*/comm')).output,
          /^(node|nx|esbuild)$/m,
        );
        const reset = await well(test, apart, 'scripts/development/reset-data.sh --yes');
        assert.match(
          reset.output,
          /^This removes for good:\n {2}the folder \.cache\/dev\nThe data is removed\.$/m,
        );
        await well(test, apart, 'test ! -e .cache/dev && test -e node_modules');
      });

      it(
        'shows the page of a simulated host and of its own, without a network',
        { timeout: 600_000 },
        async (test) => {
          const apart = `${container}-apart`;
          for (const { command, endedBy } of [
            { command: 'make demo', endedBy: 'development/run-demo.sh' },
            { command: 'make start', endedBy: 'monitor/dist/main.cjs' },
          ]) {
            let hasEnded = false;
            const running = run(apart, ['sh', '-c', command], { ...DEVELOPER, directory: '/checkout' });
            void running.then(() => (hasEnded = true));
            while (
              !(await run(apart, ['sh', '-c', ask('http://127.0.0.1:9500/-/ready')])).output.startsWith('200')
            )
              assert.ok(!hasEnded, (await Promise.race([running, undefined]))?.output);
            if (command === 'make demo') {
              const mock = 'node apps/mock-exporter/dist/main.cjs';
              await well(test, apart, `${mock} incidents && ${mock} start hang chat && ${mock} stop hang`);
            }
            await run(apart, ['sh', '-c', INTERRUPT, 'sh', endedBy]);
            const { status, output, seconds } = await running;
            test.diagnostic(`${command}: ${status}, ${seconds} s\n${output}`);
            assert.equal(status, 0, output);
          }
        },
      );

      it('installs the toolkit of NVIDIA, and leaves it alone the second time', async (test) => {
        for (const [name, text] of Object.entries(PRETENDED))
          await run(container, [
            'sh',
            '-c',
            `printf '%s' "$1" >/usr/local/bin/${name} && chmod 755 /usr/local/bin/${name}`,
            'sh',
            text,
          ]);
        // So that the program of the service, and not of systemd, is asked to restart it.
        const first = await run(container, ['scripts/setup/setup-nvidia-toolkit.sh', '--yes']);
        assert.equal(first.status, 0, first.output);
        test.diagnostic(`first run, ${first.seconds} s:\n${first.output}`);
        assert.match(first.output, /^ {2}GPU 0: simulated$/m);
        assert.match(first.output, /^It works: make up GPU=nvidia$/m);
        const second = await run(container, ['scripts/setup/setup-nvidia-toolkit.sh', '--yes']);
        assert.equal(second.status, 0, second.output);
        assert.match(second.output, /^All is set up already\.$/m);
        assert.doesNotMatch(second.output, /Installing|Restarting/);
      });
    });
  }
});

/** Ctrl-C for the processes with a text in their command lines, where there is no pkill. */
const INTERRUPT = `for folder in /proc/[0-9]*; do
  if [ "$folder" != "/proc/$$" ] && grep -qsF "$1" "$folder/cmdline"; then kill -INT "\${folder#/proc/}"; fi
done`;

/** Whom development is done by. */
const DEVELOPER = { user: '1000:1000' };

/** A driver, and an engine that knows the runtime once it is configured and restarted. */
const PRETENDED = {
  'nvidia-smi': '#!/bin/sh\necho 580.95.05\n',
  service:
    '#!/bin/sh\n[ "$*" = "docker restart" ] && grep -q nvidia /etc/docker/daemon.json && touch /run/restarted\n',
  docker: `#!/bin/sh
case "$*" in
  version*) echo 28.5.2 ;;
  *SecurityOptions*) echo '[name=seccomp]' ;;
  *Runtimes*) [ ! -e /run/restarted ] || echo nvidia; echo runc ;;
  run*) echo 'GPU 0: simulated (UUID: GPU-0)' ;;
esac
`,
};

/**
 * @param {string} container @param {string[]} command
 * @param {{ user?: string, env?: Record<string, string>, directory?: string }} [as]
 * @returns {Promise<{ status: number | null, output: string, seconds: string }>}
 */
async function run(container, command, { user = '0', env = {}, directory = '/project' } = {}) {
  const settings = Object.entries({ ...environment, ...env }).flatMap(([name, value]) => [
    '-e',
    `${name}=${value}`,
  ]);
  const start = process.hrtime.bigint();
  const child = spawn('docker', ['exec', '-u', user, '-w', directory, ...settings, container, ...command]);
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  child.stderr.on('data', (chunk) => (output += String(chunk)));
  const status = /** @type {number | null} */ (await new Promise((done) => child.once('close', done)));
  return { status, output, seconds: (Number(process.hrtime.bigint() - start) / 1e9).toFixed(1) };
}

/**
 * A line of shell in the checkout, which must end well, and is told with what it said and took.
 * @param {import('node:test').TestContext} test @param {string} container @param {string} line
 * @param {{ user?: string }} [as]
 */
async function well(test, container, line, as = DEVELOPER) {
  const ended = await run(container, ['sh', '-c', line], { directory: '/checkout', ...as });
  test.diagnostic(`${line}: ${ended.status}, ${ended.seconds} s\n${ended.output}`);
  assert.equal(ended.status, 0, ended.output);
  return ended;
}

/** @param {string} name @param {string} image @param {string[]} options */
function startContainer(name, image, options) {
  remains.push(['rm', '-f', name]);
  const run = ['run', '-d', '--init', '--name', name, ...options, image, 'sleep', 'infinity'];
  execFileSync('docker', run, { stdio: 'ignore' });
}

/** A line of shell that prints the status of an answer. @param {string} url */
function ask(url) {
  return `node -e "fetch('${url}').then(({ status }) => console.log(status))"`;
}

/** The files that Git knows or would know, as an archive. */
function workspace() {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: workspaceRoot });
  return execFileSync('tar', ['--null', '--files-from=-', '--create', '--file=-'], {
    cwd: workspaceRoot,
    input: files,
    maxBuffer: 2 ** 30,
  });
}

/** The registry that this host uses and whom it trusts there, for containers without its settings. */
function npmSettings() {
  const setting = (/** @type {string} */ name) =>
    execFileSync('npm', ['config', 'get', name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  const certificates = setting('cafile');
  return [
    ...['-e', `npm_config_registry=${setting('registry')}`, '-e', 'HOME=/checkout/.cache/home'],
    ...(certificates === 'null'
      ? []
      : ['-v', `${certificates}:/certificates.pem:ro`, '-e', 'npm_config_cafile=/certificates.pem']),
  ];
}

/** @param {string[]} args */
function answers(args) {
  return spawnSync('docker', args, { stdio: 'ignore' }).status === 0;
}

/**
 * Writes the repositories of NodeSource, Docker and NVIDIA as they are laid out, signed with a key of this run.
 * Their nodejs has this very Node.js with npm from its registry; the rest says versions.
 * @returns the fingerprints to trust
 */
function makeRepositories() {
  const home = join(folder, 'gpg');
  mkdirSync(home, { mode: 0o700 });
  const gpg = (/** @type {string[]} */ args, input = '') =>
    execFileSync('gpg', ['--batch', '--quiet', '--homedir', home, ...args], {
      input,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
  gpg(
    ['--pinentry-mode', 'loopback', '--gen-key'],
    '%no-protection\nKey-Type: RSA\nKey-Length: 2048\nName-Real: test\nExpire-Date: 1d\n%commit\n',
  );
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(String(gpg(['--with-colons', '--list-keys'])))?.[1] ?? '';
  const key = gpg(['--armor', '--export']);
  const architecture = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  mkdirSync(join(folder, 'npm'));
  execFileSync('npm', ['pack', 'npm@10.9.4'], { cwd: join(folder, 'npm'), stdio: 'ignore' });
  execFileSync('tar', ['-xf', 'npm-10.9.4.tgz'], { cwd: join(folder, 'npm') });
  const compose = '#!/bin/sh\n[ "$1" = docker-cli-plugin-metadata ] || echo 2.40.3\n';
  const nodejs = debian('nodejs', '22.21.0-1nodesource1', {
    'usr/bin/node': readFileSync(process.execPath),
    'usr/bin/npm': '#!/bin/sh\nexec node /usr/lib/node_modules/npm/bin/npm-cli.js "$@"\n',
    'usr/lib/node_modules/npm': join(folder, 'npm/package'),
  });
  const dockers = [
    debian('docker-ce', '5:28.5.2-1', {}),
    debian('docker-ce-cli', '5:28.5.2-1', { 'usr/bin/docker': DOCKER_CLIENT }),
    debian('containerd.io', '1.7.28-1', {}),
    debian('docker-buildx-plugin', '0.29.1-1', { 'usr/libexec/docker/cli-plugins/docker-buildx': compose }),
    debian('docker-compose-plugin', '2.40.3-1', { 'usr/libexec/docker/cli-plugins/docker-compose': compose }),
  ];
  const toolkit = debian('nvidia-container-toolkit', '1.18.0-1', { 'usr/bin/nvidia-ctk': NVIDIA_CTK });
  serve('nodesource/gpgkey/nodesource-repo.gpg.key', key);
  repository('nodesource/node_22.x', 'dists/nodistro', 'main', [nodejs]);
  for (const distribution of ['debian', 'ubuntu']) {
    serve(`docker/${distribution}/gpg`, key);
    for (const suite of ['bookworm', 'trixie', 'noble'])
      repository(`docker/${distribution}`, `dists/${suite}`, 'stable', dockers);
  }
  serve('nvidia/gpgkey', key);
  repository(`nvidia/stable/deb/${architecture}`, '', '', [toolkit]);
  return {
    NODESOURCE_KEY_FINGERPRINT: fingerprint,
    DOCKER_APT_KEY_FINGERPRINT: fingerprint,
    NVIDIA_APT_KEY_FINGERPRINT: fingerprint,
  };

  /** @param {string} path @param {string | Uint8Array} content */
  function serve(path, content) {
    const file = join(folder, 'served', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  /** @param {string} root @param {string} suite @param {string} component @param {{ file: string, fields: string }[]} packages */
  function repository(root, suite, component, packages) {
    const index = packages.map(({ file, fields }) => {
      const content = readFileSync(file);
      serve(join(root, basename(file)), content);
      return `${fields}Filename: ${suite === '' ? './' : ''}${basename(file)}\nSize: ${content.length}\nSHA256: ${sha256(content)}\n`;
    });
    const text = index.join('\n');
    const name = suite === '' ? 'Packages' : `${component}/binary-${architecture}/Packages`;
    serve(join(root, suite, name), text);
    const release =
      `Origin: test\nCodename: ${basename(suite)}\nSuite: ${basename(suite)}\nDate: ${new Date().toUTCString()}\n` +
      `Architectures: ${architecture}\nComponents: ${component}\nSHA256:\n ${sha256(text)} ${text.length} ${name}\n`;
    serve(join(root, suite, 'InRelease'), gpg(['--clearsign'], release));
  }

  /**
   * @param {string} name @param {string} version
   * @param {Record<string, string | Uint8Array>} files what is in each program, or the path of what is in a folder
   */
  function debian(name, version, files) {
    const root = join(folder, 'packages', name);
    const fields = `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\nMaintainer: test\nDescription: test\n`;
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    writeFileSync(join(root, 'DEBIAN/control'), fields);
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      if (typeof content === 'string' && content.startsWith('/'))
        cpSync(content, join(root, file), { recursive: true });
      else writeFileSync(join(root, file), content, { mode: 0o755 });
    }
    const file = join(folder, 'packages', `${name}_${architecture}.deb`);
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', root, file], { stdio: 'ignore' });
    return { file, fields };
  }
}

/** @param {string | Uint8Array} content */
function sha256(content) {
  return createHash('sha256').update(content).digest('hex');
}

const DOCKER_CLIENT = `#!/bin/sh
case $1 in
  --version) echo 'Docker version 28.5.2, build test' ;;
  compose | buildx) exec "/usr/libexec/docker/cli-plugins/docker-$1" ;;
  *) echo 'Cannot connect to the Docker daemon' >&2; exit 1 ;;
esac
`;

const NVIDIA_CTK = `#!/bin/sh
[ "$*" = 'runtime configure --runtime=docker' ] || exit 1
mkdir -p /etc/docker
echo '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}' >/etc/docker/daemon.json
`;
