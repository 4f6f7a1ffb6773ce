import type { MetricFamily } from '@llm-monitor/metrics-core';

import { SelfExposition } from './self-exposition.ts';
import { createTestClock } from './test-gpus.ts';

/** Families that count how often they were made. */
function counting(name: string): () => Promise<MetricFamily[]> {
  let made = 0;
  return () => {
    made += 1;
    return Promise.resolve([{ name, help: '', type: 'counter', points: [{ labels: {}, value: made }] }]);
  };
}

function start() {
  const clock = createTestClock();
  const exposition = new SelfExposition(
    { processFamilies: counting('process_total'), appFamilies: counting('app_total') },
    clock,
  );
  const print = async (format: 'text' | 'openmetrics'): Promise<string[]> =>
    Buffer.concat(await exposition.print(format))
      .toString()
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('# TYPE'));
  return { clock, print };
}

describe('what the exporter tells of itself', () => {
  it('is of now, but for the figures of its process, which are made once within a second', async () => {
    const { clock, print } = start();
    expect(await print('text')).toEqual(['process_total 1', 'app_total 1']);
    clock.pass(0.9);
    expect(await print('text')).toEqual(['process_total 1', 'app_total 2']);
    clock.pass(0.1);
    expect(await print('text')).toEqual(['process_total 2', 'app_total 3']);
  });

  it('is of its own in each format, with one end', async () => {
    const { print } = start();
    expect(await print('text')).toEqual(['process_total 1', 'app_total 1']);
    expect(await print('openmetrics')).toEqual(['process_total 2', 'app_total 2', '# EOF']);
  });
});
