import type { BackendReading, GpuReading } from './reading.ts';

/** A reading as lines that a reviewer can read: each GPU, its figures, and what was dropped. */
export function readingLines(reading: BackendReading): string {
  const lines = [
    ...reading.gpus.flatMap(({ gpu, uuid, condition, facts, points }) => [
      `gpu ${gpu} ${uuid} ${condition} ${JSON.stringify(facts)}`,
      ...points.map(({ metric, labels, value }) => `${metric}${labelText(labels)} ${value}`),
    ]),
    ...reading.unparsed.map(({ field, value }) => `unparsed ${field} ${value}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** The value of a GPU's figure, `gpu_clock_hertz{domain="memory"}`; undefined where it has none. */
export function figure(gpu: GpuReading | undefined, series: string): number | undefined {
  return gpu?.points.find(({ metric, labels }) => `${metric}${labelText(labels)}` === series)?.value;
}

function labelText(labels: Readonly<Record<string, string>> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}
