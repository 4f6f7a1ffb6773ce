import type { EngineRequest, EngineState, FinishReason } from '../../engine/engine.ts';
import type { Random } from '../../random.ts';
import type { SurfaceAnswer, SurfaceContext } from './surface.ts';

/** What a call needs beside its body. */
export interface CallParts {
  /** Names the request in the world; also in what is answered. */
  readonly id: string;
  /** Who asks, as far as is known; the body's `user` says it better. */
  readonly tenant: string;
  /** Draws how long the answer is, and its words. */
  readonly random: Random;
  readonly state: EngineState;
  /** Its `seconds` are when the call arrived. */
  readonly context: SurfaceContext;
}

/** A call that is to be offered to the engine, and how its answer is printed. */
export interface ApiCall {
  readonly request: EngineRequest;
  /** The body is sent as it comes; otherwise at the end, with the status that `end` gives. */
  readonly streamed: boolean;
  readonly contentType: string;
  /** So many tokens came out: what is to be sent now, nothing if the call is not streamed. */
  tokens(count: number, seconds: number): string;
  /**
   * The answer has ended: the rest of a stream, or the whole body. Status and type count where nothing was sent before: a
   * stream that failed in its beginning is an answer of status 500. To a client that went away nothing is sent.
   */
  end(reason: FinishReason, seconds: number): SurfaceAnswer;
}

export type ApiOutcome =
  | { readonly call: ApiCall }
  /** Answered without the engine's model: a body that makes no sense, or a question about a model. */
  | { readonly answer: SurfaceAnswer };

/** What an engine does of a POST: pure but for the words drawn. */
export interface EngineApi {
  /** Undefined where the engine has no such path to post to. */
  call(path: string, body: string, parts: CallParts): ApiOutcome | undefined;
  /** How the engine's server words that the engine refused (`Admission`). */
  refusal(path: string, status: number, message: string, parts: CallParts): SurfaceAnswer;
}
