// The container stack for real: started by `make up` with a Docker engine, asked as its users ask it, and broken as
// hosts break it. Each environment is started once; its tests follow each other.
import assert from 'node:assert/strict';
import { readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  baseImage,
  buildImages,
  docker,
  dockerDid,
  eventually,
  prepareEngine,
  prepareImages,
  restartEngine,
  skipFor,
  workspaceRoot,
} from '../engine.mjs';
import { measure, startTimes } from './measure.mjs';
import { Stacks } from './stack.mjs';

const { Buffer, fetch } = globalThis;

/** Generous: nothing here is a measurement, and an engine in a container of its own is slow. */
const DEADLINE_SECONDS = 120;

const stacks = new Stacks();
const engine = prepareEngine();
const images =
  engine.unavailable === undefined ? prepareImages([baseImage(), ...imagesOfStack()]) : undefined;
const unavailable =
  engine.unavailable ??
  (images !== undefined && images.missing.length > 0
    ? `no docker images: ${images.missing.join(', ')} could not be had`
    : false);
const hasGrafana = images?.hasGrafana ?? false;
const noGrafana = hasGrafana ? false : 'no Grafana image could be had';
const notOurs =
  engine.unavailable === undefined && engine.isOurs
    ? false
    : 'no docker engine of our own: others may use this one, so it stays as it is';
const noRestart = process.env['E2E_RESTART_ENGINE'] === undefined ? notOurs : false;
/** What `make up` is told: Grafana is left out where there is only a placeholder for it. */
const UP = hasGrafana ? [] : ['ARGS=--scale grafana=0'];

/** Series that must be there with ENV=mock: the core of the schema, from each exporter. */
const CANONICAL = [
  { query: 'llm_up == 1', count: 4 },
  { query: 'count by (engine, version) (llm_engine_info)', count: 4 },
  { query: 'llm_requests_running', count: 3 },
  { query: 'llm_prompt_tokens_total', count: 3 },
  { query: 'llm_generation_tokens_total', count: 3 },
  { query: 'llm_kv_cache_usage_ratio', count: 2 },
  { query: 'count by (server) (llm_time_to_first_token_seconds_bucket)', count: 2 },
  { query: 'llm_metric_unavailable_info{server="desk"}', count: 1 },
  { query: 'gpu_up == 1', count: 4 },
  { query: 'gpu_memory_used_bytes', count: 4 },
  { query: 'gpu_power_watts', count: 4 },
  { query: 'gpu_temperature_celsius{sensor="core"}', count: 4 },
  { query: 'gpu_process_info{engine!="unknown"}', count: 2 },
  { query: 'llm_monitor_collector_success == 1', count: 5 },
  { query: 'node_memory_MemTotal_bytes', count: 1 },
  { query: 'sim_gpu_power_watts', count: 4 },
  { query: 'ALERTS{alertname="Watchdog",alertstate="firing"}', count: 1 },
];

/** The engines of the mock, as ENV=mock names them. */
const MOCK_ENGINES = [
  'chat=http://mock-exporter:8000',
  'documents=http://mock-exporter:30000',
  'editor=http://mock-exporter:8080',
  'desk=http://mock-exporter:11434',
].join();

/** A webhook that prints what it is sent, a line each. */
const RECEIVER = `require('node:http').createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => (body += chunk)).on('end', () => { console.log(body); response.end(); });
}).listen(8080)`;

/** Kills every process of a container but the first, which waits for them, with what each image has. */
const KILL_ALL = `for folder in /proc/[0-9]*; do
  pid=\${folder#/proc/}
  if [ "$pid" != 1 ] && [ "$pid" != "$$" ]; then kill -9 "$pid"; fi
done 2>/dev/null
true`;

describe('the stack', { skip: skipFor(unavailable) }, () => {
  before(async () => {
    if (engine.unavailable === undefined) console.log(engine.versions);
    for (const source of images?.sources ?? []) console.log(source);
    stacks.remove();
    buildImages(['gpu-exporter', 'llm-exporter', 'mock-exporter']);
    await stacks.prepare();
  });
  after(() => stacks.remove());

  it('is valid in every combination, by what the programs themselves say', async () => {
    const { status, output } = await stacks.run('scripts/development/compose.sh', ['check']);
    assert.equal(status, 0, output);
    assert.match(output, /\d+ combinations are valid/);
  });

  describe('ENV=mock with long-term storage', () => {
    const env = {
      ENV: 'mock',
      LONG_TERM_STORAGE: 'victoriametrics',
      ALERT_WEBHOOK_URL: 'http://receiver:8080/',
      // An engine that is not there, for the panels of faults.
      MOCK_TARGETS: `${MOCK_ENGINES},gone=http://mock-exporter:1`,
    };
    /** @type {import('./stack.mjs').Ended} */
    let up;
    before(async () => {
      up = await started(env);
      console.log(startTimes(stacks.containers('mock')));
    });
    after(() => stacks.removeContainers());

    it('comes up healthy, and says where it is', () => {
      assert.match(up.output, /GPUs: simulated/);
      assert.match(
        up.output,
        new RegExp(`prometheus +http://127\\.0\\.0\\.1:${stacks.port('PROMETHEUS_PORT')}`),
      );
      assert.deepEqual([...stacks.containers('mock').keys()].sort(), [
        ...[
          'alertmanager',
          'gpu-exporter',
          ...(hasGrafana ? ['grafana'] : []),
          'llm-exporter',
          'mock-exporter',
        ],
        ...['node-exporter', 'prometheus', 'victoriametrics'],
      ]);
    });

    it('has every target up', () => everyTargetIsUp());

    for (const { query, count } of CANONICAL) {
      it(`has ${query}`, () => hasSeries(query, count));
    }

    it('sends an alert to a webhook', async () => {
      stacks.startBeside(
        'mock',
        'receiver',
        '--entrypoint',
        'node',
        'llm-monitor/mock-exporter:dev',
        '-e',
        RECEIVER,
      );
      startIncident('xid_79', '3');
      startIncident('power_brake', '0'); // for the panel of what holds clocks back
      const alert = await eventually(DEADLINE_SECONDS, () => {
        const alerts = stacks
          .saidBeside('receiver')
          .split('\n')
          .filter((line) => line !== '')
          .flatMap((line) => JSON.parse(line).alerts);
        const found = alerts.find((/** @type {any} */ { labels }) => labels.alertname === 'GpuXidFatal');
        assert.ok(
          found,
          `the webhook was sent ${alerts.map((/** @type {any} */ { labels }) => labels.alertname)}`,
        );
        return found;
      });
      assert.equal(alert.status, 'firing');
      assert.equal(alert.labels.severity, 'critical');
      assert.match(alert.annotations.runbook, /docs\/runbooks\/GpuXidFatal\.md$/);
    });

    for (const { title, query } of queriesOf('overview')) {
      it(`has data for ${title}: ${query}`, () => hasSeries(query));
    }

    it('keeps the same values in the long-term storage', async () => {
      const at = Math.floor(Date.now() / 1000);
      const samples = async (/** @type {string} */ of) => {
        const found = await stacks.query('llm_generation_tokens_total[1m]', { of, at });
        return found
          .map(({ metric, values }) => ({
            // Of the site only the storage knows.
            metric: Object.entries(metric)
              .filter(([label]) => label !== 'site')
              .sort(),
            // Each counts a sample at the edge of the minute in its own way.
            values: values.filter(([time]) => time > at - 60 && time < at),
          }))
          .sort((a, b) => JSON.stringify(a.metric).localeCompare(JSON.stringify(b.metric)));
      };
      const kept = await samples('PROMETHEUS_PORT');
      assert.ok(kept.length > 1 && kept.every(({ values }) => values.length > 1));
      await eventually(DEADLINE_SECONDS, async () => assert.deepEqual(await samples('LONG_TERM_PORT'), kept));
    });

    it('has the data source and the dashboards in Grafana', { skip: skipFor(noGrafana) }, async () => {
      const health = await grafana('/api/datasources/uid/prometheus/health');
      assert.equal(health.status, 'OK', JSON.stringify(health));
      /** @type {{ uid: string }[]} */
      const found = await grafana('/api/search?type=dash-db');
      assert.ok(found.length > 0);
      for (const { uid } of found) {
        const { dashboard } = await grafana(`/api/dashboards/uid/${uid}`);
        assert.ok(dashboard.panels.length > 0);
      }
    });

    it('says what it costs', async () => {
      console.log(await measure(stacks.containers('mock')));
    });

    it('heals when each container is killed', async () => {
      const before = stacks.containers('mock');
      // From inside: what is killed from outside was meant to end, and is not started again.
      for (const { id } of before.values()) dockerDid('exec', id, '/bin/sh', '-c', KILL_ALL);
      await eventually(DEADLINE_SECONDS, () => {
        for (const [service, { restarts, isHealthy }] of stacks.containers('mock')) {
          assert.ok(restarts > (before.get(service)?.restarts ?? 0), `${service} was not started again`);
          assert.ok(isHealthy, `${service} is not healthy`);
        }
      });
      await everyTargetIsUp();
    });

    it('heals when the engine is restarted', { skip: noRestart }, async () => {
      stacks.removeBeside('receiver');
      const services = stacks.containers('mock').size;
      restartEngine();
      await eventually(DEADLINE_SECONDS, () => {
        const states = [...stacks.containers('mock')];
        assert.equal(states.length, services);
        for (const [service, { isHealthy }] of states) assert.ok(isHealthy, `${service} is not healthy`);
      });
      await everyTargetIsUp();
    });

    it('keeps its data when it is taken down, and leaves nothing else', async () => {
      stacks.removeBeside('receiver');
      const at = Date.now() / 1000;
      const known = await stacks.query('llm_up', { at });
      assert.equal(known.length, 5);
      const down = await stacks.make(['down'], env);
      assert.equal(down.status, 0, down.output);
      const [containers, networks, volumes] = stacks.remains('mock');
      assert.deepEqual({ containers, networks }, { containers: [], networks: [] });
      assert.ok(volumes?.some((name) => name.endsWith('_prometheus-data')));
      const again = await stacks.make(['up', ...UP], env);
      assert.equal(again.status, 0, again.output);
      console.log(`down ${down.seconds.toFixed(1)} s, up again ${again.seconds.toFixed(1)} s`);
      const sorted = (/** @type {typeof known} */ series) => series.map((one) => JSON.stringify(one)).sort();
      assert.deepEqual(sorted(await stacks.query('llm_up', { at })), sorted(known));
    });

    it('loses its data on reset alone, and then has nothing left', async () => {
      const refused = await stacks.make(['reset'], env);
      assert.notEqual(refused.status, 0, 'nobody was there to be asked');
      assert.ok(stacks.containers('mock').size > 0);
      const { status, output } = await stacks.make(['reset', 'ARGS=--yes'], env);
      assert.equal(status, 0, output);
      assert.deepEqual(stacks.remains('mock'), [[], [], []]);
    });
  });

  describe('ENV=dev', () => {
    before(() => started({ ENV: 'dev' }));
    after(() => stacks.removeContainers());

    it('comes up with every target up, and the exporters on ports of this host', async () => {
      await everyTargetIsUp();
      for (const port of ['DEV_LLM_EXPORTER_PORT', 'DEV_NODE_EXPORTER_PORT']) {
        const response = await fetch(`http://127.0.0.1:${stacks.port(port)}/metrics`);
        assert.equal(response.status, 200);
      }
    });

    it('runs a bundle that was built anew', async () => {
      utimesSync(join(stacks.folder, 'apps/llm-exporter/dist/main.cjs'), new Date(), new Date());
      const id = stacks.containers('dev').get('llm-exporter')?.id ?? '';
      await eventually(DEADLINE_SECONDS, () => assert.match(docker('logs', id), /main\.cjs has changed/));
      await eventually(DEADLINE_SECONDS, async () => {
        const response = await fetch(`http://127.0.0.1:${stacks.port('DEV_LLM_EXPORTER_PORT')}/metrics`);
        assert.equal(response.status, 200);
      });
    });

    it('takes changed settings up on restart', async () => {
      const { status, output } = await stacks.make(['restart', ...UP], { PROMETHEUS_RETENTION: '2d' });
      assert.equal(status, 0, output);
      const flags = await stacks.get('PROMETHEUS_PORT', '/api/v1/status/flags');
      assert.equal(flags.data['storage.tsdb.retention.time'], '2d');
    });

    it('leaves nothing behind', () => leavesNothing('dev'));
  });

  describe('ENV=prod', () => {
    /** @type {import('./stack.mjs').Ended} */
    let up;
    before(async () => (up = await started({ LLM_EXPORTER_TARGETS: 'chat=http://engine:8000' })));
    after(() => stacks.removeContainers());

    it('comes up with every target up, and says what it does without', async () => {
      const { output } = up;
      assert.match(output, /^GPUs: (none|nvidia|cdi|amd) \(.+\)\.$/m);
      if (!stacks.containers('prod').has('gpu-exporter'))
        assert.match(output, /there will be no figures of GPUs/);
      await everyTargetIsUp();
      await hasSeries('llm_up{server="chat"} == 0', 1);
    });

    it('sees an engine that comes later, on its network', async () => {
      stacks.startBeside('prod', 'engine', 'llm-monitor/mock-exporter:dev');
      await hasSeries('llm_up{server="chat",engine="vllm"} == 1', 1);
      await hasSeries('rate(llm_generation_tokens_total{server="chat"}[1m]) > 0', 1);
      stacks.removeBeside('engine');
    });

    it('lets nobody look without a password', { skip: skipFor(noGrafana) }, async () => {
      const response = await fetch(`http://127.0.0.1:${stacks.port('GRAFANA_PORT')}/api/search`);
      assert.equal(response.status, 401);
      const found = await grafana('/api/search?type=dash-db');
      assert.ok(found.length > 0);
    });

    it('leaves nothing behind', () => leavesNothing('prod'));

    it('says that the disk is full in one sentence with one command', async () => {
      smallVolume('llm-monitor-e2e-prod', 'prometheus-data', 65534);
      const { status, output } = await stacks.make(['up', ...UP], { STACK_WAIT_SECONDS: '30' });
      assert.notEqual(status, 0, output);
      assert.match(
        output,
        /The disk is full, and prometheus cannot write its data\.\n {2}docker system prune/,
      );
      await leavesNothing('prod');
    });

    it('comes up with the NVIDIA runtime', { skip: notOurs }, async () => {
      restartEngine({ fakeNvidia: true });
      const { output } = await started({ GPU: 'nvidia' });
      assert.match(output, /GPUs: nvidia \(asked for/);
      assert.ok(stacks.containers('prod').get('gpu-exporter')?.isHealthy);
      await everyTargetIsUp();
      await leavesNothing('prod');
    });
  });
});

/** Starts an environment; all of its tests fail where that does. @param {Readonly<Record<string, string>>} env */
async function started(env) {
  const up = await stacks.make(['up', ...UP], env);
  console.log(`${up.output}make up: ${up.seconds.toFixed(1)} s`);
  assert.equal(up.status, 0, 'make up failed');
  return up;
}

/** The images that the stack may fetch, and the base of ours. */
function imagesOfStack() {
  const files = ['docker-compose.yml', 'docker-compose.long-term.yml', 'docker-compose.mock.yml'];
  const named = files.flatMap((name) =>
    [...readFileSync(join(workspaceRoot, 'compose', name), 'utf8').matchAll(/^ +image: (\S+)$/gm)].map(
      ([, image = '']) => image,
    ),
  );
  return named.filter((image) => !image.startsWith('llm-monitor/'));
}

/** The queries of a dashboard, with its variables filled in as Grafana does by default. @param {string} dashboard */
function queriesOf(dashboard) {
  /** @type {{ panels: { title: string, targets?: { expr: string }[] }[] }} */
  const { panels } = JSON.parse(
    readFileSync(join(workspaceRoot, `compose/grafana/dashboards/${dashboard}.json`), 'utf8'),
  );
  return panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({
      title,
      query: expr.replaceAll('$__rate_interval', '1m').replaceAll(/"\$\w+"/g, '".*"'),
    })),
  );
}

/** @param {string} query @param {number} [atLeast] */
async function hasSeries(query, atLeast = 1) {
  await eventually(DEADLINE_SECONDS, async () => {
    const found = (await stacks.query(query)).filter(({ value }) => Number.isFinite(Number(value[1])));
    assert.ok(found.length >= atLeast, `${found.length} series with a value, and not ${atLeast}`);
  });
}

async function everyTargetIsUp() {
  await eventually(DEADLINE_SECONDS, async () => {
    /** @type {{ health: string, labels: { job: string }, lastError: string }[]} */
    const targets = (await stacks.get('PROMETHEUS_PORT', '/api/v1/targets?state=active')).data.activeTargets;
    const wanted = targets.filter(({ labels }) => hasGrafana || labels.job !== 'grafana');
    assert.ok(wanted.length >= 4);
    assert.deepEqual(
      wanted
        .filter(({ health }) => health !== 'up')
        .map(({ labels, lastError }) => `${labels.job}: ${lastError}`),
      [],
    );
  });
}

/** @param {string} name @param {string} target */
function startIncident(name, target) {
  const id = stacks.containers('mock').get('mock-exporter')?.id ?? '';
  docker('exec', id, 'node', 'main.cjs', 'start', name, target);
}

/** @param {string} environment */
async function leavesNothing(environment) {
  const { status, output } = await stacks.make(['reset', 'ARGS=--yes'], { ENV: environment });
  assert.equal(status, 0, output);
  assert.deepEqual(stacks.remains(environment), [[], [], []]);
}

/** A volume of the stack that is full from the start. @param {string} project @param {string} name @param {number} uid */
function smallVolume(project, name, uid) {
  const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.volume=${name}`];
  const options = ['type=tmpfs', 'device=tmpfs', `o=nr_inodes=2,uid=${uid}`];
  assert.ok(
    dockerDid(
      ...['volume', 'create', ...labels.flatMap((label) => ['--label', label])],
      ...[...options.flatMap((option) => ['--opt', option]), `${project}_${name}`],
    ),
  );
}

/** @param {string} path @returns {Promise<any>} */
async function grafana(path) {
  const password = readFileSync(join(stacks.folder, 'compose/secrets/grafana/admin-password'), 'utf8').trim();
  const response = await fetch(`http://127.0.0.1:${stacks.port('GRAFANA_PORT')}${path}`, {
    headers: { authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` },
  });
  assert.equal(response.status, 200, `${path}: ${response.status}`);
  return response.json();
}
