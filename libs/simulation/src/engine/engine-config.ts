import type { EngineState } from './engine.ts';
import type { Model } from './model.ts';
import type { Host } from './step-time.ts';

export type HistogramName = keyof EngineState['histograms'];

/** How an engine is set up: what its command line and environment would say. */
export interface EngineConfig {
  /** What it can serve; only Ollama and Triton may have more than one. */
  readonly models: readonly Model[];
  /** Sequences in one batch (`--max-num-seqs`); for llama.cpp the slots (`--parallel`), for Ollama OLLAMA_NUM_PARALLEL. */
  readonly maxSequences: number;
  /** Tokens that one step may process: the budget of chunked prefill (`--max-num-batched-tokens`, `--batch-size`). */
  readonly tokensPerStep: number;
  /** Share of each GPU's memory that the engine takes at its start; slots engines take what they need instead. */
  readonly gpuMemoryRatio: number;
  readonly blockTokens: number;
  readonly prefixCaching: boolean;
  /** Longest sequence (`--max-model-len`). For llama.cpp all slots together (`--ctx-size`), for Ollama each (`num_ctx`). */
  readonly contextTokens?: number;
  /** Requests that may wait; unlimited when undefined. */
  readonly maxWaiting?: number;
  /** Seconds after the arrival at which the engine itself gives a request up. */
  readonly deadlineSeconds?: number;
  readonly loras?: { readonly names: readonly string[]; readonly max: number };
  /** Each draft token is right with that chance as long as those before it are. */
  readonly speculative?: { readonly draftTokens: number; readonly acceptanceRatio: number };
  /** Ollama: how long an unused model stays in memory; for ever when undefined. */
  readonly keepAliveSeconds?: number;
  /** Layers on the GPUs (`--n-gpu-layers`, `num_gpu`); all that fit when undefined. */
  readonly offloadedLayers?: number;
  /** The disk that weights are loaded from. */
  readonly diskBytesPerSecond?: number;
  readonly host?: Host;
  /** As `nvidia-smi` and /proc show its processes; the kind's own when undefined. */
  readonly process?: { readonly program: string; readonly command: readonly string[] };
  /** Upper bounds of each histogram, as the real engine of that version has them. */
  readonly histogramBounds: Readonly<Record<HistogramName, readonly number[]>>;
}

/** A server's processor and memory of these years: 8 channels of DDR5-4800, of which about 60 % are reached, and AVX-512. */
export const DEFAULT_HOST: Host = { memoryBytesPerSecond: 180e9, flopsPerSecond: 2e12 };

/** A PCIe 4.0 NVMe disk through the page cache and the loader. */
export const DEFAULT_DISK_BYTES_PER_SECOND = 3e9;
