import type { EngineReading, LlmMetricName } from '@llm-monitor/engines';
import type { Labels, MetricFamily } from '@llm-monitor/metrics-core';

import { StallMeter, type Stall } from './stall.ts';

const scalar = (name: LlmMetricName, value: number, labels: Labels): MetricFamily => ({
  name,
  help: '',
  type: name.endsWith('_total') ? 'counter' : 'gauge',
  points: [{ labels, value }],
});

interface Said {
  readonly running?: number;
  readonly waiting?: number;
  readonly generated?: number;
  readonly prompt?: number;
  readonly finished?: number;
  readonly inFlight?: number;
  readonly gaps?: number;
  readonly model?: string;
  /** The model of the counters, where it is another one. */
  readonly counted?: string;
}

function families({ model = 'm', counted = model, gaps, ...said }: Said): MetricFamily[] {
  const gauges = { running: 'llm_requests_running', waiting: 'llm_requests_waiting' } as const;
  const counters = {
    generated: 'llm_generation_tokens_total',
    prompt: 'llm_prompt_tokens_total',
    finished: 'llm_requests_finished_total',
    inFlight: 'llm_generation_tokens_in_flight',
  } as const;
  const of = (names: Readonly<Record<string, LlmMetricName>>, label: string): MetricFamily[] =>
    Object.entries(names).flatMap(([key, name]) => {
      const value = new Map(Object.entries(said)).get(key);
      return typeof value === 'number' ? [scalar(name, value, label === '' ? {} : { model: label })] : [];
    });
  return [
    ...of(gauges, model),
    ...of(counters, counted),
    ...(gaps === undefined
      ? []
      : [
          {
            name: 'llm_inter_token_latency_seconds',
            help: '',
            type: 'histogram',
            points: [{ labels: { model: counted }, bounds: [Infinity], counts: [gaps], count: gaps }],
          } satisfies MetricFamily,
        ]),
  ];
}

const reading = (...models: readonly Said[]): EngineReading => {
  const all = models.flatMap(families);
  const names = [...new Set(all.map(({ name }) => name))];
  return {
    families: names.map((name) => {
      const same = all.filter((family) => family.name === name);
      return { ...same[0], points: same.flatMap<unknown>(({ points }) => points) } as MetricFamily;
    }),
    up: true,
    state: 'ready',
    models: ['m'],
    sources: {},
    missing: [],
    issues: [],
    errors: [],
  };
};

/** The stall after readings ten seconds apart, from second 0. */
function after(...readings: readonly EngineReading[]): Stall | undefined {
  const meter = new StallMeter();
  return readings.map((each, index) => meter.read(index * 10, each)).at(-1);
}

const HUNG: Said = { running: 2, waiting: 800, generated: 500, prompt: 900, gaps: 480 };

describe('a stall', () => {
  it('begins with the reading that last saw something move', () => {
    const moving = { ...HUNG, generated: 400, gaps: 400 };
    expect(after(reading(moving), reading(HUNG), reading(HUNG), reading({ ...HUNG, waiting: 900 }))).toEqual({
      sinceSeconds: 10,
      seesEachToken: true,
      model: 'm',
    });
  });

  it.each<[string, Said]>([
    ['a token', { generated: 501 }],
    ['a prompt that is read', { prompt: 901 }],
    ['a request that ends', { finished: 1 }],
    ['a token in flight', { inFlight: 7 }],
    ['a gap between two tokens', { gaps: 481 }],
    ['a restart, which sets the counters back', { generated: 0, prompt: 0, gaps: 0 }],
  ])('ends with %s', (_what, said) => {
    expect(after(reading(HUNG), reading(HUNG), reading({ ...HUNG, ...said }))?.sinceSeconds).toBe(20);
  });

  it('ends when nothing is asked any more, and begins anew', () => {
    const quiet = reading({ ...HUNG, running: 0, waiting: 0 });
    expect(after(reading(HUNG), reading(HUNG), quiet)).toBeUndefined();
    expect(after(reading(HUNG), quiet, reading(HUNG))?.sinceSeconds).toBe(20);
  });

  it('is one of requests that wait alone, too', () => {
    expect(after(reading({ ...HUNG, running: 0 }), reading({ ...HUNG, running: 0 }))?.sinceSeconds).toBe(0);
  });

  it('is none of an engine that counts nothing', () => {
    expect(after(reading({ running: 2, waiting: 3 }), reading({ running: 2, waiting: 3 }))).toBeUndefined();
  });

  it.each<[string, Said, boolean]>([
    ['by the gaps between tokens', { gaps: 3 }, true],
    ['by an answer that has begun', { inFlight: 12 }, true],
    ['not by an answer that has not', { inFlight: 0 }, false],
    ['not where requests count at their end', { finished: 3 }, false],
  ])('is seen token by token: %s', (_how, said, sees) => {
    const engine = reading({ running: 1, generated: 10, ...said });
    expect(after(engine, engine)?.seesEachToken).toBe(sees);
  });

  it('of one model is not hidden by another that works', () => {
    const other = (generated: number): Said => ({ model: 'other', running: 1, generated });
    const stall = after(reading(HUNG, other(1)), reading(HUNG, other(2)), reading(HUNG, other(3)));
    expect(stall).toMatchObject({ sinceSeconds: 0, model: 'm' });
  });

  it('is held against the whole server where requests name another model than tokens', () => {
    const triton = (finished: number): Said => ({ running: 3, finished, counted: 'ensemble' });
    expect(after(reading(triton(5)), reading(triton(5)))).toEqual({ sinceSeconds: 0, seesEachToken: false });
    expect(after(reading(triton(5)), reading(triton(6)))?.sinceSeconds).toBe(10);
  });

  it('begins anew when the clock was set back', () => {
    const meter = new StallMeter();
    meter.read(1000, reading(HUNG));
    expect(meter.read(500, reading(HUNG))?.sinceSeconds).toBe(500);
  });
});
