import { MODELS } from '../engine/models.ts';
import type { Board } from '../gpu/board.ts';
import type { Catalogue } from './scenario.ts';

const GIB = 1024 ** 3;

function board(key: string, memoryGibibytes: number, rest: Partial<Board> = {}): Board {
  return {
    key,
    name: key,
    vendor: 'nvidia',
    architecture: 'test',
    memoryBytes: memoryGibibytes * GIB,
    unifiedMemory: false,
    memoryBytesPerSecond: 1e12,
    peakFlopsPerSecond: { fp16: 1e14 },
    powerLimitWatts: { default: 400, min: 200, max: 700 },
    idleWatts: 50,
    clocksHertz: { smIdle: 2e8, smBase: 1e9, smMax: 2e9, memoryIdle: 4e8, memoryMax: 2e9 },
    thermal: {
      slowdownCelsius: 87,
      hardwareSlowdownCelsius: 92,
      shutdownCelsius: 97,
      celsiusPerWatt: 0.08,
      joulesPerCelsius: 500,
    },
    pcie: { generation: 5, width: 16 },
    ecc: true,
    mig: false,
    sources: ['made up'],
    estimated: {},
    ...rest,
  };
}

/** Boards of the kinds that scenarios tell apart, and the real models. */
export const TEST_CATALOGUE: Catalogue = {
  boards: [
    board('h100-sxm', 80),
    board('rtx-4090', 24, { fan: { fans: 2, maxRpm: 3000 }, ecc: false }),
    board('rtx-3090', 24, { fan: { fans: 2, maxRpm: 3000 }, ecc: false }),
    board('mi300x', 192, { vendor: 'amd' }),
    board('strix-halo', 96, { vendor: 'amd', unifiedMemory: true, ecc: false }),
  ],
  models: MODELS,
};
