import type { Board } from '../gpu/board.ts';
import type { EngineGpu } from './engine-gpu.ts';
import type { Model } from './model.ts';
import { kvBytesPerToken, readWeightBytes, weightBytes } from './models.ts';

/** What one step has to do, summed up over its batch. */
export interface StepLoad {
  sequences: number;
  /** Tokens that go through the layers: prompt chunks, one per decoding sequence, drafts to verify. */
  tokens: number;
  /** Pairs of a new token and a token that it attends to. */
  attendedPairs: number;
  /** Tokens whose keys and values are read. */
  contextTokens: number;
  /** Tokens that a draft head guesses for each sequence, one after the other. */
  draftTokens: number;
}

/** The processor and its memory, for layers that are not on a GPU. */
export interface Host {
  readonly memoryBytesPerSecond: number;
  readonly flopsPerSecond: number;
}

/** What of the peaks an engine's kernels reach, and what it needs besides them. */
export interface Efficiency {
  /** Of the peak FLOP/s in matrix products. */
  readonly computeRatio: number;
  /** Of the memory's peak bandwidth. */
  readonly bandwidthRatio: number;
  /** Scheduler, input preparation and launch, during which the GPU waits. */
  readonly stepSeconds: number;
  /** Kernels too small to fill the GPU (norms, rotary embedding, activation, launch gaps). */
  readonly layerSeconds: number;
  /** Sampling and detokenization of one sequence on the processor. */
  readonly sequenceSeconds: number;
}

/** Where a model runs. */
export interface Machine {
  readonly model: Model;
  readonly gpus: readonly EngineGpu[];
  /** `tensor`: every GPU computes a part of each layer, at once. `layers`: each GPU has some layers, one GPU after the other. */
  readonly split: 'tensor' | 'layers';
  /** Layers on the GPUs; the others are on the processor. */
  readonly gpuLayers: number;
  readonly host: Host;
  readonly efficiency: Efficiency;
}

/** Time of one step, and what it costs each GPU (all have the same share). */
export interface StepCost {
  seconds: number;
  /** How long each GPU is at work; with `split: 'layers'` one after the other. */
  gpuSeconds: number;
  flops: number;
  memoryBytes: number;
  nvlinkBytes: number;
  pcieBytes: number;
}

/** A one-shot all-reduce of small messages over NVLink takes about 6 us; over PCIe NCCL needs about 20 us. */
const ALL_REDUCE_SECONDS = { nvlink: 6e-6, pcie: 20e-6 };
/** Of a link's nominal rate, what NCCL's bus bandwidth reaches with large messages. */
const LINK_RATIO = 0.75;
/** Activations are exchanged in 16 bits whatever the weights are stored in. */
const ACTIVATION_BYTES = 2;

/**
 * Roofline of one step. The layers' matrices are read once for the whole batch and take 2 FLOP per parameter and token;
 * attention reads the keys and values of each sequence and takes 4 FLOP per pair and head element. Each of the two parts
 * takes as long as the slower of computing and reading; the parts follow each other in every layer, so they add up.
 * The slowest GPU sets the pace.
 */
export function stepCost(machine: Machine, load: StepLoad): StepCost {
  const { model, gpus, efficiency } = machine;
  const gpuShare = gpus.length === 0 ? 0 : machine.gpuLayers / model.layers;
  const parts = amounts(model, load);
  const host = hostSeconds(machine.host, parts, 1 - gpuShare);
  const idle = host + efficiency.stepSeconds + efficiency.sequenceSeconds * load.sequences;
  if (gpuShare === 0) {
    return { seconds: idle, gpuSeconds: 0, flops: 0, memoryBytes: 0, nvlinkBytes: 0, pcieBytes: 0 };
  }
  const each = gpuShare / gpus.length;
  const kvEach = machine.split === 'tensor' ? gpuShare / Math.min(gpus.length, model.kvHeads) : each;
  const link = exchange(machine, load.tokens);
  const turns = machine.split === 'tensor' ? 1 : gpus.length;
  const gpuSeconds =
    slowestSeconds(machine, parts, each, kvEach) +
    link.seconds +
    (efficiency.layerSeconds * machine.gpuLayers) / turns;
  return {
    seconds: idle + turns * gpuSeconds,
    gpuSeconds,
    flops: (parts.linearFlops + parts.attentionFlops) * each,
    memoryBytes: parts.weightBytes * each + parts.kvBytes * kvEach,
    nvlinkBytes: link.nvlinkBytes,
    pcieBytes: link.pcieBytes,
  };
}

interface Amounts {
  readonly linearFlops: number;
  readonly weightBytes: number;
  readonly attentionFlops: number;
  readonly kvBytes: number;
}

function amounts(model: Model, load: StepLoad): Amounts {
  // A draft head of the EAGLE kind is one layer of the model, run once per draft token.
  const drafting = load.draftTokens / model.layers;
  return {
    linearFlops: 2 * model.activeParameters * (load.tokens + drafting * load.sequences),
    weightBytes: readWeightBytes(model, load.tokens) + drafting * weightBytes(model),
    attentionFlops: 4 * model.layers * model.attentionHeads * model.headSize * load.attendedPairs,
    kvBytes: kvBytesPerToken(model) * (load.contextTokens + load.tokens),
  };
}

function slowestSeconds(machine: Machine, parts: Amounts, each: number, kvEach: number): number {
  const { computeRatio, bandwidthRatio } = machine.efficiency;
  let slowest = 0;
  for (const gpu of machine.gpus) {
    const speed = gpu.speed();
    const flops = speed.flopsPerSecond(machine.model.precision) * computeRatio;
    // Attention multiplies 16-bit queries, keys and values whatever the weights are.
    const attentionFlops = speed.flopsPerSecond('fp16') * computeRatio;
    const bandwidth = speed.memoryBytesPerSecond * bandwidthRatio;
    const linear = Math.max((parts.linearFlops * each) / flops, (parts.weightBytes * each) / bandwidth);
    const attention = Math.max(
      (parts.attentionFlops * each) / attentionFlops,
      (parts.kvBytes * kvEach) / bandwidth,
    );
    slowest = Math.max(slowest, linear + attention);
  }
  return slowest;
}

/** The processor reads its weights about as fast as its memory gives them; its peak is quoted as reached. */
function hostSeconds(host: Host, parts: Amounts, share: number): number {
  if (share <= 0) return 0;
  const compute = ((parts.linearFlops + parts.attentionFlops) * share) / host.flopsPerSecond;
  const read = ((parts.weightBytes + parts.kvBytes) * share) / host.memoryBytesPerSecond;
  return Math.max(compute, read);
}

/** Tensor parallel layers end in two all-reduces of the hidden states (after attention, after the feed-forward part). */
function exchange(
  machine: Machine,
  tokens: number,
): { seconds: number; nvlinkBytes: number; pcieBytes: number } {
  const { model, gpus } = machine;
  const first = gpus[0];
  const message = tokens * model.hiddenSize * ACTIVATION_BYTES;
  if (first === undefined || machine.split === 'layers' || gpus.length === 1) {
    // Between GPUs, or between a GPU and the processor, the hidden states are handed over once.
    const borders = gpus.length - 1 + (machine.gpuLayers < model.layers ? 1 : 0);
    return { seconds: 0, nvlinkBytes: 0, pcieBytes: borders > 0 ? message : 0 };
  }
  const reductions = 2 * model.layers;
  const bytes = reductions * ((2 * (gpus.length - 1)) / gpus.length) * message;
  const link = first.board.nvlink;
  const rate = link === undefined ? pcieBytesPerSecond(first.board) : link.links * link.bytesPerSecondPerLink;
  const latency = link === undefined ? ALL_REDUCE_SECONDS.pcie : ALL_REDUCE_SECONDS.nvlink;
  return {
    seconds: reductions * latency + bytes / (rate * LINK_RATIO),
    nvlinkBytes: link === undefined ? 0 : bytes,
    pcieBytes: link === undefined ? bytes : 0,
  };
}

/** Bytes per second in one direction, from the specification's transfer rates less their line code. */
export function pcieBytesPerSecond({ pcie }: Pick<Board, 'pcie'>): number {
  // Generation 3 carries 0.985e9 bytes per second and lane (8 GT/s, 128b/130b); each generation doubles it.
  return 0.985e9 * 2 ** (pcie.generation - 3) * pcie.width;
}
