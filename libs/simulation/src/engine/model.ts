/** A language model by the figures that its speed and memory follow from. */
export interface Model {
  /** As users and engines name it: `meta-llama/Llama-3.1-8B-Instruct`. */
  readonly name: string;
  readonly parameters: number;
  /** Of a mixture of experts: those that one token uses. */
  readonly activeParameters: number;
  /** Of a mixture of experts: how many each layer has, and how many of them one token visits. */
  readonly experts?: { readonly count: number; readonly perToken: number };
  readonly layers: number;
  readonly hiddenSize: number;
  readonly attentionHeads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly vocabulary: number;
  readonly contextTokens: number;
  /** Of the stored weights: 2 for fp16, 1 for fp8, about 0.56 for Q4_K_M. */
  readonly bytesPerParameter: number;
  readonly precision: 'fp16' | 'fp8' | 'int8';
  /** Of a token's keys and values in one layer and head element: 2, or 1 for an fp8 cache. */
  readonly kvBytesPerElement: number;
  readonly source: string;
}
