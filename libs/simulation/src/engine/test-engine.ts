import type { Board } from '../gpu/board.ts';
import type { GpuSpeed, GpuWork } from '../gpu/gpu.ts';
import { createRandom } from '../random.ts';
import { EventQueue } from '../scheduler.ts';
import type { EngineConfig } from './engine-config.ts';
import type { EngineGpu, GpuAllocation } from './engine-gpu.ts';
import type { EngineKind, EngineRequest, FinishReason, RequestListener } from './engine.ts';
import type { Model } from './model.ts';
import { findModel } from './models.ts';
import { SimulatedEngine } from './simulated-engine.ts';

/** An H100 SXM5 in what an engine looks at. */
export const H100: Board = {
  key: 'h100-sxm',
  name: 'NVIDIA H100 80GB HBM3',
  vendor: 'nvidia',
  architecture: 'Hopper',
  memoryBytes: 81_559 * 1024 ** 2,
  unifiedMemory: false,
  memoryBytesPerSecond: 3.35e12,
  peakFlopsPerSecond: { fp16: 989e12, fp8: 1979e12, int8: 1979e12, fp32: 67e12 },
  powerLimitWatts: { default: 700, min: 200, max: 700 },
  idleWatts: 70,
  clocksHertz: { smIdle: 345e6, smBase: 1590e6, smMax: 1980e6, memoryIdle: 2619e6, memoryMax: 2619e6 },
  thermal: {
    slowdownCelsius: 87,
    hardwareSlowdownCelsius: 92,
    shutdownCelsius: 95,
    celsiusPerWatt: 0.05,
    joulesPerCelsius: 500,
  },
  pcie: { generation: 5, width: 16 },
  nvlink: { links: 18, bytesPerSecondPerLink: 25e9 },
  ecc: true,
  mig: true,
  sources: [],
  estimated: {},
};

/** A GPU of fixed speed that remembers what it was told. */
export class FakeGpu implements EngineGpu {
  readonly board: Board;
  readonly works: GpuWork[] = [];
  readonly allocations = new Map<number, GpuAllocation>();
  lost = false;
  computeRatio = 1;
  bandwidthRatio = 1;
  onWork: (work: GpuWork) => void = () => {};

  constructor(board: Board = H100) {
    this.board = board;
  }

  speed(): GpuSpeed {
    const peaks = this.board.peakFlopsPerSecond;
    return {
      flopsPerSecond: (precision) => (peaks[precision] ?? peaks.fp16) * this.computeRatio,
      memoryBytesPerSecond: this.board.memoryBytesPerSecond * this.bandwidthRatio,
    };
  }

  work(work: GpuWork): void {
    this.works.push(work);
    this.onWork(work);
  }

  allocate(allocation: GpuAllocation): boolean {
    const others = this.usedBytes() - (this.allocations.get(allocation.pid)?.memoryBytes ?? 0);
    if (this.lost || others + allocation.memoryBytes > this.board.memoryBytes) return false;
    this.allocations.set(allocation.pid, allocation);
    return true;
  }

  release(pid: number): void {
    this.allocations.delete(pid);
  }

  isLost(): boolean {
    return this.lost;
  }

  usedBytes(): number {
    return [...this.allocations.values()].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }
}

/** @returns the model of the table; a test that names another one fails here */
export function model(name: string): Model {
  const found = findModel(name);
  if (found === undefined) throw new Error(`no model ${name} in the table`);
  return found;
}

const SECONDS = [0.001, 0.01, 0.1, 1, 10, 100];
const TOKENS = [1, 10, 100, 1000, 10_000];

const BOUNDS: EngineConfig['histogramBounds'] = {
  timeToFirstTokenSeconds: SECONDS,
  interTokenSeconds: SECONDS,
  timePerOutputTokenSeconds: SECONDS,
  requestSeconds: SECONDS,
  queueSeconds: SECONDS,
  prefillSeconds: SECONDS,
  decodeSeconds: SECONDS,
  inferenceSeconds: SECONDS,
  promptTokens: TOKENS,
  generatedTokens: TOKENS,
  maxTokens: TOKENS,
  iterationTokens: TOKENS,
};

export const LLAMA_8B = 'meta-llama/Llama-3.1-8B-Instruct';

/** vLLM's own defaults on an H100 with one 8B model. */
const VLLM: EngineConfig = {
  models: [model(LLAMA_8B)],
  maxSequences: 256,
  tokensPerStep: 8192,
  gpuMemoryRatio: 0.9,
  blockTokens: 16,
  prefixCaching: true,
  histogramBounds: BOUNDS,
};

/** What a client saw of a request. */
export interface Answer extends RequestListener {
  tokens: number;
  firstSeconds: number | undefined;
  reason: FinishReason | undefined;
  endSeconds: number | undefined;
}

/** @param then runs when the answer has ended */
export function listen(then: () => void = () => {}): Answer {
  const answer: Answer = {
    tokens: 0,
    firstSeconds: undefined,
    reason: undefined,
    endSeconds: undefined,
    onTokens: (count, seconds) => {
      answer.tokens += count;
      answer.firstSeconds ??= seconds;
    },
    onEnd: (reason, seconds) => {
      if (answer.reason !== undefined) throw new Error('the answer has ended twice');
      answer.reason = reason;
      answer.endSeconds = seconds;
      then();
    },
  };
  return answer;
}

/** An engine that serves on fake GPUs, in a world of its own. */
export function createBench(
  settings: { kind?: EngineKind; config?: Partial<EngineConfig>; gpus?: FakeGpu[]; seed?: string } = {},
) {
  const world = new EventQueue();
  const gpus = settings.gpus ?? [new FakeGpu()];
  const config: EngineConfig = { ...VLLM, ...settings.config };
  const engine = new SimulatedEngine({
    name: 'one',
    kind: settings.kind ?? 'vllm',
    version: '0.11.0',
    config,
    gpus,
    scheduler: world,
    random: createRandom(settings.seed ?? 'bench'),
    pid: 4000,
  });
  let requests = 0;
  const request = (wish: Partial<EngineRequest> = {}): EngineRequest => {
    requests += 1;
    const name = config.models[0]?.name ?? '';
    return {
      id: `request-${requests}`,
      model: name,
      tenant: 'team',
      kind: 'chat',
      promptTokens: 100,
      outputTokens: 10,
      maxTokens: 1000,
      ...wish,
    };
  };
  const submit = (wish: Partial<EngineRequest> = {}): Answer => {
    const answer = listen();
    const admission = engine.submit(request(wish), answer);
    if (!admission.accepted) throw new Error(`refused: ${admission.message}`);
    return answer;
  };
  /** Serves at once. */
  const serve = (): void => {
    engine.start(0);
    world.runUntil(world.now);
  };
  const run = (seconds: number): void => world.runUntil(world.now + seconds);
  return { world, gpus, config, engine, request, submit, serve, run };
}
