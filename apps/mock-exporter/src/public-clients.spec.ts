import type { EngineState } from '@llm-monitor/simulation';
import { Ollama } from 'ollama';
import OpenAI, { APIError, APIUserAbortError, NotFoundError } from 'openai';

import { startTestMock, type TestMock } from './test-mock.ts';
import { until } from './test-until.ts';

/** Nobody but the clients below: what an engine counts is theirs. */
const SCENARIO = `
seed: clients
host:
  name: clients
  gpus:
    - { board: h100-sxm, count: 4 }
    - { board: rtx-4090, count: 2 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: vllm, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0], settings: { context_tokens: 16384, loras: [sql], max_loras: 1 } }
  - { name: sglang, kind: sglang, port: 0, model: Qwen/Qwen2.5-7B-Instruct, gpus: [1] }
  - { name: tgi, kind: tgi, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [2] }
  - { name: triton, kind: triton, port: 0, model: Qwen/Qwen2.5-7B-Instruct, gpus: [3] }
  - { name: llamacpp, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [4], settings: { context_tokens: 16384 } }
  - { name: ollama, kind: ollama, port: 0, models: ["llama3.2:3b", nomic-embed-text], gpus: [5], settings: { context_tokens: 8192 } }
`;

/** The slowest wait for the world, which a busy machine makes slower. */
jest.setTimeout(60_000);

const MESSAGES = [{ role: 'user' as const, content: 'Tell me a story of a lighthouse.' }];

let mock: TestMock;

beforeAll(async () => {
  mock = await startTestMock(SCENARIO);
}, 60_000);

afterAll(async () => {
  await mock.stop(0);
});

async function setSpeed(speed: number): Promise<void> {
  const answer = await fetch(`${mock.listening.url}/api/speed`, {
    method: 'POST',
    body: JSON.stringify({ speed }),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

function openAi(engine: string): OpenAI {
  return new OpenAI({ baseURL: `${mock.urlOf(engine)}/v1`, apiKey: 'none', maxRetries: 0 });
}

function truth(engine: string): EngineState {
  return mock.world.engine(engine).now.state();
}

interface Counted {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly ended: number;
  readonly aborted: number;
}

/** What the world counts of an engine between now and the call of what is returned. */
function watch(engine: string): () => Counted {
  const before = truth(engine);
  return () => {
    const { promptTokens, generatedTokens, requests } = truth(engine);
    return {
      promptTokens: promptTokens - before.promptTokens,
      generatedTokens: generatedTokens - before.generatedTokens,
      ended: requests.stop + requests.length - before.requests.stop - before.requests.length,
      aborted: requests.abort - before.requests.abort,
    };
  };
}

/** Lets the world stand still when something has come, so that an answer cannot end before its client goes away. */
async function cancelAfterFirst(engine: string, begin: () => Promise<() => void>): Promise<void> {
  const counted = watch(engine);
  await setSpeed(0.2);
  try {
    const cancel = await begin();
    await setSpeed(0);
    expect(truth(engine).running).toBe(1);
    expect(
      truth(engine).kv.usedBlocks + truth(engine).slots.filter((slot) => slot.requestId).length,
    ).toBeGreaterThan(0);
    cancel();
    await until(() => counted().aborted === 1);
  } finally {
    await setSpeed(20);
  }
  await until(() => truth(engine).running === 0);
  expect(counted().ended).toBe(0);
  expect(truth(engine).kv.usedBlocks).toBe(0);
  expect(truth(engine).slots.filter((slot) => slot.requestId !== undefined)).toEqual([]);
  expect(mock.world.engine(engine).now.audit()).toEqual([]);
}

interface OpenAiCase {
  readonly engine: string;
  readonly model: string;
  readonly listed: readonly string[];
  /** Engines of one model answer whatever name they are given. */
  readonly checksModel: boolean;
  readonly embeds: boolean;
}

const OPENAI: readonly OpenAiCase[] = [
  {
    engine: 'vllm',
    model: 'meta-llama/Llama-3.1-8B-Instruct',
    listed: ['meta-llama/Llama-3.1-8B-Instruct', 'sql'],
    checksModel: true,
    embeds: true,
  },
  {
    engine: 'sglang',
    model: 'Qwen/Qwen2.5-7B-Instruct',
    listed: ['Qwen/Qwen2.5-7B-Instruct'],
    checksModel: false,
    embeds: true,
  },
  {
    engine: 'tgi',
    model: 'meta-llama/Llama-3.1-8B-Instruct',
    listed: ['meta-llama/Llama-3.1-8B-Instruct'],
    checksModel: false,
    embeds: false,
  },
  {
    engine: 'llamacpp',
    model: 'llama3.1:8b',
    listed: ['llama3.1:8b'],
    checksModel: false,
    embeds: true,
  },
  {
    engine: 'ollama',
    model: 'llama3.2:3b',
    listed: ['llama3.2:3b', 'nomic-embed-text:latest'],
    checksModel: true,
    embeds: true,
  },
];

describe.each(OPENAI)('the openai package at $engine', ({ engine, model, listed, checksModel, embeds }) => {
  it('lists the models', async () => {
    const ids: string[] = [];
    for await (const each of openAi(engine).models.list()) ids.push(each.id);
    expect(ids).toEqual(listed);
  });

  it('gets a chat, with the usage that the world counted', async () => {
    const counted = watch(engine);
    const answer = await openAi(engine).chat.completions.create({
      model,
      messages: MESSAGES,
      max_tokens: 12,
    });
    const [choice] = answer.choices;
    expect(answer.object).toBe('chat.completion');
    expect(answer.model).toBe(model);
    expect(choice?.message.role).toBe('assistant');
    expect(choice?.message.content).toMatch(/\w+ \w+/);
    expect(choice?.finish_reason).toMatch(/^(stop|length)$/);
    const { promptTokens, generatedTokens, ended } = counted();
    expect(answer.usage).toMatchObject({
      prompt_tokens: promptTokens,
      completion_tokens: generatedTokens,
      total_tokens: promptTokens + generatedTokens,
    });
    expect(generatedTokens).toBeGreaterThan(0);
    expect(generatedTokens).toBeLessThanOrEqual(12);
    expect(ended).toBe(1);
  });

  it('streams a chat, a token a chunk, and its usage last', async () => {
    const counted = watch(engine);
    const stream = await openAi(engine).chat.completions.create({
      model,
      messages: MESSAGES,
      max_tokens: 40,
      stream: true,
      stream_options: { include_usage: true },
    });
    const contents: string[] = [];
    const reasons: string[] = [];
    let last: OpenAI.Chat.Completions.ChatCompletionChunk | undefined;
    for await (const chunk of stream) {
      last = chunk;
      const [choice] = chunk.choices;
      if (choice?.delta.content) contents.push(choice.delta.content);
      if (choice?.finish_reason) reasons.push(choice.finish_reason);
    }
    const { promptTokens, generatedTokens } = counted();
    expect(contents.length).toBeGreaterThan(1);
    expect(contents).toHaveLength(generatedTokens);
    expect(reasons).toEqual([generatedTokens === 40 ? 'length' : 'stop']);
    expect(last?.choices).toEqual([]);
    expect(last?.usage).toMatchObject({
      prompt_tokens: promptTokens,
      completion_tokens: generatedTokens,
      total_tokens: promptTokens + generatedTokens,
    });
  });

  it('streams no usage to a client that did not ask for it', async () => {
    const stream = await openAi(engine).chat.completions.create({
      model,
      messages: MESSAGES,
      max_tokens: 3,
      stream: true,
    });
    for await (const chunk of stream) expect(chunk.usage ?? null).toBeNull();
  });

  it('puts a stream together with its own helper', async () => {
    const runner = openAi(engine).chat.completions.stream({
      model,
      messages: MESSAGES,
      max_tokens: 10,
      stream_options: { include_usage: true },
    });
    const answer = await runner.finalChatCompletion();
    expect(answer.choices[0]?.message.content).toMatch(/\w+ \w+/);
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
  });

  it('completes a prompt, whole and as a stream', async () => {
    const counted = watch(engine);
    const wanted = { model, prompt: 'Once upon a time', max_tokens: 9 };
    const whole = await openAi(engine).completions.create(wanted);
    expect(whole.object).toBe('text_completion');
    expect(whole.choices[0]?.text).not.toBe('');
    expect(whole.usage?.completion_tokens).toBe(counted().generatedTokens);
    const stream = await openAi(engine).completions.create({
      ...wanted,
      stream: true,
      stream_options: { include_usage: true },
    });
    let texts = 0;
    let used = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.text) texts += 1;
      used = chunk.usage?.completion_tokens ?? used;
    }
    expect(texts).toBeGreaterThan(1);
    expect(used).toBe(texts);
    expect(counted()).toMatchObject({
      generatedTokens: (whole.usage?.completion_tokens ?? 0) + used,
      ended: 2,
    });
  });

  it(embeds ? 'embeds texts' : 'is told that there are no embeddings', async () => {
    const asked = openAi(engine).embeddings.create({ model, input: ['a text', 'another one'] });
    if (!embeds) return expect(asked).rejects.toBeInstanceOf(NotFoundError);
    const { data, usage } = await asked;
    expect(data.map(({ index }) => index)).toEqual([0, 1]);
    for (const { embedding } of data) {
      expect(embedding.length).toBeGreaterThan(100);
      expect(embedding.reduce((sum, each) => sum + each * each, 0)).toBeCloseTo(1, 3);
    }
    expect(usage.prompt_tokens).toBeGreaterThan(0);
  });

  it('goes away in the midst of a stream, and its request is cancelled', async () => {
    await cancelAfterFirst(engine, async () => {
      const stream = await openAi(engine).chat.completions.create({
        model,
        messages: MESSAGES,
        max_tokens: 4000,
        stream: true,
      });
      await stream[Symbol.asyncIterator]().next();
      return () => stream.controller.abort();
    });
  });

  it('goes away before anything came, and its request is cancelled', async () => {
    const controller = new AbortController();
    const counted = watch(engine);
    await setSpeed(0);
    try {
      const asked = openAi(engine).chat.completions.create(
        { model, messages: MESSAGES },
        { signal: controller.signal },
      );
      const refused = expect(asked).rejects.toBeInstanceOf(APIUserAbortError);
      await until(() => truth(engine).running + truth(engine).waiting === 1);
      controller.abort();
      await refused;
      await until(() => counted().aborted === 1);
    } finally {
      await setSpeed(20);
    }
    await until(() => truth(engine).running + truth(engine).waiting === 0);
    expect(counted()).toMatchObject({ ended: 0, generatedTokens: 0 });
  });

  it(checksModel ? 'is told of an unknown model' : 'gets an answer under any name', async () => {
    const asked = openAi(engine).chat.completions.create({
      model: 'gpt-9',
      messages: MESSAGES,
      max_tokens: 4,
    });
    if (!checksModel) return expect((await asked).choices).toHaveLength(1);
    await expect(asked).rejects.toBeInstanceOf(NotFoundError);
    await expect(asked).rejects.toThrow(/gpt-9/);
  });

  it('is told what is wrong with a request', async () => {
    const asked = openAi(engine).chat.completions.create({ model, messages: [] });
    await expect(asked).rejects.toBeInstanceOf(APIError);
    await expect(asked).rejects.toMatchObject({ status: engine === 'tgi' ? 422 : 400 });
  });
});

describe('the openai package at an engine without its API', () => {
  it("is told that Triton has no such path: OpenAI's are those of another program", async () => {
    const client = openAi('triton');
    await expect(client.models.list()).rejects.toBeInstanceOf(NotFoundError);
    const asked = client.chat.completions.create({ model: 'ensemble', messages: MESSAGES });
    await expect(asked).rejects.toBeInstanceOf(NotFoundError);
  });
});

describe('the ollama package', () => {
  const MODEL = 'llama3.2:3b';
  const client = (): Ollama => new Ollama({ host: mock.urlOf('ollama') });

  it('lists what is installed, and shows one', async () => {
    const { models } = await client().list();
    expect(models.map(({ name }) => name)).toEqual([MODEL, 'nomic-embed-text:latest']);
    expect(models[0]?.size).toBeGreaterThan(1e9);
    expect(models[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
    const shown = await client().show({ model: MODEL });
    expect(shown.details).toMatchObject({ family: 'llama', format: 'gguf' });
    expect((await client().version()).version).toBe(truth('ollama').version);
  });

  it('gets a chat, and finds the model in memory', async () => {
    const counted = watch('ollama');
    const answer = await client().chat({ model: MODEL, messages: MESSAGES, options: { num_predict: 12 } });
    expect(answer.message.role).toBe('assistant');
    expect(answer.message.content).toMatch(/\w+ \w+/);
    expect(answer.done).toBe(true);
    const { promptTokens, generatedTokens } = counted();
    expect(answer.eval_count).toBe(generatedTokens);
    expect(answer.prompt_eval_count).toBe(promptTokens);
    const [resident] = (await client().ps()).models;
    expect(resident?.name).toBe(MODEL);
    expect(resident?.size_vram).toBeGreaterThan(1e9);
  });

  it.each(['chat', 'generate'] as const)('streams a %s, a token a part', async (kind) => {
    const counted = watch('ollama');
    const wanted = { model: MODEL, stream: true, options: { num_predict: 30 } } as const;
    const parts: string[] = [];
    let evaluated = 0;
    let reason = '';
    if (kind === 'chat') {
      for await (const part of await client().chat({ ...wanted, messages: MESSAGES })) {
        if (part.message.content !== '') parts.push(part.message.content);
        if (part.done) [evaluated, reason] = [part.eval_count, part.done_reason];
      }
    } else {
      for await (const part of await client().generate({ ...wanted, prompt: 'Once upon a time' })) {
        const text = part.response ?? '';
        if (text !== '') parts.push(text);
        if (part.done) [evaluated, reason] = [part.eval_count, part.done_reason];
      }
    }
    expect(parts.length).toBeGreaterThan(1);
    expect(parts).toHaveLength(counted().generatedTokens);
    expect(evaluated).toBe(parts.length);
    expect(reason).toBe(evaluated === 30 ? 'length' : 'stop');
  });

  it('embeds', async () => {
    const { embeddings, prompt_eval_count } = await client().embed({
      model: 'nomic-embed-text',
      input: ['a text', 'another one'],
    });
    expect(embeddings.map(({ length }) => length)).toEqual([768, 768]);
    expect(prompt_eval_count).toBeGreaterThan(0);
  });

  it('aborts a stream, and its request is cancelled', async () => {
    await client().chat({ model: MODEL, messages: MESSAGES, options: { num_predict: 1 } });
    await cancelAfterFirst('ollama', async () => {
      const stream = await client().chat({ model: MODEL, messages: MESSAGES, stream: true });
      await stream[Symbol.asyncIterator]().next();
      return () => stream.abort();
    });
  });

  it('is told of an unknown model', async () => {
    const refused = { name: 'ResponseError', status_code: 404, error: "model 'gpt-9' not found" };
    await expect(client().chat({ model: 'gpt-9', messages: MESSAGES })).rejects.toMatchObject(refused);
    await expect(client().show({ model: 'gpt-9' })).rejects.toMatchObject(refused);
  });
});
