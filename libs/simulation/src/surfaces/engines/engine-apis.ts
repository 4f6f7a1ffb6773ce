import type { EngineKind } from '../../engine/engine.ts';
import type { EngineApi } from './engine-api.ts';
import { llamacppApi } from './llamacpp-api.ts';
import { ollamaApi } from './ollama-api.ts';
import { sglangApi } from './sglang-api.ts';
import { tgiApi } from './tgi-api.ts';
import { tritonApi } from './triton-api.ts';
import { vllmApi } from './vllm-api.ts';

/** What clients may ask of each engine. */
export const engineApis: Readonly<Record<EngineKind, EngineApi>> = {
  vllm: vllmApi,
  sglang: sglangApi,
  tgi: tgiApi,
  llamacpp: llamacppApi,
  ollama: ollamaApi,
  triton: tritonApi,
};
