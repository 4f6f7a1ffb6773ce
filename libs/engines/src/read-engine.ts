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
  /** Milliseconds of a clock that may be set, as `Date.now`: it tells only how old an answer is. */
  readonly now: () => number;
  /** How long each request is waited for once the metrics are there; 2 unless told otherwise. */
  readonly secondaryTimeoutSeconds?: number;
}

/** Reads the engine once; answers with what could be read, and never throws for what the target did. */
export type ReadEngine = (signal: AbortSignal) => Promise<EngineReading>;

/**
 * A reader of one engine. It asks one request after the other, so that an engine never has two of ours in hand,
 * and keeps nothing between readings but young answers about slow-changing facts, and that one of them did not come.
 */
export function createEngineReader(source: EngineSource): ReadEngine {
  const memory: Memory = { answers: new Map(), failures: new Map() };
  return async (signal) => {
    const progress: Progress = { answers: new Answers(), errors: [], memory, signal, isRecognized: false };
    const fatal = await askAll(source, progress);
    return finish(source, progress, fatal);
  };
}

/** What one reader remembers from reading to reading, by path. */
interface Memory {
  readonly answers: Map<string, { answer: Answer; at: number }>;
  readonly failures: Map<string, { error: TargetError; at: number }>;
}

/** One reading under way. */
interface Progress {
  readonly answers: Answers;
  readonly errors: TargetError[];
  readonly memory: Memory;
  readonly signal: AbortSignal;
  /** Something was taken that only this engine answers so. */
  isRecognized: boolean;
  /** Why an answer was another program's. */
  stranger?: TargetError;
}

/** Asks all there is to ask; answers with the failure that makes the rest worthless, if there was one. */
async function askAll(source: EngineSource, progress: Progress): Promise<TargetError | undefined> {
  const { answers, errors } = progress;
  for (const request of source.adapter.requests) {
    for (const { path, labels = {} } of pathsOf(request, answers)) {
      const hadMain = hasMain(source.adapter, answers);
      const failure = await ask(source, request, { path, labels }, progress);
      if (failure === undefined) continue;
      errors.push(failure.error);
      if (PARTIAL_FAILURES.has(failure.error.reason)) continue;
      if (!hadMain) return failure.error;
      // One that let us wait may do so again: what is had is worth more than the rest.
      if (failure.error.reason === 'timeout' && !failure.isRemembered) return undefined;
    }
  }
  const error = await askHealth(source, progress);
  if (error === undefined) return undefined;
  errors.push(error);
  return progress.isRecognized || hasMain(source.adapter, answers) ? undefined : error;
}

/** Whether what the engine is read for has come: its exposition, or of an engine without one any of its JSON. */
function hasMain({ requests }: EngineAdapter, answers: Answers): boolean {
  if (answers.expositions.length > 0) return true;
  const needsExposition = requests.some(({ as, optional }) => as === 'exposition' && optional !== true);
  return !needsExposition && answers.jsonPaths().length > 0;
}

/** Failures of one path. A target that is gone or hung fails each request alike: the rest are not asked. */
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

/** How long what comes beside the metrics is waited for: they must not be late, or lost, for want of a version. */
const SECONDARY_TIMEOUT_SECONDS = 2;

function finish(source: EngineSource, progress: Progress, fatal: TargetError | undefined): EngineReading {
  const stranger = progress.isRecognized ? undefined : progress.stranger;
  const reason = fatal ?? stranger;
  const rest = fatal === undefined ? progress.errors.filter((error) => error !== reason) : [];
  const reading = normalize(source.adapter, source.identity, {
    answers: reason === undefined ? progress.answers : new Answers(),
    detectedBy: source.detectedBy,
    errors: reason === undefined ? rest : [reason, ...rest],
  });
  // After a restart nothing known before may be true: another model, another version.
  if (reason !== undefined || reading.state === 'loading') {
    progress.memory.answers.clear();
    progress.memory.failures.clear();
  }
  return stranger === undefined ? reading : { ...reading, isStranger: true };
}

function pathsOf({ path }: EngineRequest, soFar: Answers): readonly RequestPath[] {
  return typeof path === 'string' ? [{ path }] : path(soFar);
}

interface Failure {
  readonly error: TargetError;
  /** It was not waited for this time. */
  readonly isRemembered: boolean;
}

async function ask(
  source: EngineSource,
  request: EngineRequest,
  { path, labels }: { path: string; labels: Labels },
  progress: Progress,
): Promise<Failure | undefined> {
  const { answers, memory } = progress;
  const url = source.url + path;
  const isSecondary = hasMain(source.adapter, answers);
  const failed = memory.failures.get(path);
  if (isSecondary && failed !== undefined && isYoung(source, failed.at, request.maxAgeSeconds ?? 0)) {
    return { error: failed.error, isRemembered: true };
  }
  memory.failures.delete(path);
  try {
    const young = memory.answers.get(path);
    const reusable = young !== undefined && isYoung(source, young.at, reuseSeconds(request, young.answer));
    const answer = reusable
      ? young.answer
      : await source.get(path, isSecondary ? secondary(source, progress.signal) : progress.signal);
    answers.noteStatus(path, answer.status);
    if (!reusable && reuseSeconds(request, answer) > 0)
      memory.answers.set(path, { answer, at: source.now() });
    if (request.optional === true && answer.status === 404) return undefined;
    const error = refusalOf(answer, url, source.adapter, request);
    if (error !== undefined) return { error, isRemembered: false };
    take(source.adapter, request, { ...answer, path }, labels, answers, url);
    if (request.as === 'exposition' || request.distinctive === true) progress.isRecognized = true;
    return undefined;
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error instanceof StrangerError) progress.stranger ??= error;
    if (isSecondary && !PARTIAL_FAILURES.has(error.reason)) {
      memory.failures.set(path, { error, at: source.now() });
    }
    return { error, isRemembered: false };
  }
}

function isYoung(source: EngineSource, at: number, seconds: number): boolean {
  return source.now() - at < seconds * 1000;
}

function secondary(source: EngineSource, signal: AbortSignal): AbortSignal {
  const seconds = source.secondaryTimeoutSeconds ?? SECONDARY_TIMEOUT_SECONDS;
  return AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]);
}

/** An answer that tells another program from the engine, rather than one that tells nothing. */
class StrangerError extends TargetError {}

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
      const Refusal = isOfRuntime(exposition) ? TargetError : StrangerError;
      throw new Refusal('disabled', url, `answered without one metric of ${adapter.title}: ${mend}`);
    }
    answers.addExposition(exposition);
    return;
  }
  const value = readJson(answer, url);
  if (request.shape !== undefined && !request.shape(value)) {
    const Refusal = request.distinctive === true ? StrangerError : TargetError;
    throw new Refusal(
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

/** What language runtimes and web frameworks print by themselves: an engine with its metrics off shows these alone. */
const RUNTIME_PREFIXES = ['python_', 'process_', 'http_', 'go_', 'promhttp_'];

/** Whether the exposition holds nothing but what a runtime prints of any program, or nothing at all. */
function isOfRuntime({ families }: Exposition): boolean {
  return [...families.keys()].every((name) => RUNTIME_PREFIXES.some((prefix) => name.startsWith(prefix)));
}

function refusalOf(
  { status }: Answer,
  url: string,
  adapter: EngineAdapter,
  request: EngineRequest,
): TargetError | undefined {
  if (status >= 200 && status < 300) return undefined;
  if (status === 401 || status === 403) {
    return new TargetError(
      'unauthorized',
      url,
      `answered ${status}: give the target's key in its token setting`,
    );
  }
  if (status === 404 || status === 501 || status === 405) {
    const isMended = request.as === 'exposition' && adapter.enable !== undefined;
    const mend = isMended ? `: ${adapter.enable}` : '';
    return new TargetError(status === 404 ? 'not_found' : 'disabled', url, `answered ${status}${mend}`);
  }
  return new TargetError('http_error', url, `answered ${status}`);
}

/** Free on the engines whose adapter names it; SGLang and TGI run their model for it, LiteLLM all of its backends. */
const COSTLY_ELSEWHERE: ReadonlySet<string> = new Set(['/health']);

/**
 * Asks for the health; at a path that costs other engines something only of what was recognized in this very reading,
 * or says of itself at every path that it cannot serve now: another engine may sit there since the last one.
 */
async function askHealth(source: EngineSource, progress: Progress): Promise<TargetError | undefined> {
  const { answers, isRecognized } = progress;
  const path = source.adapter.health?.path;
  if (path === undefined || answers.status(path) !== undefined) return undefined;
  const statuses = [...answers.statuses().values()];
  const isUnable = statuses.length > 0 && statuses.every((status) => status >= 500);
  if (COSTLY_ELSEWHERE.has(path) && !isRecognized && !isUnable) return undefined;
  const signal = isRecognized ? secondary(source, progress.signal) : progress.signal;
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
