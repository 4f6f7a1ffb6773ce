import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { linkPrograms, pathOf, workspaceRoot } from './programs.mjs';

const START = 'scripts/development/start-dev.sh';
const STOP = 'scripts/development/stop-dev.sh';
const RESET = 'scripts/development/reset-data.sh';
const PACKAGES = 'scripts/setup/install-packages.sh';
const DEADLINE_MILLISECONDS = 60_000;

/** @type {string} */
let programs;
before(() => {
  programs = linkPrograms();
});
after(() => rmSync(programs, { recursive: true, force: true }));

describe(PACKAGES, () => {
  it('names the script that installs Node.js where there is none', (test) => {
    const folder = scratch(test);
    const { status, stderr } = spawnSync(join(folder, PACKAGES), {
      encoding: 'utf8',
      env: { PATH: programs },
    });
    assert.equal(status, 1);
    assert.equal(
      stderr,
      `node is not installed, and Node.js 20.19 or newer with npm is needed.\n  scripts/setup/install-dependencies.sh --without-docker\n`,
    );
  });

  for (const { where, hook, says } of [
    { where: 'in a clone', hook: '# calls lefthook\n', says: /\nGit hooks are installed: .*\n$/ },
    { where: 'with hooks of its own', hook: '# calls nothing\n', says: /^Installing packages .*\n$/ },
    { where: 'outside of a clone', hook: undefined, says: /^Installing packages .*\n$/ },
  ]) {
    it(`says what it installs, ${where}`, (test) => {
      const folder = scratch(test);
      rmSync(join(folder, 'node_modules/.package-lock.json'));
      mkdirSync(join(folder, 'bin'));
      writeFileSync(join(folder, 'bin/npm'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
      const env = {
        ...{ ...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH']}`, GIT_DIR: undefined },
        ...{ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' },
      };
      if (hook !== undefined) {
        assert.equal(spawnSync('git', ['init', '--quiet', folder], { env }).status, 0);
        mkdirSync(join(folder, '.git/hooks'), { recursive: true });
        writeFileSync(join(folder, '.git/hooks/pre-commit'), hook);
      }
      const { status, stdout, stderr } = spawnSync(join(folder, PACKAGES), { encoding: 'utf8', env });
      assert.equal(status, 0, stderr);
      assert.match(stdout, says);
    });
  }
});

// They mostly wait, so that several at a time take no longer than one.
describe(`${START} and ${STOP}`, { concurrency: 6 }, () => {
  it('start all apps over the simulated host, say where they are, and end them', async (test) => {
    const { folder, run, logOf, processOf } = development(test);
    const started = await run(START, { NODE_OPTIONS: '--no-warnings' });
    assert.equal(started.status, 0, started.stderr);
    for (const app of APPS) {
      assert.match(started.stdout, new RegExp(`^ {2}${app} +http://127\\.0\\.0\\.1:1/${app}$`, 'm'));
      assert.match(logOf(app), /^options --no-warnings --enable-source-maps$/m);
    }
    const own = join(folder, '.cache/dev/host');
    assert.match(logOf('mock-exporter'), new RegExp(`^folder ${own}$`, 'm'));
    for (const app of ['monitor', 'gpu-exporter']) {
      assert.match(logOf(app), new RegExp(`^path ${own}/bin:`, 'm'));
      assert.match(logOf(app), /^backend nvidia-smi$/m);
    }
    const processes = [...APPS, 'builder'].map(processOf);
    assert.deepEqual(processes.map(isAlive), [true, true, true, true, true]);
    assert.match((await run(START)).stdout, /^All of it runs already:$/m);
    assert.match((await run(STOP)).stdout, /^All of it has ended\.$/m);
    assert.deepEqual(processes.map(isAlive), [false, false, false, false, false]);
    for (const app of APPS) assert.match(logOf(app), /told to stop\n/);
    assert.match((await run(STOP)).stdout, /^Nothing of it runs\.$/m);
  });

  it('let the apps say when they listen, whatever the log level', async (test) => {
    const { run, logOf } = development(test);
    await run(START, { MONITOR_LOG_LEVEL: 'warn', LLM_EXPORTER_LOG_LEVEL: 'debug' });
    assert.match(logOf('monitor'), /^level info$/m);
    assert.match(logOf('llm-exporter'), /^level debug$/m);
  });

  it('know their processes also by a link to the checkout', async (test) => {
    const { folder, run, processOf } = development(test);
    symlinkSync(folder, join(folder, 'link'));
    await run(START);
    const processes = [...APPS, 'builder'].map(processOf);
    assert.match((await run(`link/${STOP}`)).stdout, /^All of it has ended\.$/m);
    assert.deepEqual(processes.map(isAlive), [false, false, false, false, false]);
  });

  it('start an app anew when it was built anew, also when only its reader was', async (test) => {
    const { run, logOf, build } = development(test);
    await run(START);
    const count = () => [...logOf('gpu-exporter').matchAll(/"msg":"listening"/g)].length;
    build('gpu-exporter', APP.replace('told to stop', 'told to stop again'));
    await until(() => count() === 2);
    assert.match(logOf('gpu-exporter'), /told to stop\n/);
    build('gpu-exporter', '', 'gpu-reader.cjs');
    await until(() => count() === 3);
    assert.match(logOf('gpu-exporter'), /told to stop again\n/);
  });

  it('leave an app that ended until it is built anew', async (test) => {
    const { run, logOf, build } = development(test);
    await run(START);
    build('monitor', 'process.exit(7);');
    await until(() =>
      logOf('monitor').includes('monitor ended with 7; it is started again after the next build.'),
    );
    build('monitor', APP);
    await until(() => [...logOf('monitor').matchAll(/"msg":"listening"/g)].length === 2);
  });

  it('end all of it and say why, where one does not start', async (test) => {
    const { run, build, processesOf } = development(test);
    build('llm-exporter', "console.log('port 9502 is taken'); process.exit(2);");
    const { status, stderr } = await run(START);
    assert.equal(status, 1);
    assert.match(stderr, /^port 9502 is taken$/m);
    assert.match(
      stderr,
      /^llm-exporter failed before it listened, so all of it was ended; the end of its log is above\.\n {2}less \.cache\/dev\/llm-exporter\.log\n$/m,
    );
    assert.deepEqual(processesOf(), []);
  });

  for (const { what, builder, said } of [
    {
      what: 'the builder ends',
      builder: 'echo "no such file: x.ts"; exit 1',
      said: /^no such file: x\.ts$/m,
    },
    {
      what: 'the apps cannot be built',
      builder:
        'echo "Cannot find name x."; echo "[ watch ] build finished with errors (see above), watching for changes..."; exec sleep 600',
      said: /^Cannot find name x\.$/m,
    },
  ])
    it(`say why, where ${what}`, async (test) => {
      const { run, processesOf } = development(test, builder);
      const { status, stderr } = await run(START);
      assert.equal(status, 1);
      assert.match(stderr, said);
      assert.match(
        stderr,
        /^builder failed before it had built all apps, so all of it was ended; the end of its log is above\.$/m,
      );
      assert.deepEqual(processesOf(), []);
    });

  it('leave nothing behind after Ctrl-C', async (test) => {
    const { folder, processesOf } = development(test, 'exec sleep 600');
    const started = spawn(join(folder, START), { stdio: 'ignore' });
    const ended = new Promise((done) => started.once('close', done));
    await until(() => processesOf().length === 1);
    started.kill('SIGINT');
    assert.equal(await ended, 130);
    assert.deepEqual(processesOf(), []);
  });

  it('give up after the time they are given', async (test) => {
    const { run, processesOf } = development(test, 'echo "still at it"; exec sleep 600');
    const { status, stderr } = await run(START, { START_DEV_WAIT_SECONDS: '1' });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^still at it\nbuilder took more than 1 s until it had built all apps, so all of it/m,
    );
    assert.deepEqual(processesOf(), []);
  });

  it('say so where only a part runs', async (test) => {
    const { run, processOf } = development(test);
    await run(START);
    process.kill(processOf('monitor'), 'SIGTERM');
    await until(() => !isAlive(processOf('monitor')));
    const { status, stderr } = await run(START);
    assert.equal(status, 1);
    assert.match(stderr, /^Only a part of it runs \(builder mock-exporter llm-exporter gpu-exporter\)\.$/m);
  });

  it('end what a killed leader left behind', async (test) => {
    const { run, logOf, processOf } = development(test);
    await run(START);
    const leader = processOf('monitor');
    const app = Number(/^process (\d+)$/m.exec(logOf('monitor'))?.[1]);
    process.kill(leader, 'SIGKILL');
    await until(() => !isAlive(leader));
    assert.equal(isAlive(app), true);
    await run(STOP);
    assert.equal(isAlive(app), false);
  });

  it('kill what does not end by itself', async (test) => {
    const { run, build, processOf } = development(test);
    build('monitor', APP.replace('process.exit(0)', "''"));
    await run(START);
    const leader = processOf('monitor');
    const { stdout } = await run(STOP, { STOP_DEV_WAIT_SECONDS: '0' });
    assert.match(stdout, /^Killing what did not end by itself: /m);
    assert.equal(isAlive(leader), false);
  });

  it('leave a process alone that merely has the id of one of ours', async (test) => {
    const { folder, run } = development(test);
    const stranger = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    try {
      mkdirSync(join(folder, '.cache/dev'), { recursive: true });
      writeFileSync(join(folder, '.cache/dev/monitor.pid'), `${stranger.pid}\n`);
      assert.match((await run(STOP)).stdout, /^Nothing of it runs\.$/m);
      assert.equal(stranger.exitCode, null);
      assert.equal(isAlive(stranger.pid ?? 0), true);
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});

const VOLUMES = 'llm-monitor-prod_prometheus-data';
const RESETS = [
  {
    what: 'the volumes of our projects and the folder of start-dev',
    docker: { volumes: VOLUMES },
    development: true,
    removed: [VOLUMES],
    said: /^The data is removed\.$/m,
  },
  {
    what: 'no volume that only has our label',
    docker: { volumes: `${VOLUMES} someone-elses-data` },
    removed: [VOLUMES],
    said: /^The data is removed\.$/m,
  },
  {
    what: 'the volumes of a stack of another name',
    docker: { volumes: 'gpus-prod_grafana-data' },
    env: { STACK_NAME: 'gpus' },
    removed: ['gpus-prod_grafana-data'],
    said: /^The data is removed\.$/m,
  },
  {
    what: 'the volumes of the name in .env',
    docker: { volumes: 'gpus-prod_grafana-data' },
    settings: 'STACK_NAME="gpus"\n',
    removed: ['gpus-prod_grafana-data'],
    said: /^The data is removed\.$/m,
  },
  {
    what: 'nothing where there is nothing',
    docker: {},
    removed: [],
    said: /^There is no data to remove\.$/m,
  },
  {
    what: 'the folder where there is no Docker',
    docker: null,
    development: true,
    removed: [],
    said: /^Docker is not installed, so there is no data of the stack\.$/m,
  },
  {
    what: 'the folder where the engine does not answer',
    docker: { infoError: 'Cannot connect' },
    development: true,
    removed: [],
    said: /^Docker's engine does not answer, so the data of the stack stays/m,
  },
];

describe(RESET, () => {
  for (const { what, docker, removed, said, env = {}, development = false, settings } of RESETS) {
    it(`removes ${what}`, (test) => {
      const folder = scratch(test);
      if (development) mkdirSync(join(folder, '.cache/dev/host'), { recursive: true });
      if (settings !== undefined) writeFileSync(join(folder, '.env'), settings);
      writeFileSync(join(folder, '.cache/kept'), '');
      const { status, stdout, stderr, calls } = reset(folder, ['--yes'], docker, env);
      assert.equal(status, 0, stderr);
      assert.match(stdout, said);
      const expected = removed.length > 0 ? [`docker volume rm ${removed.join(' ')}`] : [];
      assert.deepEqual(
        calls.filter((call) => / rm /.test(call)),
        expected,
      );
      assert.equal(existsSync(join(folder, '.cache/dev')), false);
      assert.equal(existsSync(join(folder, '.cache/kept')), true);
    });
  }

  it('removes nothing where nobody can be asked', (test) => {
    const folder = scratch(test);
    mkdirSync(join(folder, '.cache/dev'), { recursive: true });
    const { status, stdout, stderr, calls } = reset(folder, [], { volumes: VOLUMES });
    assert.equal(status, 1);
    assert.match(stdout, new RegExp(`^ {2}the volume ${VOLUMES}\n {2}the folder \\.cache/dev$`, 'm'));
    assert.match(
      stderr,
      /^Nobody is here to be asked, so nothing was removed\.\n {2}scripts\/development\/reset-data\.sh --yes$/m,
    );
    assert.deepEqual(
      calls.filter((call) => / (rm|down)/.test(call)),
      [],
    );
    assert.equal(existsSync(join(folder, '.cache/dev')), true);
  });

  for (const { answer, gone } of [
    { answer: 'y', gone: true },
    { answer: '', gone: false },
    { answer: 'no', gone: false },
  ]) {
    it(`asks, and takes ${JSON.stringify(answer)} for ${gone ? 'yes' : 'no'}`, (test) => {
      if (pathOf('script', true) === '') return test.skip('no script: no terminal can be made');
      const folder = scratch(test);
      mkdirSync(join(folder, '.cache/dev'), { recursive: true });
      const { stdout } = spawnSync(pathOf('script'), ['-qec', RESET, '/dev/null'], {
        cwd: folder,
        input: `${answer}\n`,
        encoding: 'utf8',
        env: { PATH: programs, SHELL: pathOf('bash') },
      });
      assert.match(stdout, /Remove it\? \[y\/N\]/);
      assert.equal(existsSync(join(folder, '.cache/dev')), !gone);
    });
  }

  it('says so where a container of another project uses a volume', (test) => {
    const folder = scratch(test);
    const { status, stdout, stderr } = reset(folder, ['--yes'], {
      volumes: VOLUMES,
      volumeError: 'remove llm-monitor-prod_prometheus-data: volume is in use',
    });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /volume is in use\nNot all of it was removed: a container of another project uses it, as Docker says above\.\n {2}docker ps -a\n$/,
    );
    assert.doesNotMatch(stdout, /The data is removed/);
  });

  it('refuses a name that would reach for the volumes of others', (test) => {
    const folder = scratch(test);
    const { status, stderr } = reset(folder, ['--yes'], { volumes: VOLUMES }, { STACK_NAME: '.*' });
    assert.equal(status, 1);
    assert.match(stderr, /^STACK_NAME=\.\* cannot be the name of a stack, so nothing was removed\.$/m);
  });
});

const APPS = ['mock-exporter', 'llm-exporter', 'gpu-exporter', 'monitor'];

/** An app that does nothing but say what it was given. */
const APP = `
const app = __dirname.split('/').at(-2);
console.log('process ' + process.pid);
console.log('path ' + process.env.PATH);
console.log('folder ' + process.env.MOCK_EXPORTER_HOST_FOLDER);
console.log('level ' + process.env[app.toUpperCase().replace('-', '_') + '_LOG_LEVEL']);
console.log('options ' + process.env.NODE_OPTIONS);
console.log('backend ' + (process.env.MONITOR_GPU_BACKEND ?? process.env.GPU_EXPORTER_BACKEND));
process.on('SIGTERM', () => { console.log('told to stop'); process.exit(0); });
setInterval(() => undefined, 1000);
console.log(JSON.stringify({ level: 'info', url: 'http://127.0.0.1:1/' + app, msg: 'listening' }));
`;

/**
 * A copy of the scripts in a folder of its own, and what a test does there.
 * @param {import('node:test').TestContext} test @param {string} [builder]
 */
function development(test, builder) {
  const folder = scratch(test, builder);
  /**
   * @param {string} script @param {Record<string, string>} [env]
   * @returns {Promise<{ status: unknown, stdout: string, stderr: string }>}
   */
  const run = (script, env = {}) =>
    new Promise((done) => {
      const all = { PATH: process.env['PATH'], HOME: folder, ...env };
      execFile(join(folder, script), { env: all }, (error, stdout, stderr) =>
        done({ status: error === null ? 0 : error.code, stdout, stderr }),
      );
    });
  const read = (/** @type {string} */ name) => readFileSync(join(folder, '.cache/dev', name), 'utf8');
  return {
    folder,
    run,
    processOf: (/** @type {string} */ name) => Number(read(`${name}.pid`)),
    logOf: (/** @type {string} */ name) => read(`${name}.log`),
    /** Those that were started from this folder. */
    processesOf: () =>
      readdirSync('/proc').filter((id) => /^\d+$/.test(id) && isMarked(id, folder) && isAlive(Number(id))),
    build: (/** @type {string} */ app, /** @type {string} */ text, file = 'main.cjs') =>
      writeFileSync(join(folder, 'apps', app, 'dist', file), text),
  };
}

/** @param {string} id @param {string} folder */
function isMarked(id, folder) {
  try {
    return readFileSync(`/proc/${id}/environ`, 'utf8').includes(`LLM_MONITOR_DEVELOPMENT=${folder}\0`);
  } catch {
    return false; // it ended meanwhile
  }
}

const BUILDER = 'for app in 1 2 3 4; do echo "$app: build succeeded"; done; exec sleep 600';

/**
 * A folder with the scripts, and with apps and a builder that only pretend, until the test ends.
 * @param {import('node:test').TestContext} test @param {string} [builder]
 */
function scratch(test, builder = BUILDER) {
  const folder = mkdtempSync(join(tmpdir(), 'llm-monitor-development-'));
  test.after(() => {
    spawnSync(join(folder, STOP), { env: { ...process.env, STOP_DEV_WAIT_SECONDS: '0' } });
    rmSync(folder, { recursive: true, force: true });
  });
  cpSync(join(workspaceRoot, 'scripts'), join(folder, 'scripts'), { recursive: true });
  cpSync(join(workspaceRoot, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, '.cache'));
  mkdirSync(join(folder, 'node_modules/.bin'), { recursive: true });
  writeFileSync(join(folder, 'node_modules/.bin/nx'), `#!/usr/bin/env bash\n${builder}\n`, { mode: 0o755 });
  // Older than the list of installed packages, so that none is installed.
  writeFileSync(join(folder, 'package-lock.json'), '{}');
  utimesSync(join(folder, 'package-lock.json'), 0, 0);
  writeFileSync(join(folder, 'node_modules/.package-lock.json'), '{}');
  for (const app of APPS) {
    mkdirSync(join(folder, 'apps', app, 'dist'), { recursive: true });
    writeFileSync(join(folder, 'apps', app, 'dist/main.cjs'), APP);
  }
  return folder;
}

/** A docker that writes down what it is asked. */
const DOCKER = `#!/usr/bin/env bash
echo "docker $*" >>"$FAKE_folder/calls"
refuse() { echo "$1" >&2; exit 1; }
case "$*" in
  version*) if [[ -n \${FAKE_infoError:-} ]]; then refuse "$FAKE_infoError"; fi ;;
  'volume ls'*)
    for volume in \${FAKE_volumes:-}; do
      if [[ $* == *"project=\${volume%%_*}" || $volume == someone* ]]; then echo "$volume"; fi
    done ;;
  'volume rm'*) if [[ -n \${FAKE_volumeError:-} ]]; then refuse "$FAKE_volumeError"; fi ;;
esac
`;

/**
 * @param {string} folder @param {string[]} args @param {Record<string, string> | null} docker
 * @param {Record<string, string>} [env]
 */
function reset(folder, args, docker, env = {}) {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  if (docker !== null) writeFileSync(join(bin, 'docker'), DOCKER, { mode: 0o755 });
  const { status, stdout, stderr } = spawnSync(join(folder, RESET), args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${bin}:${programs}`,
      FAKE_folder: folder,
      ...Object.fromEntries(Object.entries(docker ?? {}).map(([name, value]) => [`FAKE_${name}`, value])),
      ...env,
    },
  });
  const calls = join(folder, 'calls');
  return {
    status,
    stdout,
    stderr,
    calls: existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [],
  };
}

/** Whether a process runs; one that has ended and was not fetched by its parent does not. @param {number} id */
function isAlive(id) {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${id}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** @param {() => boolean} condition */
async function until(condition) {
  const end = Date.now() + DEADLINE_MILLISECONDS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not so within ${DEADLINE_MILLISECONDS / 1000} s: ${condition}`);
    await pause(20);
  }
}
