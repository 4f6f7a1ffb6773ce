import type { EngineKind } from './engine.ts';
import type { Efficiency } from './step-time.ts';

/** What sets one engine apart from the others; all run the same machine. */
export interface EngineKindTraits {
  /** Blocks shared by all sequences, or slots of a fixed size. */
  readonly memory: 'blocks' | 'slots';
  /** Sequences may be thrown out when blocks run out; else room for the whole answer is taken before one starts. */
  readonly preempts: boolean;
  readonly split: 'tensor' | 'layers';
  /** Models are loaded when a request wants one, each in a process of its own. */
  readonly loadsOnDemand: boolean;
  /** Whether `contextTokens` is for each slot or for all together. */
  readonly contextPerSlot: boolean;
  /** What happens to a prompt beyond the context. */
  readonly longPrompt: 'refused' | 'cut';
  /** `promptAndAnswer`: refused at the door when prompt and permitted answer together are beyond the context. */
  readonly contextCheck: 'prompt' | 'promptAndAnswer';
  readonly checksModelName: boolean;
  /** Its port is open and answers while weights are loaded. */
  readonly listensWhileLoading: boolean;
  readonly unknownModel: (model: string) => Refusal;
  readonly contextTooLong: (promptTokens: number, maxTokens: number, contextTokens: number) => Refusal;
  readonly queueFull: Refusal;
  readonly loading: Refusal;
  /** From the process's start until it serves, beyond reading the weights: imports, compilation, graph capture. */
  readonly startSeconds: number;
  /** Memory on each GPU for activations, graphs and libraries. */
  readonly overheadBytes: number;
  readonly efficiency: Efficiency;
  /** As `nvidia-smi` shows the process that holds the GPU. */
  readonly process: (model: string) => { readonly program: string; readonly command: readonly string[] };
}

export interface Refusal {
  readonly status: number;
  readonly message: string;
}

/**
 * Half of the peak in large matrix products and four fifths of the bandwidth in decoding are what tuned kernels of
 * data-center engines reach end to end (MLPerf, vLLM and TensorRT-LLM reports); what remains is host time, which falls
 * from Python (TGI, vLLM) to C++ (TensorRT-LLM).
 */
const TUNED = { computeRatio: 0.5, bandwidthRatio: 0.8, layerSeconds: 12e-6, sequenceSeconds: 8e-6 };

/** llama.cpp: about 30 % of the int8 peak in prompts, 70 % of the bandwidth in generation (llama-bench on RTX 4090). */
const LLAMA_CPP = { computeRatio: 0.3, bandwidthRatio: 0.7, layerSeconds: 10e-6, sequenceSeconds: 20e-6 };

const BLOCKS = {
  memory: 'blocks',
  split: 'tensor',
  loadsOnDemand: false,
  contextPerSlot: false,
  longPrompt: 'refused',
  listensWhileLoading: false,
  loading: { status: 503, message: 'Service Unavailable' },
  overheadBytes: 2e9,
} as const;

const SLOTS = {
  memory: 'slots',
  preempts: false,
  split: 'layers',
  contextCheck: 'prompt',
  overheadBytes: 0.6e9,
} as const;

const notFound = (message: string): Refusal => ({ status: 404, message });

/** Every kind of engine there is. */
export const ENGINE_KINDS: Readonly<Record<EngineKind, EngineKindTraits>> = {
  vllm: {
    ...BLOCKS,
    preempts: true,
    contextCheck: 'promptAndAnswer',
    checksModelName: true,
    unknownModel: (model) => notFound(`The model \`${model}\` does not exist.`),
    contextTooLong: (prompt, answer, context) => ({
      status: 400,
      message:
        `This model's maximum context length is ${context} tokens. However, you requested ${prompt + answer} tokens ` +
        `(${prompt} in the messages, ${answer} in the completion). Please reduce the length of the messages or completion.`,
    }),
    queueFull: { status: 503, message: 'The request queue is full.' },
    startSeconds: 40,
    efficiency: { ...TUNED, stepSeconds: 0.8e-3 },
    process: (model) => ({ program: 'VLLM::EngineCore', command: ['vllm', 'serve', model] }),
  },
  sglang: {
    ...BLOCKS,
    preempts: true,
    contextCheck: 'prompt',
    checksModelName: false,
    unknownModel: (model) => notFound(`The model \`${model}\` does not exist.`),
    contextTooLong: (prompt, _answer, context) => ({
      status: 400,
      message: `The input (${prompt} tokens) is longer than the model's context length (${context} tokens).`,
    }),
    queueFull: { status: 503, message: 'The request queue is full.' },
    startSeconds: 30,
    efficiency: { ...TUNED, stepSeconds: 0.6e-3 },
    process: (model) => ({
      program: 'sglang::scheduler',
      command: ['python3', '-m', 'sglang.launch_server', '--model-path', model],
    }),
  },
  tgi: {
    ...BLOCKS,
    // The router adds a request to the batch when blocks for its prompt and max_new_tokens are there.
    preempts: false,
    contextCheck: 'promptAndAnswer',
    checksModelName: false,
    unknownModel: (model) => notFound(`The model \`${model}\` does not exist.`),
    contextTooLong: (prompt, answer, context) => ({
      status: 422,
      message:
        `Input validation error: \`inputs\` tokens + \`max_new_tokens\` must be <= ${context}. ` +
        `Given: ${prompt} \`inputs\` tokens and ${answer} \`max_new_tokens\``,
    }),
    queueFull: { status: 429, message: 'Model is overloaded' },
    startSeconds: 25,
    efficiency: { ...TUNED, stepSeconds: 1.2e-3 },
    process: (model) => ({
      program: '/opt/conda/bin/python3.11',
      command: ['/opt/conda/bin/python3.11', '/opt/conda/bin/text-generation-server', 'serve', model],
    }),
  },
  triton: {
    ...BLOCKS,
    // GUARANTEED_NO_EVICT, the default batch scheduler policy of the TensorRT-LLM backend.
    preempts: false,
    contextCheck: 'promptAndAnswer',
    checksModelName: true,
    unknownModel: (model) => notFound(`Request for unknown model: '${model}' is not found`),
    contextTooLong: (prompt, answer, context) => ({
      status: 400,
      message: `Prompt length (${prompt}) and requested output length (${answer}) exceed max_seq_len (${context}).`,
    }),
    queueFull: { status: 503, message: 'Exceeds maximum queue size' },
    startSeconds: 15,
    efficiency: { ...TUNED, stepSeconds: 0.3e-3 },
    process: () => ({ program: 'tritonserver', command: ['tritonserver', '--model-repository=/models'] }),
  },
  llamacpp: {
    ...SLOTS,
    loadsOnDemand: false,
    contextPerSlot: false,
    longPrompt: 'refused',
    // One model is there, and it answers whatever name a request gives.
    checksModelName: false,
    listensWhileLoading: true,
    unknownModel: (model) => notFound(`model '${model}' not found`),
    contextTooLong: (prompt, _answer, context) => ({
      status: 400,
      message: `request (${prompt} tokens) exceeds the available context size (${context} tokens), try increasing it`,
    }),
    queueFull: { status: 503, message: 'No slot available' },
    loading: { status: 503, message: 'Loading model' },
    startSeconds: 1,
    efficiency: { ...LLAMA_CPP, stepSeconds: 0.1e-3 },
    process: (model) => ({ program: 'llama-server', command: ['llama-server', '--model', model] }),
  },
  ollama: {
    ...SLOTS,
    loadsOnDemand: true,
    contextPerSlot: true,
    // The oldest messages are left out until the prompt fits, and a full context is shifted; nobody is told.
    longPrompt: 'cut',
    checksModelName: true,
    listensWhileLoading: false,
    unknownModel: (model) => notFound(`model '${model}' not found`),
    contextTooLong: (prompt, _answer, context) => ({
      status: 400,
      message: `the input length (${prompt}) exceeds the context length (${context})`,
    }),
    queueFull: { status: 503, message: 'server busy, please try again.  maximum pending requests exceeded' },
    loading: { status: 503, message: 'Service Unavailable' },
    startSeconds: 0.5,
    efficiency: { ...LLAMA_CPP, stepSeconds: 0.2e-3 },
    process: (model) => ({
      program: '/usr/local/bin/ollama',
      command: ['/usr/local/bin/ollama', 'runner', '--model', model],
    }),
  },
};
