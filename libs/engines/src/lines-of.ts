import { renderExposition } from '@llm-monitor/metrics-core';

import type { LlmMetricName } from './families.ts';
import type { EngineReading } from './reading.ts';

/** The samples of one metric as lines of an exposition, without the name and the server's labels: for tables of tests. */
export function linesOf({ families }: EngineReading, metric: LlmMetricName): string[] {
  const family = families.filter(({ name }) => name === metric);
  return renderExposition(family, 'text')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.slice(metric.length).replace(/server="[^"]*",engine="[^"]*",?/, ''));
}
