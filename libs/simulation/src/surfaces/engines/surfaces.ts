import type { EngineKind } from '../../engine/engine.ts';
import { llamacpp } from './llamacpp.ts';
import { ollama } from './ollama.ts';
import { sglang } from './sglang.ts';
import type { EngineSurface } from './surface.ts';
import { tgi } from './tgi.ts';
import { triton } from './triton.ts';
import { vllm } from './vllm.ts';

/** What each engine prints of itself. */
export const surfaces: Readonly<Record<EngineKind, EngineSurface>> = {
  vllm,
  sglang,
  tgi,
  llamacpp,
  ollama,
  triton,
};
