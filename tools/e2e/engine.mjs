// The Docker engine and the images that the end-to-end tests of the stack run on: those of the host where it has them,
// else an engine of their own with stand-ins for the official images, where the scripts for both are at hand.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const { performance } = globalThis;

export const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const tools = join(resolve(workspaceRoot, process.env['LLM_MONITOR_SHARED'] ?? '../shared'), 'tools');
const MINUTES = 60_000;

/** Recipes of the stand-ins by the repository of the official image. */
const STAND_INS = new Map([
  ['node', 'node'],
  ['prom/prometheus', 'prometheus'],
  ['prom/alertmanager', 'alertmanager'],
  ['prom/node-exporter', 'node-exporter'],
  ['victoriametrics/victoria-metrics', 'victoria-metrics'],
  ['grafana/grafana', 'grafana'],
]);

/**
 * Why a test is skipped; with E2E_REQUIRED=true none is, so that it fails for what it lacks.
 * @param {string | false} reason
 */
export function skipFor(reason) {
  return process.env['E2E_REQUIRED'] === 'true' ? false : reason;
}

/**
 * Sees to it that a Docker engine with Compose answers, starting one where the host has none and it can.
 *
 * @returns {{ unavailable: string } | { unavailable: undefined, isOurs: boolean, versions: string }} `isOurs` says that
 *   nobody else uses the engine, so that it may be stopped
 */
export function prepareEngine() {
  if (!run('docker', ['info']).well && canStartOne()) {
    const { well, output } = run(join(tools, 'docker-up.sh'), ['--clean'], 10);
    if (!well) return { unavailable: `no docker engine, and none could be started: ${lastLine(output)}` };
  }
  const info = run('docker', ['info', '--format', 'Docker Engine {{.ServerVersion}}, {{.Driver}}']);
  if (!info.well) return { unavailable: 'no docker engine answers' };
  const compose = run('docker', ['compose', 'version', '--short']);
  if (!compose.well) return { unavailable: 'no docker engine with Compose v2' };
  const isOurs =
    canStartOne() && run(join(tools, 'docker-up.sh'), ['--status']).output.includes('started by');
  return { unavailable: undefined, isOurs, versions: `${info.output}, Compose ${compose.output}` };
}

/**
 * Restarts the engine: its containers are ended, and come back by their restart policies. Only for one that is ours, or
 * where E2E_RESTART_ENGINE names the command for it.
 *
 * @param {{ fakeNvidia?: boolean }} [options] `fakeNvidia`: the engine then takes GPUs of NVIDIA for granted, and hands
 *   on nothing
 */
export function restartEngine({ fakeNvidia = false } = {}) {
  const command = process.env['E2E_RESTART_ENGINE'];
  if (command !== undefined) {
    execFileSync('/bin/sh', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'] });
    return;
  }
  for (const options of [['--stop'], fakeNvidia ? ['--fake-nvidia'] : []]) {
    const { well, output } = run(join(tools, 'docker-up.sh'), options, 5);
    if (!well) throw new Error(`the engine could not be restarted: ${output}`);
  }
}

/**
 * Fetches the images that are not there, or makes stand-ins for them.
 *
 * @param {readonly string[]} images
 * @returns {{ missing: string[], hasGrafana: boolean, sources: string[] }} `sources` says where each image comes from
 */
export function prepareImages(images) {
  const wanted = images.filter((image) => !inspect(image, '{{.Id}}').well);
  if (canStartOne() && !wanted.every((image) => run('docker', ['pull', '-q', image], 10).well)) {
    const recipes = wanted.map((image) => `${STAND_INS.get(repositoryOf(image)) ?? 'debian'}=${image}`);
    run(join(tools, 'local-images.sh'), ['--grafana-placeholder', ...recipes], 20);
  } else {
    for (const image of wanted) run('docker', ['pull', '-q', image], 10);
  }
  const missing = images.filter((image) => !inspect(image, '{{.Id}}').well);
  const sources = images.map((image) => {
    const { output } = inspect(image, '{{index .Config.Labels "local-images.source"}}');
    return `${image}: ${output === '' || output === '<no value>' ? 'the official image' : output}`;
  });
  return { missing, sources, hasGrafana: !sources.some((source) => source.includes('placeholder')) };
}

/**
 * Builds our images, as `make up` does. Their names are `llm-monitor/<app>:dev`.
 * @param {readonly string[]} apps
 * @throws Error with the end of what was said
 */
export function buildImages(apps) {
  const env = { ...process.env, NX_DAEMON: 'false', NX_TUI: 'false' };
  const { status, stdout, stderr } = spawnSync(
    join(workspaceRoot, 'node_modules/.bin/nx'),
    ['run-many', '-t', 'docker', '-p', apps.join()],
    { cwd: workspaceRoot, env, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`the images could not be built:\n${`${stdout}${stderr}`.slice(-4000)}`);
}

/** The image that ours are built on. */
export function baseImage() {
  const text = readFileSync(join(workspaceRoot, 'apps/llm-exporter/Dockerfile'), 'utf8');
  return /^ARG NODE_IMAGE=(\S+)$/m.exec(text)?.[1] ?? '';
}

/** What docker prints. @param {...string} args */
export function docker(...args) {
  return execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** @param {...string} args @returns {boolean} whether it ended well */
export function dockerDid(...args) {
  return spawnSync('docker', args, { stdio: 'ignore' }).status === 0;
}

/**
 * Asks again and again until `ask` throws no more, and answers what it answered.
 * @template T @param {number} deadlineSeconds @param {() => T | Promise<T>} ask @returns {Promise<T>}
 * @throws what it threw last, at the deadline
 */
export async function eventually(deadlineSeconds, ask) {
  const deadline = performance.now() + deadlineSeconds * 1000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await pause(500);
  }
}

/** @param {string} image @param {string} format */
function inspect(image, format) {
  return run('docker', ['image', 'inspect', '--format', format, image]);
}

/** Whether the scripts that start an engine are there, and may. */
function canStartOne() {
  return process.getuid?.() === 0 && existsSync(join(tools, 'docker-up.sh'));
}

/** @param {string} image */
function repositoryOf(image) {
  return image.slice(0, image.lastIndexOf(':'));
}

/** @param {string} text */
function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? '';
}

/** @param {string} file @param {readonly string[]} args @param {number} [minutes] */
function run(file, args, minutes = 1) {
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', timeout: minutes * MINUTES });
  return { well: status === 0, output: `${stdout ?? ''}${stderr ?? ''}`.trim() };
}
