import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { gb10, gt730, h100Mig, hostOf, rtx4090, type FakeBoard } from '@llm-monitor/fake-nvml';

import { gpuMetrics } from '../../gpu-metrics.ts';
import { allPoints } from '../../gpu-points.ts';
import { driverTests, read, readingLines, shortH100 } from './test-nvml.ts';

const withDriver = driverTests({ describe, it, afterAll });

const BOARDS: readonly (readonly [name: string, board: FakeBoard])[] = [
  ['h100', shortH100()],
  ['h100-mig', { ...h100Mig(), nvlinks: undefined }],
  ['rtx-4090', rtx4090()],
  ['gt-730', gt730()],
  ['gb10', gb10()],
];

withDriver('boards', (driver) => {
  it.each(BOARDS)('reads %s as reviewed', async (name, board) => {
    const golden = path.resolve(__dirname, `../../../fixtures/nvml/${name}.golden`);
    driver.host(hostOf([board]));
    const backend = driver.backend();
    await read(backend);
    driver.clock.seconds += 1;
    const lines = readingLines(await read(backend));
    if (process.env['UPDATE_GOLDENS'] === '1') writeFileSync(golden, lines);
    expect(lines).toBe(readFileSync(golden, 'utf8'));
  });

  it.each(BOARDS)('%s has the labels that its metrics declare, and no series twice', async (_name, board) => {
    driver.host(hostOf([board]));
    const { gpus } = await read(driver.backend());
    const points = gpus.flatMap(allPoints);
    for (const { metric, labels } of points) {
      expect([metric, ...Object.keys(labels ?? {})]).toEqual([metric, ...gpuMetrics[metric].labels]);
    }
    const series = points.map(({ metric, labels }) => `${metric} ${JSON.stringify(labels)}`);
    expect(series.filter((name, index) => series.indexOf(name) !== index)).toEqual([]);
  });

  it('tells the versions of driver and library', async () => {
    driver.host(hostOf([gt730()]));
    expect(await read(driver.backend())).toMatchObject({
      backend: 'nvml',
      driverVersion: '580.105.08',
      libraryVersion: '13.580.105.08',
    });
  });
});
