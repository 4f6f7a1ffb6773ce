import type { EngineConfig } from '../engine/engine-config.ts';
import type { EngineKind } from '../engine/engine.ts';

/** What a scenario can say of an engine beyond its models, its GPUs and its surface. */
export type EngineSettings = Omit<EngineConfig, 'models' | 'histogramBounds' | 'host' | 'process'>;

/** Each engine as its own defaults set it up, where the scenario says nothing else. */
export const ENGINE_DEFAULTS: Readonly<Record<EngineKind, EngineSettings>> = {
  // vllm/engine/arg_utils.py: 8192 tokens and 256 sequences for the API server on large GPUs.
  vllm: {
    maxSequences: 256,
    tokensPerStep: 8192,
    gpuMemoryRatio: 0.9,
    blockTokens: 16,
    prefixCaching: true,
  },
  // server_args.py: mem_fraction_static about 0.88 and chunked_prefill_size 8192 on 80 GB. Its pages are of one token;
  // larger ones print the same figures at a sixteenth of the bookkeeping.
  sglang: {
    maxSequences: 256,
    tokensPerStep: 8192,
    gpuMemoryRatio: 0.88,
    blockTokens: 16,
    prefixCaching: true,
  },
  // launcher/src/main.rs: max_concurrent_requests 128, which is a limit at the door; max_batch_prefill_tokens 4096.
  tgi: {
    maxSequences: 128,
    tokensPerStep: 4096,
    gpuMemoryRatio: 0.95,
    blockTokens: 16,
    prefixCaching: true,
    maxWaiting: 128,
  },
  // TensorRT-LLM BuildConfig: max_num_tokens 8192; kv_cache_free_gpu_mem_fraction 0.9; 32 tokens in a block.
  triton: {
    maxSequences: 256,
    tokensPerStep: 8192,
    gpuMemoryRatio: 0.9,
    blockTokens: 32,
    prefixCaching: true,
  },
  // common/common.h: n_batch 2048; llama-server uses four slots unless told otherwise.
  llamacpp: {
    maxSequences: 4,
    tokensPerStep: 2048,
    gpuMemoryRatio: 1,
    blockTokens: 1,
    prefixCaching: true,
  },
  // envconfig/config.go: OLLAMA_NUM_PARALLEL 1, OLLAMA_KEEP_ALIVE 5m, OLLAMA_MAX_QUEUE 512, OLLAMA_CONTEXT_LENGTH 4096.
  ollama: {
    maxSequences: 1,
    tokensPerStep: 512,
    gpuMemoryRatio: 1,
    blockTokens: 1,
    prefixCaching: true,
    contextTokens: 4096,
    maxWaiting: 512,
    keepAliveSeconds: 300,
  },
};
