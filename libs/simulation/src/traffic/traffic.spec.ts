import fc from 'fast-check';
import type { Admission, EngineRequest, FinishReason, RequestListener } from '../engine/engine.ts';
import { createRandom } from '../random.ts';
import { EventQueue } from '../scheduler.ts';
import { OPENAI_CLIENT, type TrafficSpec, TrafficSource, type TrafficState } from './traffic.ts';

const SPEC: TrafficSpec = {
  name: 'chat',
  engine: 'engine',
  model: 'model',
  arrivals: { kind: 'poisson', ratePerSecond: 2 },
  prompt: { kind: 'log-normal', medianTokens: 300, sigma: 0.5, minTokens: 1, maxTokens: 4000 },
  output: { kind: 'log-normal', medianTokens: 100, sigma: 0.5, minTokens: 1, maxTokens: 2000 },
  maxTokens: 1024,
  maxPromptTokens: 4000,
  tenants: [{ name: 'acme', weight: 1 }],
  kinds: { chat: 1, completion: 0, embedding: 0 },
  loras: [],
  ...OPENAI_CLIENT,
};

type Answer =
  | { readonly refused: number }
  | { readonly end: FinishReason; readonly afterSeconds: number; readonly tokens?: number }
  | 'never';

const WELL: Answer = { end: 'stop', afterSeconds: 2, tokens: 5 };

/** An engine that answers as told, and breaks off when a client goes away, as a real one does. */
function trafficOver({
  spec = SPEC,
  answer = () => WELL,
  seed = 'traffic',
}: {
  spec?: TrafficSpec;
  answer?: (request: EngineRequest, seconds: number) => Answer;
  seed?: string;
}) {
  const scheduler = new EventQueue();
  const requests: (EngineRequest & { readonly seconds: number })[] = [];
  const send = (request: EngineRequest, listener: RequestListener): Admission => {
    requests.push({ ...request, seconds: scheduler.now });
    const given = answer(request, scheduler.now);
    if (given !== 'never' && 'refused' in given)
      return { accepted: false, status: given.refused, message: 'no' };
    const leavesSeconds = request.patienceSeconds ?? Infinity;
    if (given === 'never' || leavesSeconds < given.afterSeconds) {
      const at = scheduler.now + leavesSeconds;
      if (at < Infinity) scheduler.at(at, () => listener.onEnd?.('abort', at));
      return { accepted: true };
    }
    const at = scheduler.now + given.afterSeconds;
    scheduler.at(at, () => {
      if (given.tokens !== undefined) listener.onTokens?.(given.tokens, at);
      listener.onEnd?.(given.end, at);
    });
    return { accepted: true };
  };
  const source = new TrafficSource({ spec, scheduler, random: createRandom(seed), send });
  return { scheduler, source, requests };
}

function run(parts: Parameters<typeof trafficOver>[0], seconds: number) {
  const world = trafficOver(parts);
  world.source.start();
  world.scheduler.runUntil(seconds);
  return { ...world, state: world.source.state };
}

function expectConserved(state: TrafficState): void {
  const { offered, completed, cancelled, timedOut, gaveUp, inFlight, backingOff } = state;
  expect(completed + cancelled + timedOut + gaveUp + inFlight + backingOff).toBe(offered);
  expect(state.accepted + state.refused).toBe(state.attempts);
  expect(state.attempts).toBeGreaterThanOrEqual(state.retried);
  expect(inFlight).toBeGreaterThanOrEqual(0);
  expect(backingOff).toBeGreaterThanOrEqual(0);
}

describe('arrivals', () => {
  it('come at their rate, and are answered', () => {
    const { state, requests } = run({}, 2000);
    expect(Math.abs(state.offered / 4000 - 1)).toBeLessThan(0.05);
    expect(state.attempts).toBe(state.offered);
    expect(requests).toHaveLength(state.offered);
    expect(state.completed + state.inFlight).toBe(state.offered);
    expect(state.receivedTokens).toBe(5 * state.completed);
    expect(state.promptTokens).toBe(requests.reduce((sum, { promptTokens }) => sum + promptTokens, 0));
  });

  it('begin at start and end at stop, and what is under way ends', () => {
    const { source, scheduler } = trafficOver({});
    scheduler.runUntil(100);
    expect(source.state).toMatchObject({ offered: 0, ratePerSecond: 0 });
    source.start();
    source.start();
    scheduler.runUntil(200);
    const { offered, ratePerSecond } = source.state;
    expect(ratePerSecond).toBe(2);
    expect(Math.abs(offered - 200)).toBeLessThan(50);
    source.stop();
    scheduler.runUntil(300);
    expect(source.state).toMatchObject({ offered, completed: offered, inFlight: 0, ratePerSecond: 0 });
  });

  it.each([
    { factor: 0, from: 0, to: 0 },
    { factor: 0.5, from: 800, to: 1200 },
    { factor: 3, from: 5500, to: 6500 },
  ])('come $factor times as often when told', ({ factor, from, to }) => {
    const { source, scheduler } = run({}, 1000);
    const before = source.state.offered;
    source.setRateFactor(factor);
    scheduler.runUntil(2000);
    const more = source.state.offered - before;
    expect(more).toBeGreaterThanOrEqual(from);
    expect(more).toBeLessThanOrEqual(to);
    expect(source.state.ratePerSecond).toBe(2 * factor);
  });

  it('are the same for the same seed', () => {
    const told = (seed: string) => run({ seed }, 300).requests;
    expect(told('a')).toEqual(told('a'));
    expect(told('a')).not.toEqual(told('b'));
  });

  it('are at the same times whatever else is asked of a request', () => {
    const seconds = (spec: TrafficSpec) => run({ spec }, 300).requests.map((request) => request.seconds);
    const other: TrafficSpec = {
      ...SPEC,
      loras: [{ name: 'sql', ratio: 0.5 }],
      systemPrompt: { tokens: 100, ratio: 0.5 },
      kinds: { chat: 1, completion: 1, embedding: 1 },
    };
    expect(seconds(other)).toEqual(seconds(SPEC));
  });

  it('follow another specification from when it is set', () => {
    const { source, scheduler, requests } = run({}, 100);
    const before = requests.length;
    source.setSpec({ ...SPEC, model: 'other', arrivals: { kind: 'poisson', ratePerSecond: 20 } });
    scheduler.runUntil(200);
    expect(new Set(requests.slice(before).map(({ model }) => model))).toEqual(new Set(['other']));
    expect(Math.abs((requests.length - before) / 2000 - 1)).toBeLessThan(0.1);
  });
});

describe('requests', () => {
  const shareOf = (requests: readonly EngineRequest[], test: (request: EngineRequest) => boolean): number =>
    requests.filter(test).length / requests.length;

  it('are of tenants by their weights', () => {
    const tenants = [
      { name: 'acme', weight: 3 },
      { name: 'globex', weight: 1 },
      { name: 'nobody', weight: 0 },
    ];
    const { requests, state } = run({ spec: { ...SPEC, tenants } }, 2000);
    expect(shareOf(requests, ({ tenant }) => tenant === 'acme')).toBeCloseTo(0.75, 1);
    expect(Object.keys(state.tenants).sort()).toEqual(['acme', 'globex']);
    const offered = Object.values(state.tenants).reduce((sum, tenant) => sum + tenant.offered, 0);
    expect(offered).toBe(state.offered);
  });

  it('have unique identifiers, also when they are retried', () => {
    const { requests } = run({ answer: () => ({ refused: 429 }) }, 200);
    expect(new Set(requests.map(({ id }) => id)).size).toBe(requests.length);
  });

  it('are of the kinds asked for; an embedding says nothing', () => {
    const spec = { ...SPEC, kinds: { chat: 2, completion: 1, embedding: 1 } };
    const { requests } = run({ spec }, 2000);
    expect(shareOf(requests, ({ kind }) => kind === 'chat')).toBeCloseTo(0.5, 1);
    expect(shareOf(requests, ({ kind }) => kind === 'completion')).toBeCloseTo(0.25, 1);
    const embeddings = requests.filter(({ kind }) => kind === 'embedding');
    expect(embeddings.length).toBeGreaterThan(0);
    expect(embeddings.every((request) => request.outputTokens === 0 && request.maxTokens === 0)).toBe(true);
  });

  it('ask for LoRA adapters by their ratios, the rest for none', () => {
    const loras = [
      { name: 'sql', ratio: 0.3 },
      { name: 'support', ratio: 0.1 },
    ];
    const { requests } = run({ spec: { ...SPEC, loras } }, 2000);
    expect(shareOf(requests, ({ lora }) => lora === 'sql')).toBeCloseTo(0.3, 1);
    expect(shareOf(requests, ({ lora }) => lora === 'support')).toBeCloseTo(0.1, 1);
    expect(shareOf(requests, (request) => !('lora' in request))).toBeCloseTo(0.6, 1);
  });

  it('start with the system prompt of their tenant, as many as asked, and are longer than it', () => {
    const tenants = [
      { name: 'acme', weight: 1 },
      { name: 'globex', weight: 1 },
    ];
    const spec = { ...SPEC, tenants, systemPrompt: { tokens: 500, ratio: 0.6 } };
    const { requests } = run({ spec }, 2000);
    const sharing = requests.filter(({ prefix }) => prefix !== undefined);
    expect(sharing.length / requests.length).toBeCloseTo(0.6, 1);
    expect(sharing.every(({ prefix, promptTokens }) => prefix?.tokens === 500 && promptTokens > 500)).toBe(
      true,
    );
    expect(sharing.every(({ prefix, tenant }) => prefix?.key === `chat/system/${tenant}`)).toBe(true);
  });

  it('have prompts and answers of the lengths asked for, none beyond the limits', () => {
    const spec = { ...SPEC, maxPromptTokens: 350, systemPrompt: { tokens: 5000, ratio: 0.5 } };
    const { requests } = run({ spec }, 500);
    expect(Math.max(...requests.map(({ promptTokens }) => promptTokens))).toBe(350);
    expect(requests.every(({ outputTokens, maxTokens }) => outputTokens >= 1 && maxTokens === 1024)).toBe(
      true,
    );
  });

  it('have longer answers by the factor that is set', () => {
    const { source, scheduler, requests } = run({}, 1000);
    const before = requests.length;
    source.setOutputFactor(4);
    scheduler.runUntil(2000);
    const mean = (some: readonly EngineRequest[]): number =>
      some.reduce((sum, { outputTokens }) => sum + outputTokens, 0) / some.length;
    expect(mean(requests.slice(before)) / mean(requests.slice(0, before))).toBeCloseTo(4, 0);
  });
});

describe('conversations', () => {
  const spec: TrafficSpec = {
    ...SPEC,
    conversations: {
      meanTurns: 4,
      turnTokens: { kind: 'log-normal', medianTokens: 20, sigma: 0, minTokens: 1, maxTokens: 100 },
    },
  };
  const turnsOf = (requests: readonly EngineRequest[]): EngineRequest[][] => {
    const byKey = new Map<string, EngineRequest[]>();
    for (const request of requests) {
      const key = request.prefix?.key ?? '';
      byKey.set(key, [...(byKey.get(key) ?? []), request]);
    }
    return [...byKey.values()];
  };

  it('go on for as many turns as asked, without more requests than asked', () => {
    const { requests, state } = run({ spec }, 5000);
    expect(Math.abs(state.offered / 10_000 - 1)).toBeLessThan(0.05);
    const turns = turnsOf(requests);
    expect(requests.length / turns.length).toBeGreaterThan(3);
    expect(requests.length / turns.length).toBeLessThan(4.5);
  });

  it('have turns that extend what was said, and share it', () => {
    const { requests } = run({ spec }, 500);
    const followed = turnsOf(requests).filter((turns) => turns.length > 1);
    expect(followed.length).toBeGreaterThan(10);
    for (const turns of followed) {
      turns.slice(1).forEach((turn, index) => {
        expect(turn.promptTokens).toBe((turns[index]?.promptTokens ?? 0) + 5 + 20); // the answer and the new words
        expect(turn.prefix?.tokens).toBe(turn.promptTokens);
      });
      expect(new Set(turns.map(({ tenant }) => tenant)).size).toBe(1);
    }
  });

  it('start anew when they have outgrown the longest prompt', () => {
    const { requests } = run({ spec: { ...spec, maxPromptTokens: 400 } }, 500);
    expect(Math.max(...requests.map(({ promptTokens }) => promptTokens))).toBeLessThanOrEqual(400);
  });

  it('do not go on after a failure', () => {
    const { requests } = run({ spec, answer: () => ({ end: 'error', afterSeconds: 1 }) }, 200);
    const firstTries = requests.filter(({ id }) => !id.includes('retry'));
    expect(turnsOf(firstTries)).toHaveLength(firstTries.length);
  });
});

describe('retries', () => {
  const spec: TrafficSpec = {
    ...SPEC,
    arrivals: { kind: 'poisson', ratePerSecond: 0.001 },
    retries: { attempts: 3, backoffSeconds: 1, maxBackoffSeconds: 3 },
  };
  /** All attempts at the first request. */
  const attemptsAt = (answer: Answer, seconds = 5000) => {
    const { scheduler, source, requests } = trafficOver({ spec, answer: () => answer });
    source.start();
    for (let now = 0; requests.length === 0 && now < 100_000; now += 10) scheduler.runUntil(now);
    source.stop();
    scheduler.runUntil(scheduler.now + seconds);
    return { requests, state: source.state };
  };

  it.each([429, 503, 500, 408, 0])('follow a refusal with status %i', (refused) => {
    const { requests, state } = attemptsAt({ refused });
    expect(requests).toHaveLength(4);
    expect(state).toMatchObject({ offered: 1, attempts: 4, retried: 3, refused: 4, accepted: 0, gaveUp: 1 });
  });

  it.each([400, 401, 404, 422])('do not follow a refusal with status %i', (refused) => {
    const { requests, state } = attemptsAt({ refused });
    expect(requests).toHaveLength(1);
    expect(state).toMatchObject({ offered: 1, attempts: 1, retried: 0, gaveUp: 1 });
  });

  it.each(['error', 'abort'] as const)('follow an answer that the engine ended with %s', (end) => {
    const { state } = attemptsAt({ end, afterSeconds: 1 });
    expect(state).toMatchObject({
      accepted: 4,
      failed: 4,
      retried: 3,
      gaveUp: 1,
      completed: 0,
      cancelled: 0,
    });
  });

  it.each(['stop', 'length'] as const)('do not follow an answer that ended with %s', (end) => {
    const { state } = attemptsAt({ end, afterSeconds: 1 });
    expect(state).toMatchObject({ accepted: 1, retried: 0, completed: 1 });
  });

  it('back off, longer each time, up to the longest', () => {
    const { requests } = attemptsAt({ refused: 503 });
    const waits = requests.slice(1).map(({ seconds }, index) => seconds - (requests[index]?.seconds ?? 0));
    [1, 2, 3].forEach((longest, index) => {
      expect(waits[index]).toBeLessThanOrEqual(longest);
      expect(waits[index]).toBeGreaterThanOrEqual(0.75 * longest);
    });
  });

  it('end at the deadline of the request, not of the attempt', () => {
    const impatient = { ...spec, deadlineSeconds: 2 };
    const { scheduler, source, requests } = trafficOver({
      spec: impatient,
      answer: () => ({ refused: 503 }),
    });
    source.start();
    for (let now = 0; requests.length === 0 && now < 100_000; now += 10) scheduler.runUntil(now);
    source.stop();
    scheduler.runUntil(scheduler.now + 100);
    expect(requests).toHaveLength(2); // the third would come 2.25 seconds and more after the first
    expect(source.state).toMatchObject({ offered: 1, timedOut: 1, gaveUp: 0, backingOff: 0 });
    expect(requests[1]?.patienceSeconds).toBeLessThan(1.3);
  });
});

describe('patience', () => {
  it('ends with the deadline of the client when nothing comes', () => {
    const { state, requests } = run({ spec: { ...SPEC, deadlineSeconds: 30 }, answer: () => 'never' }, 500);
    expect(requests.every(({ patienceSeconds = 0 }) => Math.abs(patienceSeconds - 30) < 1e-6)).toBe(true);
    expect(state).toMatchObject({ cancelled: 0, completed: 0, retried: 0 });
    expect(state.timedOut + state.inFlight).toBe(state.offered);
    expect(Math.abs(state.inFlight - 60)).toBeLessThan(30);
  });

  it('is short for as many users as asked, who go away and do not come again', () => {
    const impatience = { ratio: 0.4, medianSeconds: 1, sigma: 0.2 };
    const { state } = run({ spec: { ...SPEC, impatience } }, 2000);
    expect(state.cancelled / state.offered).toBeCloseTo(0.4, 1);
    expect(state).toMatchObject({ retried: 0, failed: 0, timedOut: 0 });
  });

  it('does not matter to an answer that is quick enough', () => {
    const impatience = { ratio: 1, medianSeconds: 100, sigma: 0.2 };
    expect(run({ spec: { ...SPEC, impatience } }, 500).state.cancelled).toBe(0);
  });

  it('can be taken away and given back', () => {
    const { source, scheduler } = run({}, 500);
    expect(source.state.cancelled).toBe(0);
    source.setImpatience({ ratio: 1, medianSeconds: 0.5, sigma: 0 });
    scheduler.runUntil(1000);
    const { cancelled } = source.state;
    expect(cancelled).toBeGreaterThan(800);
    source.setImpatience(undefined);
    scheduler.runUntil(1001);
    const rest = source.state.cancelled;
    scheduler.runUntil(1500);
    expect(source.state.cancelled).toBe(rest);
  });
});

describe('a flood', () => {
  it.each(['acme', 'stranger'])('of %s comes on top of the others, and ends', (tenant) => {
    const tenants = [
      { name: 'acme', weight: 1 },
      { name: 'globex', weight: 1 },
    ];
    const { source, scheduler, requests } = run({ spec: { ...SPEC, tenants } }, 1000);
    const before = requests.length;
    source.setFlood({ tenant, factor: 3 });
    expect(source.state.ratePerSecond).toBe(8);
    scheduler.runUntil(2000);
    const flooded = requests.slice(before);
    const globex = flooded.filter((request) => request.tenant === 'globex').length;
    expect(Math.abs(flooded.length / 8000 - 1)).toBeLessThan(0.05);
    expect(Math.abs(globex / 1000 - 1)).toBeLessThan(0.15);
    source.setFlood(undefined);
    scheduler.runUntil(3000);
    expect(Math.abs((requests.length - before - flooded.length) / 2000 - 1)).toBeLessThan(0.1);
  });
});

it('counts each request once, whatever happens to it', () => {
  const answers = fc.constantFrom<Answer>(
    WELL,
    'never',
    { refused: 503 },
    { refused: 400 },
    { end: 'error', afterSeconds: 0 },
    { end: 'length', afterSeconds: 40, tokens: 1 },
    { end: 'abort', afterSeconds: 3 },
  );
  fc.assert(
    fc.property(
      fc.array(answers, { minLength: 1, maxLength: 20 }),
      fc.record({
        ratio: fc.double({ min: 0, max: 1, noNaN: true }),
        medianSeconds: fc.integer({ min: 0, max: 30 }),
      }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
      (given, impatience, steps) => {
        let next = 0;
        const { source, scheduler } = trafficOver({
          spec: {
            ...SPEC,
            deadlineSeconds: 20,
            impatience: { ...impatience, sigma: 1 },
            conversations: { meanTurns: 3, turnTokens: SPEC.prompt },
          },
          answer: () => given[(next += 1) % given.length] ?? WELL,
        });
        source.start();
        for (const step of steps) {
          scheduler.runUntil(scheduler.now + step);
          expectConserved(source.state);
          expect(source.state.attempts).toBeLessThanOrEqual(source.state.offered + source.state.retried);
        }
        source.stop();
        scheduler.runUntil(scheduler.now + 1000);
        expectConserved(source.state);
        expect(source.state).toMatchObject({ inFlight: 0, backingOff: 0 });
      },
    ),
    { seed: 4, numRuns: 60 },
  );
});
