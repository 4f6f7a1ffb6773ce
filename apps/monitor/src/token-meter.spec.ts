import type { ScalarPoint } from '@llm-monitor/metrics-core';
import * as fc from 'fast-check';

import { TokenMeter } from './token-meter.ts';

const point = (value: number, model = 'a'): ScalarPoint => ({ labels: { server: 's', model }, value });

/** One reading after the other: counters, tokens in flight, and the growth that is then known. */
type Readings = readonly [counters: ScalarPoint[], inFlight: ScalarPoint[], grown: number | undefined][];

const cases: Record<string, Readings> = {
  'counts from the first reading on, whatever was before': [
    [[point(1000)], [], 0],
    [[point(1250)], [], 250],
    [[point(1250)], [], 250],
  ],
  'takes a counter that fell as one that started anew': [
    [[point(1000)], [], 0],
    [[point(40)], [], 40],
    [[point(50)], [], 50],
  ],
  'adds models up, and ignores what a new one counted before': [
    [[point(100)], [], 0],
    [[point(150), point(9000, 'b')], [], 50],
    [[point(150), point(9010, 'b')], [], 60],
  ],
  'knows a model again after an answer that lacked it': [
    [[point(100), point(500, 'b')], [], 0],
    [[point(110)], [], 10],
    [[point(110), point(530, 'b')], [], 40],
  ],
  'has nothing to say of an answer without the counter, and goes on after it': [
    [[point(100)], [], 0],
    [[], [], undefined],
    [[point(130)], [], 30],
  ],
  'moves with the tokens in flight while the counter stands': [
    [[point(1000)], [point(0)], 0],
    [[point(1000)], [point(80)], 80],
    [[point(1000)], [point(160)], 160],
    [[point(1200)], [point(0)], 200],
  ],
  'waits out the dip of a request that ended between counter and tokens in flight': [
    [[point(1000)], [point(150)], 0],
    [[point(1000)], [point(0)], 0],
    [[point(1200)], [point(20)], 70],
  ],
  'starts anew with the tokens in flight of an engine that started anew': [
    [[point(1000)], [point(500)], 0],
    [[point(10)], [point(5)], 15],
  ],
  'gives tokens in flight to their own model': [
    [[point(100), point(200, 'b')], [point(10), point(0, 'b')], 0],
    [[point(100), point(200, 'b')], [point(0), point(7, 'b')], 7],
  ],
};

it.each(Object.entries(cases))('%s', (_title, readings) => {
  const meter = new TokenMeter();
  expect(readings.map(([counters, inFlight]) => meter.read(counters, inFlight))).toEqual(
    readings.map(([, , grown]) => grown),
  );
});

it('never falls, whatever is read', () => {
  const reading = fc.record({ counter: fc.nat(10_000), inFlight: fc.nat(500) });
  fc.assert(
    fc.property(fc.array(reading, { minLength: 2 }), (readings) => {
      const meter = new TokenMeter();
      const grown = readings.map(
        ({ counter, inFlight }) => meter.read([point(counter)], [point(inFlight)]) ?? -1,
      );
      expect(grown).toEqual([...grown].sort((one, other) => one - other));
    }),
    { seed: 7 },
  );
});

it('forgets series that are gone once there are too many', () => {
  const meter = new TokenMeter();
  meter.read([point(1, 'first')]);
  meter.read(Array.from({ length: 6000 }, (_, index) => point(1, `m${index}`)));
  expect(meter.read([point(50, 'first')])).toBe(0);
});
