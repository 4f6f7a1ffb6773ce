import type { EngineReading, LlmMetricName } from '@llm-monitor/engines';
import type { HistogramPoint, ScalarPoint } from '@llm-monitor/metrics-core';

/** All points of a counter, gauge or info of a reading; none when it is not there. */
export function scalars({ families }: EngineReading, metric: LlmMetricName): readonly ScalarPoint[] {
  const family = families.find(({ name }) => name === metric);
  return family === undefined || !isScalar(family) ? [] : family.points;
}

/** All points of a histogram of a reading; none when it is not there. */
export function histograms({ families }: EngineReading, metric: LlmMetricName): readonly HistogramPoint[] {
  const family = families.find(({ name }) => name === metric);
  return family?.type === 'histogram' ? family.points : [];
}

type Family = EngineReading['families'][number];

function isScalar(family: Family): family is Extract<Family, { points: readonly ScalarPoint[] }> {
  return family.type !== 'histogram' && family.type !== 'gaugehistogram' && family.type !== 'summary';
}
