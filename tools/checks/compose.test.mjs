import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

/** @typedef {Record<string, any>} Service  A service as `docker compose config` prints it. */

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const shared = resolve(workspaceRoot, process.env['LLM_MONITOR_SHARED'] ?? '../shared');
const hasCompose = composeAnswers() || composeComes();
const noCompose = hasCompose ? false : 'no docker compose: the compose files cannot be put together';

const ENVIRONMENTS = ['dev', 'mock', 'prod'];
const GPUS = ['none', 'nvidia', 'cdi', 'amd'];
/** Each combination that `make up` can make; the mock has GPUs of its own. */
const COMBINATIONS = ENVIRONMENTS.flatMap((environment) =>
  GPUS.filter((gpu) => environment !== 'mock' || gpu === 'none').flatMap((gpu) =>
    [false, true].map((longTerm) => ({ environment, gpu, longTerm })),
  ),
);

describe('the compose files', { skip: noCompose }, () => {
  for (const combination of COMBINATIONS) {
    const { environment, gpu, longTerm } = combination;
    describe(`ENV=${environment} GPU=${gpu}${longTerm ? ' with long-term storage' : ''}`, () => {
      /** @type {[string, Service][]} */
      let services = [];
      before(() => {
        services = Object.entries(composed(combination).services);
      });

      it('has its services', () => {
        const expected = ['alertmanager', 'grafana', 'llm-exporter', 'node-exporter', 'prometheus'];
        if (environment === 'mock') expected.push('mock-exporter');
        if (environment === 'mock' || gpu !== 'none') expected.push('gpu-exporter');
        if (longTerm) expected.push('victoriametrics');
        assert.deepEqual(services.map(([name]) => name).sort(), expected.sort());
      });

      it('hardens every service', () => {
        for (const [name, service] of services) {
          assert.equal(service['read_only'], true, name);
          assert.deepEqual(service['cap_drop'], ['ALL'], name);
          assert.equal(service['cap_add'], undefined, name);
          assert.equal(service['privileged'], undefined, name);
          assert.equal(service['network_mode'], undefined, name);
          assert.deepEqual(service['security_opt'], ['no-new-privileges:true'], name);
          assert.match(service['user'], /^[1-9]\d*:\d+$/, name);
        }
      });

      it('limits every service, and what it logs', () => {
        for (const [name, service] of services) {
          assert.ok(Number(service['mem_limit']) > 0, name);
          assert.ok(service['cpus'] > 0, name);
          assert.ok(service['pids_limit'] > 0, name);
          assert.match(service['restart'], /^(always|unless-stopped)$/, name);
          assert.deepEqual(service['logging'].options, { 'max-file': '3', 'max-size': '10m' }, name);
          assert.ok(service['healthcheck'].interval, name);
        }
      });

      it('waits for what is healthy, never merely for what runs', () => {
        const conditions = services.flatMap(([, service]) =>
          Object.values(/** @type {Record<string, Service>} */ (service['depends_on'] ?? {})).map(
            (on) => on['condition'],
          ),
        );
        assert.ok(conditions.length > 0);
        assert.deepEqual([...new Set(conditions)], ['service_healthy']);
      });

      it('listens on loopback only', () => {
        const ports = services.flatMap(([, service]) => service['ports'] ?? []);
        assert.ok(ports.length >= 3);
        assert.deepEqual([...new Set(ports.map((port) => port.host_ip))], ['127.0.0.1']);
      });

      it('names a version of every image that is fetched, and fetches none of ours', () => {
        for (const [name, service] of services) {
          if (service['image'].startsWith('llm-monitor/'))
            assert.equal(service['pull_policy'], 'never', name);
          else assert.match(service['image'], /^[a-z/-]+:v?\d+\.\d+\.\d+$/, name);
        }
      });

      it('gives the GPUs and processes of the host to nobody but the exporter of an overlay', () => {
        for (const [name, service] of services) {
          const mayHave = name === 'gpu-exporter' && gpu !== 'none';
          const has = ['deploy', 'devices', 'gpus', 'runtime', 'pid'].filter(
            (key) => service[key] !== undefined && JSON.stringify(service[key]) !== '{}',
          );
          assert.deepEqual(has, mayHave ? (gpu === 'amd' ? ['pid'] : ['deploy', 'pid']) : [], name);
        }
      });

      it('mounts files of the host for reading only', () => {
        const binds = services.flatMap(([, service]) =>
          (service['volumes'] ?? []).filter((/** @type {Service} */ { type }) => type === 'bind'),
        );
        assert.ok(binds.length > 5);
        assert.deepEqual(
          binds.filter((bind) => bind.read_only !== true),
          [],
        );
      });

      it('mounts nothing that is not there', () => {
        const sources = services
          .flatMap(([, service]) => service['volumes'] ?? [])
          .filter(({ type, source }) => type === 'bind' && !source.includes('/compose/secrets/'))
          .map(({ source }) => source);
        assert.deepEqual(
          sources.filter((source) => !existsSync(source)),
          [],
        );
      });
    });
  }

  it('lets nobody look without a password in prod', () => {
    const anonymous = (/** @type {string} */ environment) =>
      composed({ environment, gpu: 'none', longTerm: false }).services['grafana']?.['environment']
        .GF_AUTH_ANONYMOUS_ENABLED;
    assert.deepEqual(ENVIRONMENTS.map(anonymous), ['true', 'true', 'false']);
  });

  it('does not start VictoriaMetrics for a storage elsewhere', () => {
    const elsewhere = composed({ environment: 'prod', gpu: 'none', longTerm: true, profiles: [] });
    assert.equal(elsewhere.services['victoriametrics'], undefined);
  });
});

describe('the configuration of Alertmanager', () => {
  /** @type {string} */
  let folder;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'llm-monitor-alertmanager-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const CASES = [
    { what: 'nobody', env: {}, secrets: {}, said: 'nobody', receiver: {} },
    {
      what: 'a webhook',
      env: { ALERT_WEBHOOK_URL: "http://hook/it's" },
      secrets: {},
      said: 'webhook',
      receiver: { webhook_configs: [{ url: "http://hook/it's", send_resolved: true }] },
    },
    {
      what: 'a webhook whose address is secret',
      env: { ALERT_WEBHOOK_URL: 'http://other' },
      secrets: { 'webhook-url': 'http://hook/key' },
      said: 'webhook',
      receiver: { webhook_configs: [{ url_file: 'SECRETS/webhook-url', send_resolved: true }] },
    },
    {
      what: 'e-mail',
      env: {
        ALERT_EMAIL_TO: 'a@example.org',
        ALERT_EMAIL_FROM: 'b@example.org',
        ALERT_SMTP_SERVER: 'smtp.example.org:587',
        ALERT_SMTP_USER: 'b',
      },
      secrets: { 'smtp-password': 'x' },
      said: 'e-mail',
      receiver: {
        email_configs: [
          {
            to: 'a@example.org',
            from: 'b@example.org',
            smarthost: 'smtp.example.org:587',
            send_resolved: true,
            auth_username: 'b',
            auth_password_file: 'SECRETS/smtp-password',
          },
        ],
      },
    },
    {
      what: 'Slack',
      env: { ALERT_SLACK_CHANNEL: '#gpus' },
      secrets: { 'slack-url': 'https://hooks.example.org/x' },
      said: 'Slack',
      receiver: {
        slack_configs: [{ api_url_file: 'SECRETS/slack-url', send_resolved: true, channel: '#gpus' }],
      },
    },
  ];
  for (const { what, env, secrets, said, receiver } of CASES) {
    it(`sends to ${what}`, async () => {
      const { status, stderr } = startAlertmanager(folder, env, secrets);
      assert.equal(status, 0, stderr);
      assert.match(stderr, new RegExp(`sent to: ${said}`));
      const { parse } = await import('yaml');
      const written = parse(readFileSync(join(folder, 'rendered.yml'), 'utf8').replaceAll(folder, 'SECRETS'));
      assert.deepEqual(written.receivers[0], { name: 'everybody', ...receiver });
      assert.deepEqual(written.receivers[1], { name: 'watchdog' });
    });
  }

  const REFUSED = [
    { env: { ALERT_EMAIL_TO: 'a@example.org' }, said: 'ALERT_EMAIL_FROM is not' },
    { env: { ALERT_SLACK_CHANNEL: '#gpus' }, said: 'compose/secrets/alertmanager/slack-url' },
  ];
  for (const { env, said } of REFUSED) {
    it(`refuses ${Object.keys(env).join()} alone`, () => {
      const { status, stderr } = startAlertmanager(folder, env, {});
      assert.equal(status, 2);
      assert.match(stderr, new RegExp(said));
    });
  }
});

describe('the configuration of Prometheus with long-term storage', () => {
  /** @type {string} */
  let folder;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'llm-monitor-prometheus-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const CASES = [
    { storage: '', url: 'http://victoriametrics:8428/api/v1/write' },
    { storage: 'victoriametrics', url: 'http://victoriametrics:8428/api/v1/write' },
    { storage: 'https://mimir/api/v1/push', url: 'https://mimir/api/v1/push' },
    { storage: 'mimir:9009', url: undefined },
  ];
  for (const { storage, url } of CASES) {
    it(`${url === undefined ? 'refuses' : 'writes to'} ${JSON.stringify(storage)}`, async () => {
      const rendered = join(folder, 'rendered.yml');
      const { status, stderr } = spawnSync(
        'sh',
        [join(workspaceRoot, 'compose/prometheus/start-long-term.sh'), '--config.file=base'],
        {
          encoding: 'utf8',
          env: {
            PATH: process.env['PATH'],
            LONG_TERM_STORAGE: storage,
            PROMETHEUS_CONFIG: join(workspaceRoot, 'compose/prometheus/prometheus.yml'),
            PROMETHEUS_RENDERED: rendered,
            PROMETHEUS_PROGRAM: 'true',
            SECRETS_FOLDER: folder,
          },
        },
      );
      assert.equal(status, url === undefined ? 2 : 0, stderr);
      if (url === undefined) return;
      const { parse } = await import('yaml');
      assert.deepEqual(parse(readFileSync(rendered, 'utf8')).remote_write, [{ url }]);
    });
  }
});

/** What the fake docker is told, the files of the host and project, and what the script must then say. */
const FAULTS = [
  {
    what: 'no Docker',
    command: ['up'],
    docker: null,
    says: 'Docker is not installed, and the stack runs in containers (make start does without).',
    then: 'scripts/setup/install-dependencies.sh',
  },
  {
    what: 'Docker without Compose v2',
    command: ['up'],
    docker: { compose: 'no' },
    says: 'This Docker has no Compose v2 (the old docker-compose will not do).',
    then: 'scripts/setup/install-dependencies.sh',
  },
  {
    what: 'an engine that does not answer',
    command: ['up'],
    docker: { infoError: 'Cannot connect to the Docker daemon' },
    says: 'Docker is installed, and its engine does not answer.',
    then: 'sudo systemctl start docker',
  },
  {
    what: 'an engine that one may not use',
    command: ['up'],
    docker: { infoError: 'permission denied while trying to connect' },
    says: 'You may not use Docker on this host (log in anew afterwards).',
    then: 'sudo usermod -aG docker',
  },
  {
    what: 'another ENV',
    command: ['up'],
    env: { ENV: 'staging' },
    says: 'ENV=staging is none of dev, mock and prod.',
    then: 'make up ENV=mock',
  },
  {
    what: 'another GPU',
    command: ['up'],
    env: { GPU: 'intel' },
    says: 'GPU=intel is none of auto, nvidia, cdi, amd and none.',
    then: 'make up ENV=prod GPU=auto',
  },
  {
    what: 'a real GPU with the mock',
    command: ['up'],
    env: { ENV: 'mock', GPU: 'amd' },
    says: 'ENV=mock has simulated GPUs, and GPU=amd wants real ones.',
    then: 'make up ENV=prod GPU=amd',
  },
  {
    what: 'NVIDIA asked for without its runtime',
    command: ['up'],
    env: { GPU: 'nvidia' },
    says: 'GPU=nvidia was asked for, and this Docker has no NVIDIA runtime.',
    then: 'scripts/setup/setup-nvidia-toolkit.sh',
  },
  {
    what: 'CDI asked for without a specification',
    command: ['up'],
    env: { GPU: 'cdi' },
    says: 'GPU=cdi was asked for, which takes Docker Engine 28 and a CDI specification for nvidia.com/gpu.',
    then: 'scripts/setup/setup-nvidia-toolkit.sh --cdi',
  },
  {
    what: 'CDI asked for with an old engine',
    command: ['up'],
    env: { GPU: 'cdi' },
    docker: { version: '26.1.5' },
    host: { 'etc/cdi/nvidia.yaml': 'kind: nvidia.com/gpu\n' },
    says: 'GPU=cdi was asked for, which takes Docker Engine 28 and a CDI specification for nvidia.com/gpu.',
    then: 'scripts/setup/setup-nvidia-toolkit.sh --cdi',
  },
  {
    what: 'AMD asked for without a card',
    command: ['up'],
    env: { GPU: 'amd' },
    host: { 'sys/class/drm/card0/device/vendor': '0x10de\n' },
    says: 'GPU=amd was asked for, and no card of AMD is in /sys/class/drm.',
    then: 'make up ENV=prod GPU=none',
  },
  {
    what: 'a .env of Windows',
    command: ['up'],
    files: { '.env': 'GPU=none\nSTACK_SITE=a\r\n' },
    says: 'Line 2 of .env ends as on Windows, and the end would become a part of the value.',
    then: "sed -i 's/\\r$//' .env",
  },
  {
    what: 'a space before the = of .env',
    command: ['up'],
    files: { '.env': 'GPU =none\n' },
    says: 'Line 1 of .env has spaces around its name or its =, where none may be.',
    then: "sed -i -E 's/",
  },
  {
    what: 'a space behind the = of .env',
    command: ['ps'],
    files: { '.env': '# a = b\nGPU= none\n' },
    says: 'Line 2 of .env has spaces around its name or its =, where none may be.',
    then: "sed -i -E 's/",
  },
  {
    what: 'a secret that the container could not read',
    command: ['up'],
    files: { 'compose/secrets/alertmanager/slack-url': 'x' },
    modes: { 'compose/secrets/alertmanager/slack-url': 0o600 },
    says: 'The secret compose/secrets/alertmanager/slack-url cannot be read by the container that needs it.',
    then: 'chmod -R a+rX compose/secrets/alertmanager/slack-url',
  },
  {
    what: 'a disk that is nearly full',
    command: ['up'],
    docker: { freeKilobytes: '500000' },
    says: 'Only 488 MiB are free in',
    then: 'docker system prune',
  },
  {
    what: 'an image that cannot be fetched',
    command: ['up'],
    docker: { images: 'prom/prometheus:v3.5.0', pull: 'no' },
    says: 'The image prom/prometheus:v3.5.0 could not be fetched: is the network there, and may this host use it?',
    then: 'docker pull prom/prometheus:v3.5.0',
  },
  {
    what: 'GPUs that Docker cannot hand on, asked for',
    command: ['up'],
    env: { GPU: 'nvidia' },
    docker: { runtimes: 'nvidia runc', upError: 'could not select device driver "nvidia" with capabilities' },
    says: 'Docker could not hand the GPUs on (GPU=nvidia): could not select device driver "nvidia"',
    then: 'make up ENV=prod GPU=none',
  },
  {
    what: 'a disk that is full when the stack starts',
    command: ['up'],
    docker: { upError: 'write /var/lib/docker/x: no space left on device' },
    says: 'The disk of Docker is full.',
    then: 'docker system prune',
  },
  {
    what: 'Prometheus without room for its data',
    command: ['up'],
    docker: {
      upError: 'container prometheus is unhealthy',
      states: 'alertmanager running healthy\nprometheus restarting',
      logs: 'opening storage failed: no space left on device',
    },
    says: 'The disk is full, and prometheus cannot write its data.',
    then: 'docker system prune',
  },
  {
    what: 'a service that does not become healthy',
    command: ['up'],
    docker: {
      upError: 'container grafana is unhealthy',
      states: 'grafana running unhealthy',
      logs: 'last words',
    },
    says: 'grafana is unhealthy; the last it said is above.',
    then: 'make logs ENV=prod ARGS=grafana',
  },
  {
    what: 'a port that is taken as the containers start',
    command: ['up'],
    docker: { upError: 'Bind for 127.0.0.1:9093 failed: port is already allocated' },
    says: 'A port is taken by another program: 127.0.0.1:9093.',
    then: 'sudo ss -ltnp',
  },
  {
    what: 'a long-term storage that is none',
    command: ['up'],
    env: { LONG_TERM_STORAGE: 'thanos' },
    says: 'LONG_TERM_STORAGE=thanos is neither victoriametrics nor an http address.',
    then: 'make up LONG_TERM_STORAGE=victoriametrics',
  },
  {
    what: 'a reset that nobody can confirm',
    command: ['reset'],
    says: 'This removes the data of ENV=prod for good, and nobody is here to be asked.',
    then: 'make reset ENV=prod ARGS=--yes',
  },
  {
    what: 'several stacks and no ENV',
    command: ['down'],
    docker: { projects: 'llm-monitor-dev\nllm-monitor-mock' },
    says: 'Several stacks are there (dev mock): say which.',
    then: 'make down ENV=dev',
  },
];

/** The nearest cases that are no faults: what is started, with which overlays. */
const WELL = [
  { what: 'no .env', said: /There is no \.env, so every setting has its default/, gpu: undefined },
  { what: 'ENV of a shell', env: { ENV: '/etc/profile' }, said: /Healthy after/, gpu: undefined },
  { what: 'no GPU at all', said: /GPUs: none \(no driver of NVIDIA and no card of AMD/, gpu: undefined },
  {
    what: 'an NVIDIA driver and the runtime',
    docker: { runtimes: 'nvidia runc' },
    host: { 'proc/driver/nvidia/version': 'NVRM' },
    said: /GPUs: nvidia \(an NVIDIA driver is here, and Docker has the NVIDIA runtime\)/,
    gpu: 'nvidia',
  },
  {
    what: 'the runtime without a driver',
    docker: { runtimes: 'nvidia runc' },
    said: /GPUs: none \(no driver/,
    gpu: undefined,
  },
  {
    what: 'an NVIDIA driver and a CDI specification',
    host: { 'dev/nvidiactl': '', 'etc/cdi/nvidia.yaml': 'kind: nvidia.com/gpu\n' },
    said: /GPUs: cdi \(/,
    gpu: 'cdi',
  },
  {
    what: 'an NVIDIA driver and neither',
    host: { 'dev/nvidiactl': '' },
    said: /GPUs: none \(an NVIDIA driver is here, and Docker cannot hand its GPUs on \(scripts\/setup\/setup-nvidia-toolkit\.sh mends that\)/,
    gpu: undefined,
  },
  {
    what: 'a card of AMD',
    host: { 'sys/class/drm/card1/device/vendor': '0x1002\n' },
    said: /GPUs: amd \(/,
    gpu: 'amd',
  },
  {
    what: 'NVIDIA asked for with the runtime',
    env: { GPU: 'nvidia' },
    docker: { runtimes: 'nvidia runc' },
    said: /GPUs: nvidia \(asked for/,
    gpu: 'nvidia',
  },
  {
    what: 'GPU in .env, quoted',
    files: { '.env': 'GPU="none"\nSTACK_SITE=a b\n' },
    said: /GPUs: none \(asked for/,
    gpu: undefined,
  },
  {
    what: 'GPUs that turn out not to work, not asked for',
    docker: {
      runtimes: 'nvidia runc',
      upErrorOnce: 'could not select device driver "nvidia" with capabilities',
    },
    host: { 'dev/nvidiactl': '' },
    said: /GPUs: none after all, for Docker could not hand them on/,
    gpu: undefined,
  },
  {
    what: 'a name in .env that is none of ours',
    files: { '.env': 'PROMETHEUS_RETENTOIN=30d\n' },
    said: /PROMETHEUS_RETENTOIN in \.env is no setting of ours and changes nothing/,
    gpu: undefined,
  },
];

describe('make up', () => {
  /** @type {string} */
  let folder;
  /** @type {string} */
  let programs;
  before(() => {
    programs = mkdtempSync(join(tmpdir(), 'llm-monitor-programs-'));
    const used =
      'bash awk base64 cat chmod cp cut date dirname find grep head id mkdir sed sort stat tail tr xargs';
    for (const program of used.split(' ')) symlinkSync(pathOf(program), join(programs, program));
  });
  after(() => rmSync(programs, { recursive: true, force: true }));
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'llm-monitor-stack-'));
    cpSync(join(workspaceRoot, 'compose'), join(folder, 'compose'), {
      recursive: true,
      filter: (source) => !/compose\/(secrets|prometheus\/targets)\/./.test(source),
    });
    for (const file of ['scripts/development/compose.sh', '.env.example']) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      cpSync(join(workspaceRoot, file), join(folder, file));
    }
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  for (const { what, says, then, ...fault } of FAULTS) {
    it(`tells of ${what} in one sentence with one command`, () => {
      const { status, stderr } = stack(folder, programs, fault);
      const told = stderr.trimEnd().split('\n').slice(-2);
      assert.equal(status, 1, stderr);
      assert.ok(told[0]?.startsWith(says), stderr);
      assert.ok(told[1]?.startsWith(`  ${then}`), stderr);
    });
  }

  for (const { what, said, gpu, ...well } of WELL) {
    it(`starts with ${what}`, () => {
      const { status, stdout, stderr, calls } = stack(folder, programs, { command: ['up'], ...well });
      assert.equal(status, 0, stderr);
      assert.match(stdout + stderr, said);
      const started = calls.filter((call) => / up -d /.test(call)).at(-1) ?? '';
      assert.match(started, /-f compose\/docker-compose\.yml -f compose\/docker-compose\.prod\.yml/);
      assert.equal(/docker-compose\.gpu-(\w+)\.yml/.exec(started)?.[1], gpu);
    });
  }

  it('names the stack that has the port, and a free port where another program has it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((done) => server.once('listening', done));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const env = { GRAFANA_PORT: String(port) };
    try {
      const other = stack(folder, programs, { command: ['up'], env });
      assert.match(
        other.stderr,
        new RegExp(`^Port ${port}, for grafana, is taken by another program\\.$`, 'm'),
      );
      assert.match(other.stderr, /^ {2}make up ENV=prod GRAFANA_PORT=\d+$/m);
      const ours = stack(folder, programs, { command: ['up'], env, docker: { projects: 'llm-monitor-dev' } });
      assert.match(
        ours.stderr,
        new RegExp(`^Port ${port} is taken by the stack of ENV=dev\\.\n {2}make down ENV=dev$`, 'm'),
      );
      const same = stack(folder, programs, {
        command: ['up'],
        env,
        docker: { projects: 'llm-monitor-prod' },
      });
      assert.equal(same.status, 0, same.stderr);
    } finally {
      server.close();
    }
  });

  it('makes a password once, in a folder that keeps others out, and says where it is', () => {
    const file = join(folder, 'compose/secrets/grafana/admin-password');
    const first = stack(folder, programs, { command: ['up'] });
    const password = readFileSync(file, 'utf8');
    assert.match(first.stdout, /user admin, password in compose\/secrets\/grafana\/admin-password/);
    assert.match(password, /^[\w-]{24}\n$/);
    assert.equal(first.stdout.includes(password.trim()), false);
    assert.equal(statSync(join(folder, 'compose/secrets')).mode & 0o777, 0o700);
    stack(folder, programs, { command: ['up'] });
    assert.equal(readFileSync(file, 'utf8'), password);
  });

  it('starts VictoriaMetrics only where it is asked for by name', () => {
    const profiles = (/** @type {string} */ storage) =>
      stack(folder, programs, { command: ['up'], env: { LONG_TERM_STORAGE: storage } }).calls.filter((call) =>
        / up -d /.test(call),
      );
    assert.match(profiles('victoriametrics')[0] ?? '', /long-term\.yml --profile victoriametrics /);
    assert.doesNotMatch(profiles('http://mimir/api/v1/push')[0] ?? '', /--profile/);
  });

  it('removes volumes of its own stack only, and only on reset', () => {
    const docker = { volumes: 'llm-monitor-prod_prometheus-data' };
    const removed = (/** @type {string[]} */ command) =>
      stack(folder, programs, { command, docker }).calls.filter((call) => / rm /.test(call));
    assert.deepEqual(removed(['down']), []);
    assert.deepEqual(removed(['reset', '--yes']), ['docker volume rm llm-monitor-prod_prometheus-data']);
  });

  it('takes the one stack that is there, where no ENV is given', () => {
    const { calls } = stack(folder, programs, {
      command: ['down'],
      docker: { projects: 'other\nllm-monitor-mock' },
    });
    assert.ok(calls.some((call) => call.includes('-p llm-monitor-mock down')));
  });
});

/**
 * Runs the script in a copy of the project, on a host of its own, with a docker that only writes down what it is asked.
 * @param {string} folder @param {string} programs
 * @param {{ command: string[], docker?: Record<string, string> | null, env?: Record<string, string>,
 *   host?: Record<string, string>, files?: Record<string, string>, modes?: Record<string, number> }} run
 */
function stack(folder, programs, { command, docker = {}, env = {}, host = {}, files = {}, modes = {} }) {
  const bin = join(folder, 'bin');
  const calls = join(folder, 'calls');
  rmSync(calls, { force: true });
  rmSync(join(folder, 'failed-once'), { force: true });
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'df'), DF, { mode: 0o755 });
  if (docker !== null) writeFileSync(join(bin, 'docker'), DOCKER, { mode: 0o755 });
  for (const [file, text] of [
    ...Object.entries(host).map(([file, text]) => [join('host', file), text]),
    ...Object.entries(files),
  ]) {
    mkdirSync(dirname(join(folder, String(file))), { recursive: true });
    writeFileSync(join(folder, String(file)), String(text));
  }
  for (const [file, mode] of Object.entries(modes)) chmodSync(join(folder, file), mode);
  const fakes = Object.entries(docker ?? {}).map(([name, value]) => [`FAKE_${name}`, value]);
  const { status, stdout, stderr } = spawnSync(join(folder, 'scripts/development/compose.sh'), command, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${bin}:${programs}`,
      FAKE_folder: folder,
      STACK_HOST_ROOT: join(folder, 'host'),
      STACK_BUILD: 'false',
      // Ports that nobody has: the usual ones may be taken where this runs.
      ...{ GRAFANA_PORT: '1', PROMETHEUS_PORT: '1', ALERTMANAGER_PORT: '1' },
      ...Object.fromEntries(fakes),
      ...env,
    },
  });
  return {
    status,
    stdout,
    stderr,
    calls: existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [],
  };
}

const DF = `#!/usr/bin/env bash
printf 'Filesystem 1024-blocks Used Available Capacity Mounted\\n/dev/x 9 9 %s 9%% /\\n' "\${FAKE_freeKilobytes:-99000000}"
`;

const DOCKER = `#!/usr/bin/env bash
echo "docker $*" >>"$FAKE_folder/calls"
refuse() { echo "$1" >&2; exit 1; }
case "$*" in
  'compose version') [[ -z \${FAKE_compose:-} ]] ;;
  'info --format {{.ServerVersion}}')
    if [[ -n \${FAKE_infoError:-} ]]; then refuse "$FAKE_infoError"; fi
    echo "\${FAKE_version:-28.5.2}" ;;
  'info --format {{range'*) echo "\${FAKE_runtimes:-runc}" ;;
  'info --format {{.DockerRootDir}}') echo "$FAKE_folder" ;;
  'ps '*) echo "\${FAKE_projects:-}" ;;
  'volume ls '*) if [[ -n \${FAKE_volumes:-} ]]; then echo "$FAKE_volumes"; fi ;;
  'volume inspect '*) exit 1 ;;
  'image inspect '*) [[ -z \${FAKE_pull:-} ]] ;;
  'pull '*) [[ -z \${FAKE_pull:-} ]] ;;
  *' config --images') echo "\${FAKE_images:-llm-monitor/llm-exporter:dev}" ;;
  *' up -d '*)
    if [[ -n \${FAKE_upError:-} ]]; then refuse "$FAKE_upError"; fi
    if [[ -n \${FAKE_upErrorOnce:-} && ! -e $FAKE_folder/failed-once ]]; then
      : >"$FAKE_folder/failed-once"
      refuse "$FAKE_upErrorOnce"
    fi ;;
  *' ps -a --format '*) if [[ -n \${FAKE_states:-} ]]; then echo "$FAKE_states"; fi ;;
  *' logs '*) echo "\${FAKE_logs:-}" ;;
esac
`;

/** @param {string} folder @param {Record<string, string>} env @param {Record<string, string>} secrets */
function startAlertmanager(folder, env, secrets) {
  for (const [name, text] of Object.entries(secrets)) writeFileSync(join(folder, name), text);
  return spawnSync('sh', [join(workspaceRoot, 'compose/alertmanager/start.sh')], {
    encoding: 'utf8',
    env: {
      PATH: process.env['PATH'],
      SECRETS_FOLDER: folder,
      ALERTMANAGER_RENDERED: join(folder, 'rendered.yml'),
      ALERTMANAGER_PROGRAM: 'true',
      ...env,
    },
  });
}

/**
 * The whole configuration of a combination, as Compose understands it.
 * @param {{ environment: string, gpu: string, longTerm: boolean, profiles?: string[] }} combination
 * @returns {{ services: Record<string, Service> }}
 */
function composed({ environment, gpu, longTerm, profiles = ['*'] }) {
  const files = ['docker-compose.yml', `docker-compose.${environment}.yml`];
  if (gpu !== 'none') files.push(`docker-compose.gpu-${gpu}.yml`);
  if (longTerm) files.push('docker-compose.long-term.yml');
  const text = execFileSync(
    'docker',
    [
      'compose',
      ...['--project-directory', 'compose', '--env-file', '/dev/null', '-p', 'test'],
      ...files.flatMap((file) => ['-f', join('compose', file)]),
      ...profiles.flatMap((profile) => ['--profile', profile]),
      ...['config', '--format', 'json'],
    ],
    { cwd: workspaceRoot, encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: process.env['HOME'] } },
  );
  return JSON.parse(text);
}

/** @param {string} program */
function pathOf(program) {
  const folders = (process.env['PATH'] ?? '').split(':');
  const found = folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
  assert.ok(found !== undefined, `${program} is not on PATH`);
  return found;
}

function composeAnswers() {
  return spawnSync('docker', ['compose', 'version']).status === 0;
}

/** Where a script is at hand that brings Compose, it is used. */
function composeComes() {
  const script = join(shared, 'tools/docker-up.sh');
  return existsSync(script) && spawnSync('bash', [script, '--plugins-only']).status === 0 && composeAnswers();
}
