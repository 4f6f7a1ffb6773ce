import type { EngineKind, EngineState } from '../../engine/engine.ts';
import type { Model } from '../../engine/model.ts';

/** What a surface needs beside the engine's state. */
export interface SurfaceContext {
  /** The instant, in seconds of the world. */
  readonly seconds: number;
  /** Unix time at the world's second 0. */
  readonly epochSeconds: number;
  /** Figures of the models that the engine serves or has installed. */
  readonly models: readonly Model[];
  /** Requests that it takes into its batch at most. */
  readonly maxRunning: number;
  /** Tokens of prompt and answer together where the engine is told a limit; otherwise the model's. */
  readonly contextTokens?: number;
  /** LoRA adapters that a client may name in place of the model. */
  readonly loras?: readonly string[];
  /** Memory of the engine's process, where the world knows it. */
  readonly residentBytes?: number;
  /** What was true when `/metrics` was asked before: llama.cpp's and SGLang's speeds are windows between two looks. */
  readonly lastScrape?: { readonly seconds: number; readonly state: EngineState };
}

export interface SurfaceAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Upper bounds of each histogram of the truth. */
export type EngineBounds = Readonly<Record<keyof EngineState['histograms'], readonly number[]>>;

/** What an engine answers to a GET, by version: a pure function of the truth. */
export interface EngineSurface {
  readonly kind: EngineKind;
  readonly defaultVersion: string;
  /** Versions whose answers are known; one in between prints as the one before it. */
  readonly versions: readonly string[];
  /**
   * Bounds of that version's histograms, for the engine to count into; some follow the longest context.
   * Histograms that the version does not print have bounds of use for everybody.
   */
  bounds(version: string, contextTokens: number): EngineBounds;
  /** Whether its port is open: a server that has not finished loading may not listen yet. */
  listens(state: EngineState): boolean;
  /** The answer at a path (its query is ignored), or undefined where the engine has no such path. */
  answer(path: string, state: EngineState, context: SurfaceContext): SurfaceAnswer | undefined;
  /** What it says of a path that it does not have. */
  readonly notFound: SurfaceAnswer;
}

export function json(value: unknown, status = 200, contentType = 'application/json'): SurfaceAnswer {
  return { status, contentType, body: JSON.stringify(value) };
}

export function text(body: string, status = 200, contentType = 'text/plain; charset=utf-8'): SurfaceAnswer {
  return { status, contentType, body };
}

/** Unix time of an instant of the world. */
export function unixTime({ epochSeconds }: SurfaceContext, seconds: number): number {
  return epochSeconds + seconds;
}

export function pathOnly(path: string): string {
  return path.replace(/\?.*$/, '');
}

/** The base model's name, as labels carry it. */
export function servedModel({ models }: EngineState): string {
  return models[0] ?? 'unknown';
}

/** Figures of a model by name, the first one's by default. */
export function figures(context: SurfaceContext, name: string | undefined): Model | undefined {
  return context.models.find((model) => model.name === name);
}

/** Tokens of prompt and answer together: what the engine is told, but no more than the model has. */
export function servedContextTokens(context: SurfaceContext, name: string | undefined): number | undefined {
  const own = figures(context, name)?.contextTokens;
  return own === undefined ? undefined : Math.min(context.contextTokens ?? own, own);
}

/** Tokens for which there is room in the KV cache. */
export function kvCapacityTokens({ kv }: EngineState): number {
  return kv.capacityBlocks * kv.blockTokens;
}

export function kvUsageRatio({ kv }: EngineState): number {
  return kv.capacityBlocks === 0 ? 0 : kv.usedBlocks / kv.capacityBlocks;
}

/**
 * Prompt tokens that were computed. Where there is a cache they are counted when it is looked into, as the hits are, and
 * so a little before the prompt is done: a difference of two counters that move at different times could fall.
 */
export function computedPromptTokens({ prefixCache, promptTokens }: EngineState): number {
  const { queriedTokens, hitTokens } = prefixCache;
  return queriedTokens === 0 ? promptTokens : queriedTokens - hitTokens;
}

/** Requests that ended as their clients wished. */
export function succeeded({ requests }: EngineState): number {
  return requests.stop + requests.length;
}

export function ended({ requests }: EngineState): number {
  return requests.stop + requests.length + requests.abort + requests.error;
}

/** Below, at or above zero as one version is older, the same or newer; `b11669` is a version too. */
export function compareVersions(one: string, other: string): number {
  const [left, right] = [numbersOf(one), numbersOf(other)];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether a version is at or after `since` and before `until`. */
export function isIn(
  version: string,
  { since, until }: { readonly since?: string; readonly until?: string },
): boolean {
  return (
    (since === undefined || compareVersions(version, since) >= 0) &&
    (until === undefined || compareVersions(version, until) < 0)
  );
}

function numbersOf(version: string): number[] {
  return (version.match(/\d+/g) ?? []).map(Number);
}
