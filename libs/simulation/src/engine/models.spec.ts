import { kvBytesPerToken, findModel, MODELS, readWeightBytes, weightBytes } from './models.ts';
import { model } from './test-engine.ts';

it.each([
  { name: 'meta-llama/Llama-3.1-8B-Instruct', kvBytes: 131_072, weights: 16_060_522_496 },
  { name: 'meta-llama/Llama-3.3-70B-Instruct', kvBytes: 327_680, weights: 141_107_412_992 },
  { name: 'Qwen/Qwen2.5-7B-Instruct', kvBytes: 57_344, weights: 15_231_233_024 },
  { name: 'Qwen/Qwen3-30B-A3B', kvBytes: 98_304, weights: 61_064_245_248 },
  { name: 'llama3.2:3b', kvBytes: 114_688, weights: 2_019_377_376 },
  { name: 'qwen2.5:0.5b', kvBytes: 12_288, weights: 397_807_936 },
])('knows what $name weighs and what a token of context costs', ({ name, kvBytes, weights }) => {
  expect(kvBytesPerToken(model(name))).toBe(kvBytes);
  expect(weightBytes(model(name))).toBeCloseTo(weights, -1);
});

it.each(MODELS)('$name is consistent in itself and says where its figures are from', (each) => {
  expect(each.source).toMatch(/^https:\/\//);
  expect(each.activeParameters).toBeLessThanOrEqual(each.parameters);
  expect(each.experts === undefined).toBe(each.activeParameters === each.parameters);
  expect(each.attentionHeads % each.kvHeads).toBe(0);
});

it('has each name once and none that it does not have', () => {
  expect(new Set(MODELS.map(({ name }) => name)).size).toBe(MODELS.length);
  expect(findModel('meta-llama/Llama-3.1-8B')).toBeUndefined();
});

describe('weights that a step reads', () => {
  it('are all of a dense model', () => {
    const dense = model('meta-llama/Llama-3.1-8B-Instruct');
    expect(readWeightBytes(dense, 1)).toBe(weightBytes(dense));
  });

  it('are the active ones of a mixture of experts for one token, and all for many', () => {
    const mixture = model('Qwen/Qwen3-30B-A3B');
    expect(readWeightBytes(mixture, 1)).toBeCloseTo(mixture.activeParameters * 2, -3);
    const [few, some] = [readWeightBytes(mixture, 4), readWeightBytes(mixture, 32)];
    expect(few / weightBytes(mixture)).toBeGreaterThan(0.25);
    expect(few / weightBytes(mixture)).toBeLessThan(0.35);
    expect(some / weightBytes(mixture)).toBeGreaterThan(0.85);
    expect(readWeightBytes(mixture, 8192)).toBeCloseTo(weightBytes(mixture), -3);
  });
});
