import type { EngineRequest, RequestListener } from './engine.ts';
import type { KvLease } from './kv-cache.ts';

/** A request inside an engine. */
export interface Sequence {
  readonly request: EngineRequest;
  /** Undefined once nobody listens any more. */
  listener: RequestListener | undefined;
  readonly arrivedSeconds: number;
  /** As the engine takes the prompt, which may be shorter than what was sent. */
  readonly promptTokens: number;
  /** How many tokens it will say; 0 for an embedding. */
  readonly answerTokens: number;
  readonly finish: 'stop' | 'length';
  lease: KvLease | undefined;
  /** Tokens whose keys and values are in memory. */
  computedTokens: number;
  generatedTokens: number;
  /** Tokens of it in the step under way. */
  stepTokens: number;
  ended: boolean;
  scheduledSeconds: number | undefined;
  promptedSeconds: number | undefined;
  lastTokenSeconds: number;
  /** Takes back the event that ends it early. */
  forgetDeadline: (() => void) | undefined;
}

/**
 * @param contextTokens where the answer is cut at the latest; Infinity for engines that shift the context
 * @param promptTokens what the engine keeps of the request's prompt
 */
export function createSequence(
  request: EngineRequest,
  listener: RequestListener,
  seconds: number,
  promptTokens: number,
  contextTokens: number,
): Sequence {
  const most = Math.max(Math.min(request.maxTokens, contextTokens - promptTokens), 1);
  const wanted = Math.max(request.outputTokens, 1);
  const cut = wanted > most;
  return {
    request,
    listener,
    arrivedSeconds: seconds,
    promptTokens,
    answerTokens: request.kind === 'embedding' ? 0 : Math.min(wanted, most),
    finish: cut && request.kind !== 'embedding' ? 'length' : 'stop',
    lease: undefined,
    computedTokens: 0,
    generatedTokens: 0,
    stepTokens: 0,
    ended: false,
    scheduledSeconds: undefined,
    promptedSeconds: undefined,
    lastTokenSeconds: seconds,
    forgetDeadline: undefined,
  };
}

/** Tokens that are known: all of these must be computed before the next one comes out. */
export function knownTokens(sequence: Sequence): number {
  return sequence.promptTokens + sequence.generatedTokens;
}
