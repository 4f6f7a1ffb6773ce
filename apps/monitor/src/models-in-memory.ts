import type { EngineReading, LlmMetricName } from '@llm-monitor/engines';

import { bytesText, countFigure, shareFigure, spanText } from './figure.ts';
import { scalars } from './points.ts';

/** A model, and in one line what the engine tells of it. */
export interface ModelInMemory {
  readonly name: string;
  readonly text: string;
}

/**
 * The models whose memory the engine tells: how much, how much of it on GPUs, quantization, context, and when the
 * model will be unloaded. What it does not tell is left out. `nowSeconds` is Unix time.
 */
export function modelsInMemory(
  reading: EngineReading | undefined,
  nowSeconds: number,
): readonly ModelInMemory[] {
  if (reading?.up !== true) return [];
  const memory = scalars(reading, 'llm_model_memory_bytes').filter(
    ({ labels }) => labels['kind'] === 'total',
  );
  return memory.map(({ labels, value: total }) => {
    const model = labels['model'] ?? '';
    const context = valueOf(reading, 'llm_model_context_tokens', { model });
    const unload = valueOf(reading, 'llm_model_unload_time_seconds', { model });
    const facts = [
      bytesText(total),
      gpuText(valueOf(reading, 'llm_model_memory_bytes', { model, kind: 'vram' }), total),
      quantizationOf(reading, model),
      context === undefined ? undefined : `context ${countFigure(context).text} tokens`,
      unload === undefined ? undefined : unloadText(unload - nowSeconds),
    ];
    return { name: model, text: facts.filter((fact) => fact !== undefined).join(' · ') };
  });
}

function gpuText(onGpu: number | undefined, total: number): string | undefined {
  if (onGpu === undefined || total <= 0) return undefined;
  if (onGpu === 0) return 'on the CPU';
  const share = shareFigure(Math.min(1, onGpu / total));
  return `${share.text} % on GPU`;
}

function unloadText(seconds: number): string {
  return seconds <= 0 ? 'being unloaded' : `unloads in ${spanText(seconds)}`;
}

function quantizationOf(reading: EngineReading, model: string): string | undefined {
  return scalars(reading, 'llm_model_info').find(({ labels }) => labels['model'] === model)?.labels[
    'quantization'
  ];
}

function valueOf(
  reading: EngineReading,
  metric: LlmMetricName,
  wanted: Readonly<Record<string, string>>,
): number | undefined {
  const point = scalars(reading, metric).find(({ labels }) =>
    Object.entries(wanted).every(([name, value]) => labels[name] === value),
  );
  return point?.value;
}
