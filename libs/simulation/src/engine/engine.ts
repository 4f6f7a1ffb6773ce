/** What a client wants of an engine. */
export interface EngineRequest {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly kind: 'chat' | 'completion' | 'embedding';
  readonly promptTokens: number;
  /** The first so many tokens of the prompt are those of every request with this key (a system prompt, a conversation). */
  readonly prefix?: { readonly key: string; readonly tokens: number };
  /** How many it would say until it ends by itself. */
  readonly outputTokens: number;
  /** Beyond it the answer is cut (`length`). */
  readonly maxTokens: number;
  readonly lora?: string;
  /** Seconds after the arrival at which the client goes away. */
  readonly patienceSeconds?: number;
}

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

/** What an engine tells a client; times are seconds of the world. */
export interface RequestListener {
  /** So many tokens came out at once (several with speculative decoding). */
  onTokens?(count: number, seconds: number): void;
  /** The answer has ended; nothing follows. */
  onEnd?(reason: FinishReason, seconds: number): void;
}

/** What became of a request that was offered. */
export type Admission =
  | { readonly accepted: true }
  /** As the engine would say: a full queue, a context too long, a model that is not there, an engine that is down. */
  | { readonly accepted: false; readonly status: number; readonly message: string };

/** A histogram in being: counts per bucket (not summed up) and beyond the last bound. */
export interface TruthHistogram {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/**
 * The truth about one engine at an instant. Counters are since its process started. Surfaces print from this alone, each
 * under its own names, and `sim_engine_*` prints it as it is.
 */
export interface EngineState {
  readonly name: string;
  readonly kind: EngineKind;
  readonly version: string;
  readonly models: readonly string[];
  readonly condition: 'loading' | 'serving' | 'hung' | 'down' | 'asleep';
  readonly startedSeconds: number;
  readonly pid: number;
  readonly running: number;
  readonly waiting: number;
  readonly swapped: number;
  readonly kv: {
    readonly blockTokens: number;
    readonly capacityBlocks: number;
    readonly usedBlocks: number;
    /** Blocks that hold a prefix and can be taken at any time. */
    readonly cachedBlocks: number;
  };
  readonly prefixCache: { readonly queriedTokens: number; readonly hitTokens: number };
  readonly preemptions: number;
  /** Prompt tokens of admitted requests that were computed or taken from the cache, once per request. */
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly requests: Readonly<Record<FinishReason, number>>;
  /** Refused at the door. */
  readonly rejected: number;
  readonly iterations: number;
  readonly speculative:
    | {
        readonly draftTokens: number;
        readonly acceptedTokens: number;
        /** Drafts that were verified, one a request and step; engines print it beside the tokens. */
        readonly drafts?: number;
      }
    | undefined;
  readonly loras:
    | { readonly running: readonly string[]; readonly waiting: readonly string[]; readonly max: number }
    | undefined;
  readonly histograms: {
    readonly timeToFirstTokenSeconds: TruthHistogram;
    readonly interTokenSeconds: TruthHistogram;
    readonly timePerOutputTokenSeconds: TruthHistogram;
    readonly requestSeconds: TruthHistogram;
    readonly queueSeconds: TruthHistogram;
    readonly prefillSeconds: TruthHistogram;
    readonly decodeSeconds: TruthHistogram;
    readonly inferenceSeconds: TruthHistogram;
    readonly promptTokens: TruthHistogram;
    readonly generatedTokens: TruthHistogram;
    readonly maxTokens: TruthHistogram;
    readonly iterationTokens: TruthHistogram;
  };
  /** llama.cpp: who sits where. Empty for engines without slots. */
  readonly slots: readonly SlotState[];
  /** Ollama: what is in memory now. Empty for others. */
  readonly loaded: readonly LoadedModel[];
}

export type EngineKind = 'vllm' | 'sglang' | 'tgi' | 'llamacpp' | 'ollama' | 'triton';

export interface SlotState {
  readonly id: number;
  readonly requestId: string | undefined;
  readonly contextTokens: number;
  readonly promptTokens: number;
  readonly decodedTokens: number;
}

export interface LoadedModel {
  readonly name: string;
  readonly sizeBytes: number;
  readonly gpuBytes: number;
  readonly expiresSeconds: number;
  readonly contextTokens: number;
}

/** Faults that incidents switch on and off. */
export interface EngineFaults {
  /** Health and metrics answer, the scheduler does not step. */
  hung: boolean;
  /** Every step takes so many times as long. */
  slowdown: number;
  /** Share of the KV blocks that is held by something else, 0 to 1. */
  kvHeldRatio: number;
  /** Layers run on the processor. */
  cpuFallback: boolean;
}
