// What the containers of a stack cost: memory, processor time and the time to start.
import { setTimeout as pause } from 'node:timers/promises';
import { docker } from '../engine.mjs';

const SAMPLES = 5;
const BETWEEN_MILLISECONDS = 2000;
const UNITS = new Map([
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
]);

/**
 * Memory and processor time, the mean of some seconds.
 * @param {ReadonlyMap<string, { id: string }>} containers by their service
 * @returns {Promise<string>} a table
 */
export async function measure(containers) {
  /** @type {Map<string, { cpu: number, bytes: number }[]>} */
  const samples = new Map([...containers.keys()].map((service) => [service, []]));
  for (let count = 0; count < SAMPLES; count += 1) {
    if (count > 0) await pause(BETWEEN_MILLISECONDS);
    const lines = docker('stats', '--no-stream', '--no-trunc', '--format', '{{json .}}').split('\n');
    const byId = new Map(
      lines.filter((line) => line !== '').map((line) => [JSON.parse(line).ID, JSON.parse(line)]),
    );
    for (const [service, { id }] of containers) {
      const { CPUPerc: cpu, MemUsage: memory } = byId.get(id) ?? {};
      if (cpu !== undefined)
        samples.get(service)?.push({ cpu: Number.parseFloat(cpu), bytes: bytesOf(memory) });
    }
  }
  const rows = [...containers.keys()].map((service) => {
    const taken = samples.get(service) ?? [];
    const mean = (/** @type {'cpu' | 'bytes'} */ key) =>
      taken.reduce((total, sample) => total + sample[key], 0) / taken.length;
    return `  ${service.padEnd(16)} ${(mean('bytes') / 2 ** 20).toFixed(0).padStart(6)} MiB ${mean('cpu')
      .toFixed(1)
      .padStart(6)} % of a core`;
  });
  return ['Memory and processor:', ...rows].join('\n');
}

/**
 * How long each container took from its start until it was found healthy; to be asked soon after the start, since
 * Docker remembers the last checks only.
 * @param {ReadonlyMap<string, { id: string }>} containers by their service
 */
export function startTimes(containers) {
  const rows = [...containers].map(
    ([service, { id }]) => `  ${service.padEnd(16)} ${startSeconds(id).toFixed(1).padStart(5)} s`,
  );
  return ['Healthy after:', ...rows].join('\n');
}

/** @param {string} text such as `12.5MiB / 256MiB` */
function bytesOf(text) {
  const [, number = '', unit = ''] = /^([\d.]+)([A-Za-z]+)/.exec(text) ?? [];
  return Number(number) * (UNITS.get(unit) ?? Number.NaN);
}

/** From the start of a container to the first check that found it healthy and is still known. @param {string} id */
function startSeconds(id) {
  const { StartedAt: started, Health: health } = JSON.parse(
    docker('inspect', '--format', '{{json .State}}', id),
  );
  const first = health.Log.find((/** @type {{ ExitCode: number }} */ { ExitCode: code }) => code === 0);
  return (Date.parse(first?.End) - Date.parse(started)) / 1000;
}
