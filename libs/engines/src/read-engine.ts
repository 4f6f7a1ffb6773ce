import type { Labels } from '@llm-monitor/metrics-core';

import type { EngineAdapter, EngineRequest, RequestPath } from './adapter.ts';
import { namesOf, rulesOf } from './apply-rules.ts';
import { Answers, readExposition, readJson, type Answer, type Exposition } from './answers.ts';
import type { Get } from './http-get.ts';
import { normalize } from './normalize.ts';
import type { EngineReading, Identity } from './reading.ts';
import { TargetError } from './target-error.ts';

export interface EngineSource {
  readonly adapter: EngineAdapter;
  readonly identity: Identity;
  /** The base address, for messages. */
  readonly url: string;
  readonly detectedBy: string;
  readonly get: Get;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** Reads the engine once; answers with what could be read, and never throws for what the target did. */
export type ReadEngine = (signal: AbortSignal) => Promise<EngineReading>;

/**
 * A reader of one engine. It asks one request after the other, so that an engine never has two of ours in hand,
 * and keeps nothing between readings but young answers about slow-changing facts.
 */
export function createEngineReader(source: EngineSource): ReadEngine {
  const cache = new Map<string, { answer: Answer; at: number }>();
  return async (signal) => {
    const answers = new Answers();
    const errors: TargetError[] = [];
    for (const request of source.adapter.requests) {
      for (const { path, labels = {} } of pathsOf(request, answers)) {
        const error = await ask(source, request, { path, labels }, { answers, cache, signal });
        if (error !== undefined) errors.push(error);
        if (error !== undefined && isFatal(error)) return finish(source, answers, errors, cache);
      }
    }
    const error = await askHealth(source, answers, signal);
    if (error !== undefined) errors.push(error);
    return finish(source, answers, errors, cache);
  };
}

/** A target that is gone or hung fails each request alike: the rest are not asked. */
function isFatal({ reason }: TargetError): boolean {
  return !PARTIAL_FAILURES.has(reason);
}

const PARTIAL_FAILURES: ReadonlySet<string> = new Set([
  'unauthorized',
  'not_found',
  'http_error',
  'not_an_exposition',
  'not_json',
  'not_recognized',
  'disabled',
  'too_large',
  'redirected',
]);

function finish(
  source: EngineSource,
  answers: Answers,
  errors: TargetError[],
  cache: Map<string, unknown>,
): EngineReading {
  const fatal = errors.some(isFatal);
  // After a restart nothing known before may be true: another model, another version.
  if (fatal) cache.clear();
  return normalize(source.adapter, source.identity, {
    answers: fatal ? new Answers() : answers,
    detectedBy: source.detectedBy,
    errors: fatal ? errors.filter(isFatal) : errors,
  });
}

function pathsOf({ path }: EngineRequest, soFar: Answers): readonly RequestPath[] {
  return typeof path === 'string' ? [{ path }] : path(soFar);
}

async function ask(
  source: EngineSource,
  request: EngineRequest,
  { path, labels }: { path: string; labels: Labels },
  state: { answers: Answers; cache: Map<string, { answer: Answer; at: number }>; signal: AbortSignal },
): Promise<TargetError | undefined> {
  const url = source.url + path;
  try {
    const young = state.cache.get(path);
    const reusable =
      young !== undefined && source.now() - young.at < reuseSeconds(request, young.answer) * 1000;
    const answer = reusable ? young.answer : await source.get(path, state.signal);
    state.answers.noteStatus(path, answer.status);
    if (!reusable && reuseSeconds(request, answer) > 0) state.cache.set(path, { answer, at: source.now() });
    if (request.optional === true && answer.status === 404) return undefined;
    const refusal = refusalOf(answer, url, source.adapter);
    if (refusal !== undefined) return refusal;
    take(source.adapter, request, { ...answer, path }, labels, state.answers, url);
    return undefined;
  } catch (error) {
    if (error instanceof TargetError) return error;
    throw error;
  }
}

/** A path that was not there is looked for again this late: after an upgrade, at the latest. */
const ABSENT_FOR_SECONDS = 3600;

function reuseSeconds(request: EngineRequest, { status }: Answer): number {
  if (status === 404) return request.optional === true ? ABSENT_FOR_SECONDS : 0;
  return status >= 200 && status < 300 ? (request.maxAgeSeconds ?? 0) : 0;
}

/**
 * Takes one good answer into the others.
 * @throws TargetError when the body is not what was asked for.
 */
export function take(
  adapter: EngineAdapter,
  request: EngineRequest,
  answer: Answer,
  labels: Labels,
  answers: Answers,
  url: string,
): void {
  if (request.as === 'exposition') {
    const exposition = readExposition(answer, url, labels, adapter.prefixes);
    if (!knowsAny(adapter, exposition)) {
      const mend = adapter.enable ?? 'is another program on this port now?';
      throw new TargetError('disabled', url, `answered without one metric of ${adapter.title}: ${mend}`);
    }
    answers.addExposition(exposition);
    return;
  }
  const value = readJson(answer, url);
  if (request.shape !== undefined && !request.shape(value)) {
    throw new TargetError(
      'not_recognized',
      url,
      `answered with JSON that is not ${adapter.title}'s: is another program on this port now?`,
    );
  }
  answers.addJson(answer.path, value);
}

/** Whether the exposition holds anything by which the engine is known: its table's names, or its fingerprints'. */
function knowsAny({ families, fingerprints, prefixes = [] }: EngineAdapter, exposition: Exposition): boolean {
  const names = [...exposition.families.keys()];
  const beginnings = fingerprints.flatMap((fingerprint) =>
    'families' in fingerprint ? fingerprint.families : [],
  );
  const renamed = prefixes.map(([, replacement]) => replacement);
  if (names.some((name) => [...beginnings, ...renamed].some((beginning) => name.startsWith(beginning))))
    return true;
  const known = new Set(
    Object.entries(families).flatMap(([metric, rules]) =>
      metric === 'llm_engine_start_time_seconds' ? [] : rulesOf(rules).flatMap((rule) => namesOf(rule)),
    ),
  );
  return names.some((name) => known.has(name));
}

function refusalOf({ status }: Answer, url: string, adapter: EngineAdapter): TargetError | undefined {
  if (status >= 200 && status < 300) return undefined;
  if (status === 401 || status === 403) {
    return new TargetError(
      'unauthorized',
      url,
      `answered ${status}: give the target's key in its token setting`,
    );
  }
  if (status === 404 || status === 501 || status === 405) {
    const mend = adapter.enable === undefined ? '' : `: ${adapter.enable}`;
    return new TargetError(status === 404 ? 'not_found' : 'disabled', url, `answered ${status}${mend}`);
  }
  return new TargetError('http_error', url, `answered ${status}`);
}

async function askHealth(
  source: EngineSource,
  answers: Answers,
  signal: AbortSignal,
): Promise<TargetError | undefined> {
  const path = source.adapter.health?.path;
  if (path === undefined || answers.status(path) !== undefined) return undefined;
  try {
    const answer = await source.get(path, signal);
    answers.noteStatus(path, answer.status);
    if (answer.status < 300) answers.saidOfHealth = jsonOf(answer.body);
    return undefined;
  } catch (error) {
    if (error instanceof TargetError) return error;
    throw error;
  }
}

/** What a health answer says beside its status, where it says it in JSON (LMDeploy: that it sleeps). */
function jsonOf(body: string): unknown {
  if (!body.trimStart().startsWith('{')) return undefined;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined; // its status has said what counts
  }
}
