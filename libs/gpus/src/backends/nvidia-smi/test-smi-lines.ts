import { readFileSync } from 'node:fs';
import path from 'node:path';

import type { BackendReading, GpuReading } from '../../reading.ts';
import type { HostMemory } from '../../unified-memory.ts';
import { normalizeSmi } from './normalize-smi.ts';
import { parseSmiXml } from './parse-smi-xml.ts';

/** What the tests of this backend share. Not part of the library. */
export const fixturesDirectory = path.resolve(__dirname, '../../../fixtures/nvidia-smi');

/** A host of 128 GB, of which 100 GiB are free. */
export const hostMemory: HostMemory = { totalBytes: 128_501_256_192, availableBytes: 107_374_182_400 };

export function fixtureText(name: string): string {
  return readFileSync(path.join(fixturesDirectory, name), 'utf8');
}

export function readSmi(xml: string): BackendReading {
  return normalizeSmi(parseSmiXml(xml), { meminfo: () => hostMemory });
}

/** A reading as lines that a reviewer can read: each GPU, its figures, its processes, and what was dropped. */
export function smiLines(reading: BackendReading): string {
  const lines = [
    ...reading.gpus.flatMap(gpuLines),
    ...reading.unparsed.map(({ field, value }) => `unparsed ${field} ${value}`),
    ...reading.unsupported.map(({ field, why }) => `unsupported ${field} ${why}`),
  ];
  return `${lines.join('\n')}\n`;
}

function gpuLines({ gpu, uuid, condition, facts, points, processes }: GpuReading): string[] {
  return [
    `gpu ${gpu} ${uuid} ${condition} ${JSON.stringify(facts)}`,
    ...points.map(({ metric, value, labels }) => `${metric}${labelText(labels)} ${value}`),
    `processes ${processes === undefined ? 'not told' : processes.length}`,
    ...(processes ?? []).map((process) => `process ${JSON.stringify(process)}`),
  ];
}

function labelText(labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}
