import { logNormal, type Random } from '../random.ts';

/** Part of all draws that are at or below so many tokens. */
type Quantile = readonly [ratio: number, tokens: number];

/** How long prompts and answers of one kind of use are. */
export interface Shape {
  readonly title: string;
  readonly prompt: readonly Quantile[];
  readonly output: readonly Quantile[];
  /** Means that the source states or gives, in tokens. */
  readonly mean: { readonly prompt: number; readonly output: number };
  /** Where the figures are from, or that they are assumed. */
  readonly source: string;
}

/**
 * Recorded shapes of LLM traffic. Between the quantiles a length is interpolated. Prompt and answer are drawn
 * independently of each other: in both Azure traces their correlation is below 0.12.
 */
export const shapes = {
  chat: {
    title: 'Conversation with a general assistant',
    prompt: [
      [0, 2],
      [0.01, 29],
      [0.05, 181],
      [0.1, 207],
      [0.2, 387],
      [0.3, 403],
      [0.4, 703],
      [0.5, 1020],
      [0.6, 1071],
      [0.7, 1130],
      [0.8, 1315],
      [0.9, 2734],
      [0.95, 4083],
      [0.99, 4142],
      [0.999, 6212],
      [1, 14_050],
    ],
    output: [
      [0, 7],
      [0.01, 16],
      [0.05, 41],
      [0.1, 54],
      [0.2, 77],
      [0.3, 91],
      [0.4, 103],
      [0.5, 129],
      [0.6, 177],
      [0.7, 384],
      [0.8, 400],
      [0.9, 424],
      [0.95, 451],
      [0.99, 601],
      [0.999, 954],
      [1, 1000],
    ],
    mean: { prompt: 1155, output: 211 },
    source:
      'Quantiles of AzureLLMInferenceTrace_conv.csv, 19366 requests of November 2023 (Azure/AzurePublicDataset, CC-BY; Patel et al., "Splitwise", ISCA 2024).',
  },
  code: {
    title: 'Completion of code in an editor',
    prompt: [
      [0, 3],
      [0.01, 17],
      [0.05, 75],
      [0.1, 147],
      [0.2, 386],
      [0.3, 770],
      [0.4, 1075],
      [0.5, 1469],
      [0.6, 1909],
      [0.7, 2433],
      [0.8, 3192],
      [0.9, 5186],
      [0.95, 7302],
      [0.99, 7436],
      [1, 7437],
    ],
    output: [
      [0, 6],
      [0.1, 7],
      [0.2, 8],
      [0.3, 9],
      [0.4, 11],
      [0.5, 13],
      [0.6, 16],
      [0.7, 20],
      [0.8, 29],
      [0.9, 55],
      [0.95, 90],
      [0.97, 128],
      [0.98, 172],
      [0.99, 252],
      [0.995, 361],
      [0.999, 824],
      [1, 1899],
    ],
    mean: { prompt: 2048, output: 28 },
    source:
      'Quantiles of AzureLLMInferenceTrace_code.csv, 8819 requests of November 2023 (Azure/AzurePublicDataset, CC-BY; Patel et al., "Splitwise", ISCA 2024).',
  },
  document: {
    title: 'Questions about long documents and their summaries',
    prompt: [
      [0, 891],
      [0.05, 901],
      [0.1, 964],
      [0.2, 1662],
      [0.3, 3263],
      [0.4, 4993],
      [0.5, 6909],
      [0.6, 9570],
      [0.7, 13_196],
      [0.8, 17_869],
      [0.9, 27_367],
      [0.95, 39_549],
      [0.99, 85_401],
      [1, 126_195],
    ],
    output: [
      [0, 1],
      [0.01, 3],
      [0.05, 10],
      [0.1, 24],
      [0.2, 100],
      [0.3, 213],
      [0.4, 291],
      [0.5, 350],
      [0.6, 399],
      [0.7, 447],
      [0.8, 504],
      [0.9, 597],
      [0.95, 698],
      [0.99, 1120],
      [1, 2000],
    ],
    mean: { prompt: 12_035, output: 343 },
    source:
      'Quantiles of conversation_trace.jsonl, 12031 requests of an assistant that reads long documents (kvcache-ai/Mooncake, FAST25-release; Qin et al., "Mooncake", FAST 2025).',
  },
  agent: {
    title: 'An agent that calls tools: long prompts, short answers',
    prompt: [
      [0, 500],
      [0.01, 970],
      [0.1, 2220],
      [0.25, 3600],
      [0.5, 6180],
      [0.75, 10_600],
      [0.9, 17_200],
      [0.99, 39_700],
      [1, 60_000],
    ],
    output: [
      [0, 4],
      [0.1, 18],
      [0.25, 38],
      [0.5, 85],
      [0.75, 190],
      [0.9, 395],
      [0.95, 610],
      [0.99, 1385],
      [1, 2500],
    ],
    mean: { prompt: 8596, output: 182 },
    source:
      'Means of toolagent_trace.jsonl as its README states them (kvcache-ai/Mooncake, FAST25-release: 23608 requests, 8596 and 182 tokens); the spread around them is assumed to be log-normal, sigma 0.8 and 1.2.',
  },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
export const SHAPE_NAMES = Object.keys(shapes) as [ShapeName, ...ShapeName[]];

/** How many tokens a prompt or an answer has; what is drawn is rounded and kept within the bounds. */
export type LengthSpec = (
  | { readonly kind: 'log-normal'; readonly medianTokens: number; readonly sigma: number }
  /** `scale` stretches the recorded lengths. */
  | { readonly kind: 'recorded'; readonly shape: ShapeName; readonly scale: number }
) & { readonly minTokens: number; readonly maxTokens: number };

/** A length in whole tokens. */
export function drawLength(spec: LengthSpec, side: 'prompt' | 'output', random: Random): number {
  const tokens =
    spec.kind === 'log-normal'
      ? logNormal(random, spec.medianTokens, spec.sigma)
      : spec.scale * tokensAt(shapes[spec.shape][side], random.next());
  return Math.min(spec.maxTokens, Math.max(spec.minTokens, Math.round(tokens)));
}

/** The length that this part of all draws does not exceed: the inverse of the distribution function. */
export function tokensAt(quantiles: readonly Quantile[], ratio: number): number {
  let [lowerRatio, lowerTokens] = quantiles[0] ?? [0, 0];
  for (const [upperRatio, upperTokens] of quantiles) {
    if (ratio <= upperRatio) {
      const width = upperRatio - lowerRatio;
      return width === 0
        ? upperTokens
        : lowerTokens + ((ratio - lowerRatio) / width) * (upperTokens - lowerTokens);
    }
    [lowerRatio, lowerTokens] = [upperRatio, upperTokens];
  }
  return lowerTokens;
}
