import type { EngineAdapter } from './adapter.ts';
import { aphrodite } from './adapters/aphrodite.ts';
import { dynamo } from './adapters/dynamo.ts';
import { koboldcpp } from './adapters/koboldcpp.ts';
import { litellm } from './adapters/litellm.ts';
import { llamacpp } from './adapters/llamacpp.ts';
import { lmdeploy } from './adapters/lmdeploy.ts';
import { lmstudio } from './adapters/lmstudio.ts';
import { nim } from './adapters/nim.ts';
import { ollama } from './adapters/ollama.ts';
import { openai } from './adapters/openai.ts';
import { ray } from './adapters/ray.ts';
import { sglang } from './adapters/sglang.ts';
import { tgi } from './adapters/tgi.ts';
import { triton } from './adapters/triton.ts';
import { trtllm } from './adapters/trtllm.ts';
import { vllm } from './adapters/vllm.ts';

/**
 * Every engine there is: the only list. Order is precedence where two fingerprints fit, so whatever passes on another
 * engine's metrics stands before it, and the generic one last.
 */
export const engines = {
  dynamo,
  ray,
  triton,
  nim,
  vllm,
  sglang,
  trtllm,
  tgi,
  aphrodite,
  lmdeploy,
  litellm,
  llamacpp,
  koboldcpp,
  ollama,
  lmstudio,
  openai,
} satisfies Record<string, EngineAdapter>;

export type EngineName = keyof typeof engines;

export const ENGINE_NAMES = Object.keys(engines) as EngineName[];

export function isEngineName(name: string): name is EngineName {
  return Object.hasOwn(engines, name);
}

/** The adapter of an engine. */
export function adapterOf(name: EngineName): EngineAdapter {
  return engines[name];
}
