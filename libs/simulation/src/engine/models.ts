import type { Model } from './model.ts';

const FP16 = { bytesPerParameter: 2, precision: 'fp16', kvBytesPerElement: 2 } as const;

/** Files of llama.cpp: matrices are multiplied as int8 (its MMQ kernels), keys and values stay fp16. */
const gguf = (fileBytes: number, parameters: number) =>
  ({
    parameters,
    activeParameters: parameters,
    bytesPerParameter: fileBytes / parameters,
    precision: 'int8',
    kvBytesPerElement: 2,
  }) as const;

const LLAMA_3_3_70B = {
  parameters: 70_553_706_496,
  activeParameters: 70_553_706_496,
  layers: 80,
  hiddenSize: 8192,
  attentionHeads: 64,
  kvHeads: 8,
  headSize: 128,
  vocabulary: 128_256,
  contextTokens: 131_072,
} as const;

/**
 * Models that scenarios can name, as published. Layers, heads, sizes and context are from `config.json` of the page in
 * `source` (for GGUF files: the metadata of the file), parameters from the tensors listed there, and the size of a GGUF
 * file is that of the registry's manifest.
 */
export const MODELS: readonly Model[] = [
  {
    name: 'meta-llama/Llama-3.1-8B-Instruct',
    parameters: 8_030_261_248,
    activeParameters: 8_030_261_248,
    layers: 32,
    hiddenSize: 4096,
    attentionHeads: 32,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 128_256,
    contextTokens: 131_072,
    ...FP16,
    source: 'https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/blob/main/config.json',
  },
  {
    name: 'meta-llama/Llama-3.3-70B-Instruct',
    ...LLAMA_3_3_70B,
    ...FP16,
    source: 'https://huggingface.co/meta-llama/Llama-3.3-70B-Instruct/blob/main/config.json',
  },
  {
    name: 'RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic',
    ...LLAMA_3_3_70B,
    // The embedding and the head, 2.1e9 parameters, stay in 16 bits.
    bytesPerParameter: 1.03,
    precision: 'fp8',
    kvBytesPerElement: 2,
    source: 'https://huggingface.co/RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic/blob/main/config.json',
  },
  {
    name: 'Qwen/Qwen2.5-7B-Instruct',
    parameters: 7_615_616_512,
    activeParameters: 7_615_616_512,
    layers: 28,
    hiddenSize: 3584,
    attentionHeads: 28,
    kvHeads: 4,
    headSize: 128,
    vocabulary: 152_064,
    contextTokens: 32_768,
    ...FP16,
    source: 'https://huggingface.co/Qwen/Qwen2.5-7B-Instruct/blob/main/config.json',
  },
  {
    name: 'Qwen/Qwen2.5-32B-Instruct',
    parameters: 32_763_876_352,
    activeParameters: 32_763_876_352,
    layers: 64,
    hiddenSize: 5120,
    attentionHeads: 40,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 152_064,
    contextTokens: 32_768,
    ...FP16,
    source: 'https://huggingface.co/Qwen/Qwen2.5-32B-Instruct/blob/main/config.json',
  },
  {
    name: 'Qwen/Qwen3-30B-A3B',
    parameters: 30_532_122_624,
    activeParameters: 3_353_032_704,
    experts: { count: 128, perToken: 8 },
    layers: 48,
    hiddenSize: 2048,
    attentionHeads: 32,
    kvHeads: 4,
    headSize: 128,
    vocabulary: 151_936,
    contextTokens: 40_960,
    ...FP16,
    source: 'https://huggingface.co/Qwen/Qwen3-30B-A3B/blob/main/config.json',
  },
  {
    name: 'mistralai/Mistral-7B-Instruct-v0.3',
    parameters: 7_248_023_552,
    activeParameters: 7_248_023_552,
    layers: 32,
    hiddenSize: 4096,
    attentionHeads: 32,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 32_768,
    contextTokens: 32_768,
    ...FP16,
    source: 'https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3/blob/main/config.json',
  },
  {
    name: 'mistralai/Mixtral-8x7B-Instruct-v0.1',
    parameters: 46_702_792_704,
    activeParameters: 12_879_921_152,
    experts: { count: 8, perToken: 2 },
    layers: 32,
    hiddenSize: 4096,
    attentionHeads: 32,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 32_000,
    contextTokens: 32_768,
    ...FP16,
    source: 'https://huggingface.co/mistralai/Mixtral-8x7B-Instruct-v0.1/blob/main/config.json',
  },
  {
    name: 'llama3.1:8b',
    ...gguf(4_920_753_328, 8_030_261_248),
    layers: 32,
    hiddenSize: 4096,
    attentionHeads: 32,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 128_256,
    contextTokens: 131_072,
    source: 'https://ollama.com/library/llama3.1:8b (Q4_K_M)',
  },
  {
    name: 'llama3.2:3b',
    ...gguf(2_019_377_376, 3_212_749_888),
    layers: 28,
    hiddenSize: 3072,
    attentionHeads: 24,
    kvHeads: 8,
    headSize: 128,
    vocabulary: 128_256,
    contextTokens: 131_072,
    source: 'https://ollama.com/library/llama3.2:3b (Q4_K_M)',
  },
  {
    name: 'qwen2.5:0.5b',
    ...gguf(397_807_936, 494_032_768),
    layers: 24,
    hiddenSize: 896,
    attentionHeads: 14,
    kvHeads: 2,
    headSize: 64,
    vocabulary: 151_936,
    contextTokens: 32_768,
    source: 'https://ollama.com/library/qwen2.5:0.5b (Q4_K_M)',
  },
  {
    name: 'BAAI/bge-m3',
    parameters: 567_754_752,
    activeParameters: 567_754_752,
    layers: 24,
    hiddenSize: 1024,
    attentionHeads: 16,
    kvHeads: 16,
    headSize: 64,
    vocabulary: 250_002,
    contextTokens: 8192,
    ...FP16,
    source: 'https://huggingface.co/BAAI/bge-m3/blob/main/config.json',
  },
  {
    name: 'nomic-embed-text',
    parameters: 136_727_040,
    activeParameters: 136_727_040,
    layers: 12,
    hiddenSize: 768,
    attentionHeads: 12,
    kvHeads: 12,
    headSize: 64,
    vocabulary: 30_522,
    contextTokens: 2048,
    ...FP16,
    source: 'https://ollama.com/library/nomic-embed-text (F16; trained for 2048 tokens)',
  },
];

/** @returns the model of that name, or undefined when the table has none */
export function findModel(name: string): Model | undefined {
  return MODELS.find((model) => model.name === name);
}

/** Bytes of all weights as stored. */
export function weightBytes(model: Model): number {
  return model.parameters * model.bytesPerParameter;
}

/** Bytes of the keys and values of one token over all layers: what each token of context costs in memory and in reading. */
export function kvBytesPerToken(model: Model): number {
  return 2 * model.layers * model.kvHeads * model.headSize * model.kvBytesPerElement;
}

/**
 * Bytes of the weights that a step over so many tokens reads. A dense model reads all of them. Of a mixture of experts
 * each token picks `perToken` experts of `count` in each layer; with picks taken as independent, an expert stays untouched
 * by n tokens with probability (1 - perToken/count)^n.
 */
export function readWeightBytes(model: Model, tokens: number): number {
  if (model.experts === undefined) return weightBytes(model);
  const share = model.experts.perToken / model.experts.count;
  // parameters = common + inExperts, activeParameters = common + share * inExperts
  const inExperts = (model.parameters - model.activeParameters) / (1 - share);
  const touched = 1 - (1 - share) ** tokens;
  return (model.parameters - inExperts * (1 - touched)) * model.bytesPerParameter;
}
