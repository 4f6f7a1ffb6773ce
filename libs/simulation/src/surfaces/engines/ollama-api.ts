import type { EngineRequest } from '../../engine/engine.ts';
import { createCall, type AnswerFormat, type Said } from './answer-printer.ts';
import type { ApiOutcome, CallParts, EngineApi } from './engine-api.ts';
import { findOllamaModel, showOllamaModel, timestamp } from './ollama.ts';
import {
  embeddingRequest,
  embeddingSize,
  embeddingVector,
  openAiCall,
  restOfContext,
  type OpenAiDialect,
} from './openai-api.ts';
import { answerTokens, chatPrompt, promptParts, textPrompt, type Prompt } from './prompt.ts';
import { countAt, objectAt, readBody, textAt, type Body } from './request-body.ts';
import { json, unixTime, type SurfaceAnswer } from './surface.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

const OPENAI_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  404: 'not_found_error',
};

const dialect: OpenAiDialect = {
  paths: ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'],
  error: (status, message) =>
    json(
      { error: { message, type: OPENAI_TYPES[status] ?? 'api_error', param: null, code: null } },
      status,
      JSON_TYPE,
    ),
  notJson: (parts) => dialect.error(400, NOT_JSON, parts),
  missing: (field, parts) =>
    dialect.error(400, field === 'messages' ? "[] is too short - 'messages'" : `${field} is required`, parts),
  modelName: (name, { state }) => findOllamaModel(name, state) ?? name,
  fingerprint: () => 'fp_ollama',
};

const NOT_JSON = "invalid character '\\x00' looking for beginning of value";

/** Ollama's own API and OpenAI's. Its own streams unless told not to, a JSON object a line. */
export const ollamaApi: EngineApi = {
  call(path, body, parts) {
    if (path.startsWith('/v1/')) return openAiCall(path, body, parts, dialect);
    const operation = OPERATIONS[path];
    if (operation === undefined) return undefined;
    if (body === '') return { answer: error(400, 'missing request body') };
    const wanted = readBody(body);
    if (wanted === undefined) return { answer: error(400, NOT_JSON) };
    const name = textAt(wanted, 'model') ?? textAt(wanted, 'name');
    if (name === undefined || name === '') return { answer: error(400, 'model is required') };
    const model = findOllamaModel(name, parts.state);
    if (model === undefined) return { answer: error(404, `model '${name}' not found`) };
    return operation(wanted, { name, model }, parts);
  },
  refusal: (path, status, message, parts) =>
    path.startsWith('/v1/') ? dialect.error(status, message, parts) : error(status, message),
};

interface Named {
  /** As the client wrote it, and as it is called in the world. */
  readonly name: string;
  readonly model: string;
}

const OPERATIONS: Readonly<Record<string, (body: Body, named: Named, parts: CallParts) => ApiOutcome>> = {
  '/api/chat': (body, named, parts) => {
    const prompt = chatPrompt(body['messages']);
    return prompt === undefined
      ? { answer: loaded(named, parts, { message: { role: 'assistant', content: '' } }) }
      : talk('chat', body, prompt, named, parts);
  },
  '/api/generate': (body, named, parts) => {
    const text = `${textAt(body, 'system') ?? ''}${textAt(body, 'prompt') ?? ''}`;
    const prompt = text === '' ? undefined : textPrompt(text);
    return prompt === undefined
      ? { answer: loaded(named, parts, { response: '' }) }
      : talk('completion', body, prompt, named, parts);
  },
  '/api/embed': (body, named, parts) => embed(promptParts(body['input']), named, parts, false),
  '/api/embeddings': (body, named, parts) => embed(promptParts(body['prompt']), named, parts, true),
  '/api/show': (_body, { name }, { state, context }) => ({
    answer: json(showOllamaModel(name, state, context) ?? {}, 200, JSON_TYPE),
  }),
};

function error(status: number, message: string): SurfaceAnswer {
  return json({ error: message }, status, JSON_TYPE);
}

/** A call without a prompt asks for the model to be loaded; the world loads it with the first request that needs it. */
function loaded({ name }: Named, parts: CallParts, empty: Body): SurfaceAnswer {
  const created_at = timestamp(unixTime(parts.context, parts.context.seconds));
  return json({ model: name, created_at, ...empty, done: true, done_reason: 'load' }, 200, JSON_TYPE);
}

function talk(
  kind: 'chat' | 'completion',
  body: Body,
  prompt: Prompt,
  named: Named,
  parts: CallParts,
): ApiOutcome {
  const streamed = body['stream'] !== false;
  const request: EngineRequest = {
    id: parts.id,
    model: named.model,
    tenant: parts.tenant,
    kind,
    promptTokens: prompt.tokens,
    ...(prompt.prefix === undefined ? {} : { prefix: prompt.prefix }),
    outputTokens: answerTokens(parts.random),
    maxTokens: countAt(objectAt(body, 'options'), 'num_predict') ?? restOfContext(prompt.tokens, parts),
  };
  return { call: createCall(request, streamed, talkFormat(streamed, request, named, parts), parts) };
}

function talkFormat(
  streamed: boolean,
  request: EngineRequest,
  { name }: Named,
  parts: CallParts,
): AnswerFormat {
  const words = (text: string): Body =>
    request.kind === 'chat' ? { message: { role: 'assistant', content: text } } : { response: text };
  const line = ({ seconds }: Said, rest: Body): string =>
    `${JSON.stringify({ model: name, created_at: timestamp(unixTime(parts.context, seconds)), ...rest })}${streamed ? '\n' : ''}`;
  const failed = JSON.stringify({ error: 'an error was encountered while running the model' });
  return {
    contentType: streamed ? 'application/x-ndjson' : JSON_TYPE,
    token: (word, said) => line(said, { ...words(word), done: false }),
    end: (reason, said) =>
      line(said, {
        ...words(streamed ? '' : said.text),
        done: true,
        done_reason: reason === 'length' ? 'length' : 'stop',
        ...durations(said, request),
      }),
    fail: ({ tokens }) => (streamed && tokens > 0 ? `${failed}\n` : failed),
  };
}

/** Nanoseconds. The prompt's begin with the arrival, since a client of the world does not see when it was begun. */
function durations(
  { arrivedSeconds, firstSeconds, seconds, tokens }: Said,
  { promptTokens }: EngineRequest,
): Body {
  return {
    total_duration: nanoseconds(seconds - arrivedSeconds),
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nanoseconds(firstSeconds - arrivedSeconds),
    eval_count: tokens,
    eval_duration: nanoseconds(seconds - firstSeconds),
  };
}

/** Whole microseconds: what the world's clock has beyond is the noise of its fractions. */
function nanoseconds(seconds: number): number {
  return Math.round(seconds * 1e6) * 1000;
}

function embed(
  inputs: number[] | undefined,
  { name, model }: Named,
  parts: CallParts,
  isOld: boolean,
): ApiOutcome {
  if (inputs === undefined) return { answer: error(400, 'invalid input type') };
  const request = embeddingRequest(inputs, { model }, undefined, parts);
  const size = embeddingSize(model, parts);
  const vectors = (): number[][] => inputs.map((_, index) => embeddingVector(size, parts, index));
  const format: AnswerFormat = {
    contentType: JSON_TYPE,
    end: (_reason, { arrivedSeconds, seconds }) =>
      JSON.stringify(
        isOld
          ? { embedding: vectors()[0] ?? [] }
          : {
              model: name,
              embeddings: vectors(),
              total_duration: nanoseconds(seconds - arrivedSeconds),
              prompt_eval_count: request.promptTokens,
            },
      ),
    fail: () => JSON.stringify({ error: 'an error was encountered while running the model' }),
  };
  return { call: createCall(request, false, format, parts) };
}
