// A stack of its own for tests: the real `make up` from a copy of the files it needs, under a name and on ports that no
// other stack has, so that neither the settings, secrets nor data of a stack beside it are touched.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { docker, dockerDid, workspaceRoot } from '../engine.mjs';

const { URLSearchParams, fetch, performance } = globalThis;

/** @typedef {Readonly<Record<string, string>>} Environment */
/** @typedef {{ status: number | null, output: string, seconds: number }} Ended */
/** @typedef {{ metric: Readonly<Record<string, string>>, value: [number, string], values: [number, string][] }} Series */

const STACK_NAME = 'llm-monitor-e2e';
/** Containers that tests start beside a stack. */
export const BESIDE = /** @type {const} */ (['receiver', 'engine']);
const LABEL = 'com.docker.compose.project';
const PORTS = [
  'GRAFANA_PORT',
  'PROMETHEUS_PORT',
  'ALERTMANAGER_PORT',
  'LONG_TERM_PORT',
  'DEV_LLM_EXPORTER_PORT',
  'DEV_NODE_EXPORTER_PORT',
];

/** The stacks of one test run, one environment at a time. */
export class Stacks {
  // Below the workspace, since some engines see no other folder of the host.
  folder = join(workspaceRoot, '.cache/e2e/stack');
  /** @type {Record<string, string>} */
  #environment = {};

  /** Copies the files and chooses the ports. */
  async prepare() {
    rmSync(this.folder, { recursive: true, force: true });
    mkdirSync(this.folder, { recursive: true });
    for (const path of ['Makefile', '.env.example', 'scripts', 'compose']) {
      cpSync(join(workspaceRoot, path), join(this.folder, path), {
        recursive: true,
        filter: (source) =>
          !/compose\/(secrets\/[^/]+\/[^/]+|prometheus\/targets\/[^/]+\.yml)$/.test(source) ||
          source.includes('example'),
      });
    }
    // ENV=dev runs the bundle of the working copy.
    cpSync(join(workspaceRoot, 'apps/llm-exporter/dist'), join(this.folder, 'apps/llm-exporter/dist'), {
      recursive: true,
    });
    const ports = await freePorts(PORTS.length);
    this.#environment = {
      STACK_NAME,
      STACK_BUILD: 'false', // the tests did
      ...Object.fromEntries(PORTS.map((name, index) => [name, String(ports[index])])),
    };
  }

  /** The port of this host that a service of the stack is on. @param {string} variable such as PROMETHEUS_PORT */
  port(variable) {
    return this.#environment[variable] ?? '';
  }

  /**
   * Runs `make` in the copy. Settings of the caller's own environment do not reach it.
   * @param {readonly string[]} args @param {Environment} [env]
   */
  make(args, env = {}) {
    return this.run('make', args, env);
  }

  /** Runs a program in the copy. @param {string} file @param {readonly string[]} args @param {Environment} [env] @returns {Promise<Ended>} */
  async run(file, args, env = {}) {
    const inherited = ['PATH', 'HOME', 'DOCKER_HOST', 'DOCKER_CONFIG'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    });
    const start = performance.now();
    const child = spawn(file, args, {
      cwd: this.folder,
      env: { ...Object.fromEntries(inherited), ...this.#environment, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output += text));
    await once(child, 'close');
    return { status: child.exitCode, output, seconds: (performance.now() - start) / 1000 };
  }

  /**
   * The containers of an environment by their service.
   * @param {string} environment @returns {Map<string, { id: string, isHealthy: boolean, restarts: number }>}
   */
  containers(environment) {
    const ids = docker('ps', '-aq', '--filter', `label=${LABEL}=${STACK_NAME}-${environment}`).split('\n');
    if (ids[0] === '') return new Map();
    /** @type {{ Id: string, RestartCount: number, State: any, Config: any }[]} */
    const found = JSON.parse(docker('inspect', ...ids));
    return new Map(
      found.map(({ Id: id, RestartCount: restarts, State: state, Config: config }) => [
        config.Labels['com.docker.compose.service'],
        { id, restarts, isHealthy: state.Running && state.Health?.Status === 'healthy' },
      ]),
    );
  }

  /** What an environment has left: containers, networks and volumes by name. @param {string} environment */
  remains(environment) {
    const mine = ['--filter', `label=${LABEL}=${STACK_NAME}-${environment}`];
    return [
      docker('ps', '-a', '--format', '{{.Names}}', ...mine),
      docker('network', 'ls', '--format', '{{.Name}}', ...mine),
      docker('volume', 'ls', '--format', '{{.Name}}', ...mine),
    ].map((text) => text.split('\n').filter((line) => line !== ''));
  }

  /**
   * Starts a container that is no part of the stack, on its network.
   * @param {string} environment @param {string} name under which the stack reaches it @param {...string} args of `docker run`
   */
  startBeside(environment, name, ...args) {
    const network = `${STACK_NAME}-${environment}_stack`;
    docker(
      'run',
      '-d',
      '--name',
      `${STACK_NAME}-${name}`,
      '--network',
      network,
      '--network-alias',
      name,
      ...args,
    );
  }

  /** @param {string} name @returns {string} all that a container beside the stack has printed */
  saidBeside(name) {
    return docker('logs', `${STACK_NAME}-${name}`);
  }

  /** @param {string} name */
  removeBeside(name) {
    dockerDid('rm', '-f', '-v', `${STACK_NAME}-${name}`);
  }

  /** Removes everything, also what an earlier run left. */
  remove() {
    this.removeContainers();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Removes the containers, networks and volumes of every environment. */
  removeContainers() {
    for (const name of BESIDE) this.removeBeside(name);
    for (const environment of ['mock', 'dev', 'prod', 'check']) {
      const mine = `label=${LABEL}=${STACK_NAME}-${environment}`;
      for (const [kind, ...list] of /** @type {const} */ ([
        ['rm', 'ps', '-aq'],
        ['network', 'network', 'ls', '-q'],
        ['volume', 'volume', 'ls', '-q'],
      ])) {
        const names = docker(...list, '--filter', mine).split('\n');
        if (names[0] === '') continue;
        docker(...(kind === 'rm' ? ['rm', '-f', '-v'] : [kind, 'rm', '-f']), ...names);
      }
    }
  }

  /**
   * An instant query, now or at a time in seconds.
   * @param {string} query @param {{ of?: string, at?: number }} [options] `of`: the variable of the port to ask
   * @returns {Promise<Series[]>}
   */
  async query(query, { of = 'PROMETHEUS_PORT', at } = {}) {
    const form = new URLSearchParams({ query, ...(at === undefined ? {} : { time: String(at) }) });
    const answer = await this.get(of, `/api/v1/query?${form}`);
    return answer.data.result;
  }

  /** @param {string} variable of the port @param {string} path @returns {Promise<any>} */
  async get(variable, path) {
    const response = await fetch(`http://127.0.0.1:${this.port(variable)}${path}`);
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  }
}

/** @param {number} count */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
