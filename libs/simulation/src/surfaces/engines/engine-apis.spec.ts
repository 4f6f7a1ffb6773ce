import type { EngineKind, EngineRequest } from '../../engine/engine.ts';
import { createRandom } from '../../random.ts';
import type { ApiCall, CallParts } from './engine-api.ts';
import { engineApis } from './engine-apis.ts';
import type { SurfaceAnswer } from './surface.ts';
import { surfaces } from './surfaces.ts';
import { TEST_CONTEXT, TEST_MODEL, testState } from './test-truth.ts';

const NAME = TEST_MODEL.name;

function partsFor(kind: EngineKind, more: Partial<CallParts> = {}): CallParts {
  return {
    id: 'request-1',
    tenant: 'somebody',
    random: createRandom('api'),
    state: { ...testState(surfaces[kind]), slots: [] },
    context: TEST_CONTEXT,
    ...more,
  };
}

function callOf(kind: EngineKind, path: string, body: unknown, more: Partial<CallParts> = {}): ApiCall {
  const outcome = engineApis[kind].call(path, JSON.stringify(body), partsFor(kind, more));
  if (outcome === undefined || !('call' in outcome)) throw new Error(`no call: ${JSON.stringify(outcome)}`);
  return outcome.call;
}

function answerOf(kind: EngineKind, path: string, body: string): SurfaceAnswer | undefined {
  const outcome = engineApis[kind].call(path, body, partsFor(kind));
  return outcome !== undefined && 'answer' in outcome ? outcome.answer : undefined;
}

/** Three tokens, the first after half a second, and the end a second later. */
function streamOf(call: ApiCall, reason: 'stop' | 'length' = 'length'): string {
  return call.tokens(1, 600.5) + call.tokens(2, 601) + call.end(reason, 601.5).body;
}

/** The values of a stream of events; its closing word as it is. */
function eventsOf(stream: string): unknown[] {
  const parts = stream.split('\n\n');
  expect(parts.at(-1)).toBe('');
  return parts.slice(0, -1).map((part) => {
    const data = part.replace(/^data: /, '');
    return data === '[DONE]' ? data : (JSON.parse(data) as unknown);
  });
}

function linesOf(stream: string): unknown[] {
  return stream
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

const CHAT = {
  model: NAME,
  messages: [
    { role: 'system', content: 'x'.repeat(40) },
    { role: 'user', content: 'y'.repeat(20) },
  ],
};

describe('requests that are read from bodies', () => {
  const base: Partial<EngineRequest> = { id: 'request-1', model: NAME, tenant: 'somebody' };
  // Ten and five tokens of text, five around each message, three of the opening, one of the start.
  const chat = { ...base, kind: 'chat', promptTokens: 29 } as const;

  it.each<[EngineKind, string, unknown, Partial<EngineRequest>]>([
    ['vllm', '/v1/chat/completions', { ...CHAT, max_tokens: 50 }, { ...chat, maxTokens: 50 }],
    ['vllm', '/v1/chat/completions', { ...CHAT, max_completion_tokens: 7, max_tokens: 50 }, { maxTokens: 7 }],
    ['vllm', '/v1/chat/completions', CHAT, { maxTokens: 32_768 - 29 }],
    ['vllm', '/v1/chat/completions', { ...CHAT, user: 'alice' }, { tenant: 'alice' }],
    ['vllm', '/v1/chat/completions', { ...CHAT, model: 'nobody/nothing' }, { model: 'nobody/nothing' }],
    ['vllm', '/v1/chat/completions', { ...CHAT, max_tokens: 9, ignore_eos: true }, { maxTokens: 9 }],
    [
      'vllm',
      '/v1/completions',
      { model: NAME, prompt: 'z'.repeat(8) },
      { ...base, kind: 'completion', promptTokens: 3, maxTokens: 16 },
    ],
    ['vllm', '/v1/completions', { model: NAME, prompt: [1, 2, 3, 4] }, { promptTokens: 4 }],
    [
      'vllm',
      '/v1/embeddings',
      { model: NAME, input: ['abcd', 'efgh'] },
      { ...base, kind: 'embedding', promptTokens: 4, maxTokens: 0, outputTokens: 0 },
    ],
    ['sglang', '/v1/chat/completions', CHAT, chat],
    ['tgi', '/v1/chat/completions', { ...CHAT, model: 'tgi' }, { ...chat, model: 'tgi' }],
    [
      'tgi',
      '/generate',
      { inputs: 'abcd', parameters: { max_new_tokens: 20 } },
      { ...base, kind: 'completion', promptTokens: 2, maxTokens: 20 },
    ],
    ['llamacpp', '/v1/chat/completions', CHAT, chat],
    [
      'llamacpp',
      '/completion',
      { prompt: 'abcd', n_predict: 30 },
      { ...base, kind: 'completion', promptTokens: 2, maxTokens: 30 },
    ],
    ['llamacpp', '/completion', { prompt: 'abcd', n_predict: -1 }, { maxTokens: 32_766 }],
    ['ollama', '/api/chat', { ...CHAT, options: { num_predict: 12 } }, { ...chat, maxTokens: 12 }],
    ['ollama', '/api/chat', { ...CHAT, model: `${NAME}:latest` }, { model: NAME }],
    [
      'ollama',
      '/api/generate',
      { model: NAME, prompt: 'abcd', system: 'efgh' },
      { ...base, kind: 'completion', promptTokens: 3 },
    ],
    ['ollama', '/api/embed', { model: NAME, input: 'abcd' }, { kind: 'embedding', promptTokens: 2 }],
    ['ollama', '/v1/chat/completions', { ...CHAT, model: `${NAME}:latest` }, { model: NAME }],
    [
      'triton',
      '/v2/models/ensemble/generate',
      { text_input: 'abcd', max_tokens: 5 },
      { ...base, kind: 'completion', promptTokens: 2, maxTokens: 5 },
    ],
  ])('%s %s of %j', (kind, path, body, expected) => {
    expect(callOf(kind, path, body).request).toMatchObject(expected);
  });

  it('share a prefix where their system messages are the same', () => {
    const prefix = (system: string): EngineRequest['prefix'] =>
      callOf('vllm', '/v1/chat/completions', {
        ...CHAT,
        messages: [
          { role: 'system', content: system },
          { role: 'user', content: 'hello' },
        ],
      }).request.prefix;
    expect(prefix('be brief')).toEqual(prefix('be brief'));
    expect(prefix('be brief')?.tokens).toBe(8);
    expect(prefix('be brief')?.key).not.toBe(prefix('be long')?.key);
    const bare = { ...CHAT, messages: [{ role: 'user', content: 'hello' }] };
    expect(callOf('vllm', '/v1/chat/completions', bare).request.prefix).toBeUndefined();
  });

  it('count the text of parts, and no pictures', () => {
    const content = [
      { type: 'text', text: 'x'.repeat(16) },
      { type: 'image_url', image_url: { url: 'data:' } },
    ];
    const body = { ...CHAT, messages: [{ role: 'user', content }] };
    expect(callOf('vllm', '/v1/chat/completions', body).request.promptTokens).toBe(4 + 5 + 4);
  });

  it('name an adapter in place of the model, only where there is one', () => {
    const context = { ...TEST_CONTEXT, loras: ['sql'] };
    const body = { ...CHAT, model: 'sql' };
    expect(callOf('vllm', '/v1/chat/completions', body, { context }).request).toMatchObject({
      model: NAME,
      lora: 'sql',
    });
    const without = callOf('vllm', '/v1/chat/completions', body).request;
    expect([without.model, without.lora]).toEqual(['sql', undefined]);
  });

  it.each<[string, Partial<CallParts['context']>, number]>([
    ["the model's context", {}, 32_768 - 29],
    ["the engine's, where it is told less", { contextTokens: 4096 }, 4096 - 29],
    ["the model's, where the engine is told more", { contextTokens: 65_536 }, 32_768 - 29],
  ])('may fill %s where the client sets no limit', (_what, context, maxTokens) => {
    const parts = { context: { ...TEST_CONTEXT, ...context } };
    expect(callOf('vllm', '/v1/chat/completions', CHAT, parts).request.maxTokens).toBe(maxTokens);
  });

  it('are answered under the name that the client gave, but by TGI under its own', () => {
    const named = (kind: EngineKind): unknown => {
      const call = callOf(kind, '/v1/chat/completions', { ...CHAT, model: 'any' });
      call.tokens(1, 600.5);
      return (JSON.parse(call.end('stop', 601).body) as { readonly model: unknown }).model;
    };
    expect([named('vllm'), named('llamacpp'), named('tgi')]).toEqual(['any', 'any', NAME]);
  });

  it('never end by themselves where the client forbids it', () => {
    const { outputTokens } = callOf('vllm', '/v1/chat/completions', {
      ...CHAT,
      max_tokens: 9000,
      ignore_eos: true,
    }).request;
    expect(outputTokens).toBe(9001);
  });

  it('draw the same length and words from the same chance', () => {
    const said = (seed: string): string => {
      const call = callOf('vllm', '/v1/chat/completions', CHAT, { random: createRandom(seed) });
      return `${call.request.outputTokens} ${streamOf(call)}`;
    };
    expect(said('one')).toBe(said('one'));
    expect(said('one')).not.toBe(said('two'));
  });
});

describe('bodies that are refused', () => {
  it.each<[EngineKind, string, string, number, RegExp]>([
    ['vllm', '/v1/chat/completions', '{', 400, /json_invalid/],
    ['vllm', '/v1/chat/completions', '{}', 400, /'loc': \('body', 'messages'\), 'msg': 'Field required'/],
    ['vllm', '/v1/chat/completions', '{"messages":[]}', 400, /messages/],
    ['vllm', '/v1/completions', '{"prompt":5}', 400, /prompt/],
    ['vllm', '/v1/embeddings', '{"input":{}}', 400, /input/],
    ['sglang', '/v1/chat/completions', '{}', 400, /"object":"error".*messages/],
    ['tgi', '/generate', '{}', 422, /missing field `inputs`/],
    ['tgi', '/generate', '[]', 422, /Failed to deserialize/],
    ['tgi', '/v1/chat/completions', '{}', 422, /missing field `messages`/],
    ['llamacpp', '/v1/chat/completions', '{}', 400, /'messages' is required.*invalid_request_error/],
    ['llamacpp', '/completion', 'x', 400, /parse_error/],
    ['llamacpp', '/completion', '{}', 400, /prompt/],
    ['ollama', '/api/chat', '', 400, /^\{"error":"missing request body"\}$/],
    ['ollama', '/api/chat', '{', 400, /invalid character/],
    ['ollama', '/api/chat', '{"messages":[]}', 400, /model is required/],
    ['ollama', '/api/chat', '{"model":"nothing"}', 404, /^\{"error":"model 'nothing' not found"\}$/],
    ['ollama', '/api/show', '{"model":"nothing"}', 404, /not found/],
    ['triton', '/v2/models/ensemble/generate', '{}', 400, /text_input/],
    ['triton', '/v2/models/nothing/generate', '{}', 400, /unknown model: 'nothing'/],
  ])('%s %s with %j is answered %d', (kind, path, body, status, message) => {
    const answer = answerOf(kind, path, body);
    expect(answer?.status).toBe(status);
    expect(answer?.body).toMatch(message);
  });

  it.each<[EngineKind, string]>([
    ['vllm', '/api/chat'],
    ['tgi', '/v1/embeddings'],
    ['llamacpp', '/generate'],
    ['ollama', '/api/pull'],
    ['triton', '/v1/chat/completions'],
  ])('%s has no %s', (kind, path) => {
    expect(engineApis[kind].call(path, '{}', partsFor(kind))).toBeUndefined();
  });
});

describe('what the engine refuses', () => {
  it.each<[EngineKind, string, number, unknown]>([
    [
      'vllm',
      '/v1/chat/completions',
      404,
      { error: { message: 'no', type: 'NotFoundError', param: null, code: 404 } },
    ],
    [
      'sglang',
      '/v1/chat/completions',
      400,
      { object: 'error', message: 'no', type: 'BadRequestError', param: null, code: 400 },
    ],
    ['tgi', '/generate', 429, { error: 'no', error_type: 'overloaded' }],
    ['llamacpp', '/completion', 503, { error: { code: 503, message: 'no', type: 'unavailable_error' } }],
    ['ollama', '/api/chat', 503, { error: 'no' }],
    [
      'ollama',
      '/v1/chat/completions',
      404,
      { error: { message: 'no', type: 'not_found_error', param: null, code: null } },
    ],
    ['triton', '/v2/models/ensemble/generate', 503, { error: 'no' }],
  ])('%s words for %s', (kind, path, status, expected) => {
    const answer = engineApis[kind].refusal(path, status, 'no', partsFor(kind));
    expect([answer.status, JSON.parse(answer.body)]).toEqual([status, expected]);
  });

  it('was not inside of an error object in older builds of vLLM', () => {
    const parts = { ...partsFor('vllm'), state: testState(surfaces.vllm, '0.6.6') };
    const { body } = engineApis.vllm.refusal('/v1/chat/completions', 400, 'no', parts);
    expect(JSON.parse(body)).toEqual({
      object: 'error',
      message: 'no',
      type: 'BadRequestError',
      param: null,
      code: 400,
    });
  });

  it('has a type of its own in llama.cpp where the context is too short', () => {
    const message = 'request (9 tokens) exceeds the available context size (8 tokens), try increasing it';
    const { body } = engineApis.llamacpp.refusal('/completion', 400, message, partsFor('llamacpp'));
    expect(JSON.parse(body)).toMatchObject({ error: { type: 'exceed_context_size_error' } });
  });
});

describe.each<EngineKind>(['vllm', 'sglang', 'tgi', 'llamacpp', 'ollama'])('OpenAI streams of %s', (kind) => {
  const body = { ...CHAT, stream: true, max_tokens: 3 };

  it('name the role, then one word a chunk, then the reason, then that they are done', () => {
    const call = callOf(kind, '/v1/chat/completions', body);
    expect([call.streamed, call.contentType]).toEqual([true, 'text/event-stream; charset=utf-8']);
    const events = eventsOf(streamOf(call));
    expect(events).toHaveLength(6);
    expect(events[0]).toMatchObject({
      object: 'chat.completion.chunk',
      model: NAME,
      created: 1_790_000_600,
      choices: [
        {
          index: 0,
          delta: { role: 'assistant', content: kind === 'llamacpp' ? null : '' },
          finish_reason: null,
        },
      ],
    });
    for (const each of events.slice(1, 4)) {
      expect(each).toMatchObject({
        choices: [
          { delta: { content: expect.stringMatching(/^ ?[a-z]+$/) as unknown }, finish_reason: null },
        ],
      });
    }
    expect(events[4]).toMatchObject({ choices: [{ delta: {}, finish_reason: 'length' }] });
    expect(events[4]).not.toHaveProperty('usage');
    expect(events[5]).toBe('[DONE]');
    expect(new Set(events.slice(0, 5).map((each) => (each as { id: string }).id)).size).toBe(1);
  });

  it('tell the usage where it is asked for, in a chunk of its own', () => {
    const call = callOf(kind, '/v1/chat/completions', { ...body, stream_options: { include_usage: true } });
    const events = eventsOf(streamOf(call));
    expect(events).toHaveLength(7);
    expect(events[5]).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 29, completion_tokens: 3, total_tokens: 32 },
    });
  });

  it('send nothing before the first token', () => {
    expect(callOf(kind, '/v1/chat/completions', body).tokens(0, 600)).not.toContain('content":" ');
    const call = callOf(kind, '/v1/completions', { model: NAME, prompt: 'abcd', stream: true });
    const events = eventsOf(streamOf(call, 'stop'));
    expect(events[0]).toMatchObject({
      object: 'text_completion',
      choices: [{ text: expect.any(String) as unknown, finish_reason: null }],
    });
    expect(events.at(-2)).toMatchObject({ choices: [{ text: '', finish_reason: 'stop' }] });
  });

  it('are one answer where no stream is asked for', () => {
    const call = callOf(kind, '/v1/chat/completions', { ...CHAT, max_tokens: 3 });
    expect(call.tokens(3, 600.5)).toBe('');
    const { status, body: printed } = call.end('stop', 601);
    expect(status).toBe(200);
    expect(JSON.parse(printed)).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          message: { role: 'assistant', content: expect.stringMatching(/^\w+ \w+ \w+$/) as unknown },
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 29, completion_tokens: 3, total_tokens: 32 },
    });
  });

  it('fail with a status before the first token, and with an event after it', () => {
    const early = callOf(kind, '/v1/chat/completions', body).end('error', 601);
    expect([early.status, early.contentType]).toEqual([500, 'application/json']);
    expect(JSON.stringify(JSON.parse(early.body))).toMatch(/error/);
    const call = callOf(kind, '/v1/chat/completions', body);
    const stream = call.tokens(1, 600.5) + call.end('error', 601).body;
    const events = eventsOf(stream);
    expect(JSON.stringify(events.at(-2))).toMatch(/error/);
    expect(events.at(-1)).toBe('[DONE]');
  });
});

describe('embeddings', () => {
  const input = { model: NAME, input: ['one', 'two'], dimensions: 4 };

  it('have a vector of length one for each input', () => {
    const { data } = JSON.parse(callOf('vllm', '/v1/embeddings', input).end('stop', 601).body) as {
      data: { index: number; embedding: number[] }[];
    };
    expect(data.map(({ index }) => index)).toEqual([0, 1]);
    for (const { embedding } of data) {
      expect(embedding).toHaveLength(4);
      expect(embedding.reduce((sum, each) => sum + each * each, 0)).toBeCloseTo(1, 6);
    }
  });

  it('are written as base64 of floats where the client asks for that, as the official one does', () => {
    const plain = JSON.parse(callOf('vllm', '/v1/embeddings', input).end('stop', 601).body) as {
      data: { embedding: number[] }[];
    };
    const coded = JSON.parse(
      callOf('vllm', '/v1/embeddings', { ...input, encoding_format: 'base64' }).end('stop', 601).body,
    ) as { data: { embedding: string }[] };
    const bytes = Buffer.from(coded.data[0]?.embedding ?? '', 'base64');
    const floats = [0, 4, 8, 12].map((offset) => bytes.readFloatLE(offset));
    floats.forEach((each, index) => expect(each).toBeCloseTo(plain.data[0]?.embedding[index] ?? NaN, 6));
  });

  it('of Ollama come under their own names, of the size of the model', () => {
    const now = JSON.parse(
      callOf('ollama', '/api/embed', { model: NAME, input: 'a' }).end('stop', 601).body,
    ) as { embeddings: number[][] };
    expect(now.embeddings.map((each) => each.length)).toEqual([4096]);
    const old = JSON.parse(
      callOf('ollama', '/api/embeddings', { model: NAME, prompt: 'a' }).end('stop', 601).body,
    ) as { embedding: number[] };
    expect(old.embedding).toEqual(now.embeddings[0]);
  });
});

describe('native streams', () => {
  it('of Ollama are a JSON object a line, with its durations in the last', () => {
    const call = callOf('ollama', '/api/chat', CHAT);
    expect([call.streamed, call.contentType]).toEqual([true, 'application/x-ndjson']);
    const lines = linesOf(streamOf(call));
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatchObject({
      model: NAME,
      created_at: '2026-09-21T14:23:20.5Z',
      message: { role: 'assistant' },
      done: false,
    });
    expect(lines[3]).toEqual({
      model: NAME,
      created_at: '2026-09-21T14:23:21.5Z',
      message: { role: 'assistant', content: '' },
      done: true,
      done_reason: 'length',
      total_duration: 1_500_000_000,
      prompt_eval_count: 29,
      prompt_eval_duration: 500_000_000,
      eval_count: 3,
      eval_duration: 1_000_000_000,
    });
  });

  it('of Ollama are one object where they are not wanted', () => {
    const call = callOf('ollama', '/api/generate', { model: NAME, prompt: 'hello', stream: false });
    expect(call.tokens(2, 600.5)).toBe('');
    expect(JSON.parse(call.end('stop', 601).body)).toMatchObject({
      response: expect.stringMatching(/^\w+ \w+$/) as unknown,
      done: true,
      done_reason: 'stop',
      eval_count: 2,
    });
  });

  it('of Ollama load a model where there is no prompt', () => {
    const answer = answerOf('ollama', '/api/generate', JSON.stringify({ model: NAME }));
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ response: '', done: true, done_reason: 'load' });
  });

  it('of Ollama describe a model', () => {
    const answer = answerOf('ollama', '/api/show', JSON.stringify({ model: NAME }));
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({
      details: { parameter_size: '8.0B', quantization_level: 'F16' },
      model_info: { 'llama.context_length': 32_768 },
    });
  });

  it('of TGI have the whole text in their last event', () => {
    const events = eventsOf(streamOf(callOf('tgi', '/generate_stream', { inputs: 'hello' })));
    expect(events).toHaveLength(3);
    const words = events.map((each) => (each as { token: { text: string } }).token.text);
    expect(events[0]).toMatchObject({ index: 1, generated_text: null, details: null });
    expect(events[2]).toMatchObject({
      index: 3,
      generated_text: words.join(''),
      details: { finish_reason: 'length', generated_tokens: 3, input_length: 3 },
    });
  });

  it.each([
    [{ inputs: 'hello' }, undefined],
    [
      { inputs: 'hello', parameters: { details: true } },
      { finish_reason: 'eos_token', generated_tokens: 2 },
    ],
  ])('of TGI are one answer at /generate for %j', (body, details) => {
    const call = callOf('tgi', '/generate', body);
    call.tokens(2, 600.5);
    const answer = JSON.parse(call.end('stop', 601).body) as { generated_text: string; details?: unknown };
    expect(answer.generated_text).toMatch(/^\w+ \w+$/);
    if (details === undefined) expect(answer.details).toBeUndefined();
    else expect(answer.details).toMatchObject(details);
  });

  it('of llama.cpp end with timings and without a closing word', () => {
    const events = eventsOf(streamOf(callOf('llamacpp', '/completion', { prompt: 'hello', stream: true })));
    expect(events).toHaveLength(4);
    expect(events[2]).toMatchObject({ stop: false, tokens_predicted: 3, tokens_evaluated: 3 });
    expect(events[3]).toMatchObject({
      content: '',
      stop: true,
      stop_type: 'limit',
      timings: {
        prompt_n: 3,
        prompt_ms: 500,
        predicted_n: 3,
        predicted_ms: 1000,
        predicted_per_token_ms: 500,
      },
    });
  });

  it('of Triton have one word each, and simply end', () => {
    const events = eventsOf(
      streamOf(callOf('triton', '/v2/models/ensemble/generate_stream', { text_input: 'hello' })),
    );
    expect(events).toHaveLength(3);
    expect(events[0]).toMatchObject({
      model_name: 'ensemble',
      text_output: expect.stringMatching(/^\w+$/) as unknown,
    });
  });
});
