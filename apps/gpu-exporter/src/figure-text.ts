import type { Figures, ProcessView } from './gpus-view.ts';

const GIBIBYTE = 1024 ** 3;

/** Figures in the units that people know, `-` where there is none. */
export function figureText(figures: Figures): {
  readonly busy: string;
  readonly memory: string;
  readonly power: string;
  readonly temperature: string;
} {
  const { utilizationRatio, powerWatts, temperatureCelsius } = figures;
  return {
    busy: utilizationRatio === undefined ? '-' : `${Math.round(utilizationRatio * 100)} %`,
    memory: memoryText(figures),
    power: powerWatts === undefined ? '-' : `${Math.round(powerWatts)} W`,
    temperature: temperatureCelsius === undefined ? '-' : `${Math.round(temperatureCelsius)} °C`,
  };
}

function memoryText({ memoryUsedBytes, memorySizeBytes, gttUsedBytes }: Figures): string {
  const words: string[] = [];
  if (memoryUsedBytes !== undefined && memorySizeBytes !== undefined) {
    words.push(`${gibibytes(memoryUsedBytes)} of ${gibibytes(memorySizeBytes)} GiB`);
  } else if (memoryUsedBytes !== undefined) words.push(`${gibibytes(memoryUsedBytes)} GiB`);
  else if (memorySizeBytes !== undefined) words.push(`- of ${gibibytes(memorySizeBytes)} GiB`);
  if (gttUsedBytes !== undefined) words.push(`GTT ${gibibytes(gttUsedBytes)} GiB`);
  return words.join(' + ') || '-';
}

/** `vllm, model llama-3, 74.3 GiB, port 8000, container 0123456789ab`; what is not known is not said. */
export function processText({ name, engine, model, memoryBytes, port, container }: ProcessView): string {
  return [
    engine ?? `${name} (engine unknown)`,
    ...(model === undefined ? [] : [`model ${model}`]),
    ...(memoryBytes === undefined ? [] : [`${gibibytes(memoryBytes)} GiB`]),
    ...(port === undefined ? [] : [`port ${port}`]),
    ...(container === undefined ? [] : [`container ${container}`]),
  ].join(', ');
}

function gibibytes(bytes: number): string {
  return (bytes / GIBIBYTE).toFixed(1);
}
