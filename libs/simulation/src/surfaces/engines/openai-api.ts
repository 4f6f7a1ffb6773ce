import type { EngineRequest } from '../../engine/engine.ts';
import { createRandom } from '../../random.ts';
import {
  createCall,
  event,
  EVENT_STREAM,
  STREAM_END,
  type AnswerFormat,
  type Said,
} from './answer-printer.ts';
import type { ApiOutcome, CallParts } from './engine-api.ts';
import { answerTokens, chatPrompt, promptParts, textPrompt, type Prompt } from './prompt.ts';
import { countAt, objectAt, readBody, textAt, type Body } from './request-body.ts';
import { figures, servedContextTokens, unixTime, type SurfaceAnswer } from './surface.ts';

/** Where engines that speak OpenAI's language differ. */
export interface OpenAiDialect {
  /** Paths that it has of the three. */
  readonly paths: readonly OpenAiPath[];
  /** An error in its words; the type follows the status. */
  readonly error: (status: number, message: string, parts: CallParts) => SurfaceAnswer;
  /** What it says of a body that is no JSON object, … */
  readonly notJson: (parts: CallParts) => SurfaceAnswer;
  /** … and of one that lacks a field or has nonsense there. */
  readonly missing: (field: string, parts: CallParts) => SurfaceAnswer;
  /** The name under which the engine has a model that a client names; LoRA adapters apart. */
  readonly modelName?: (name: string, parts: CallParts) => string;
  /** Tokens of an answer where the client sets no limit; the rest of the context unless said otherwise. */
  readonly defaultMaxTokens?: (path: OpenAiPath) => number | undefined;
  readonly fingerprint?: (parts: CallParts) => string;
  /** Beside `finish_reason` in a choice. */
  readonly choice?: Body;
  /** Beside the usual fields at the end of an answer: llama.cpp's timings. */
  readonly atEnd?: (said: Said, request: EngineRequest) => Body;
  /** The content of the message that only names the role; null in llama.cpp. */
  readonly firstContent?: '' | null;
  /** Answers name the model that is there; otherwise as the client named it. */
  readonly answersOwnModel?: boolean;
}

export type OpenAiPath = '/v1/chat/completions' | '/v1/completions' | '/v1/embeddings';

/** Reads a posted call of OpenAI's API; undefined where the engine has no such path. */
export function openAiCall(
  path: string,
  body: string,
  parts: CallParts,
  dialect: OpenAiDialect,
): ApiOutcome | undefined {
  const known = dialect.paths.find((each) => each === path);
  if (known === undefined) return undefined;
  const wanted = readBody(body);
  if (wanted === undefined) return { answer: dialect.notJson(parts) };
  if (known === '/v1/embeddings') return embeddings(wanted, parts, dialect);
  const isChat = known === '/v1/chat/completions';
  const field = isChat ? 'messages' : 'prompt';
  const prompt = isChat ? chatPrompt(wanted['messages']) : textPrompt(wanted['prompt']);
  if (prompt === undefined) return { answer: dialect.missing(field, parts) };
  const request = requestOf(wanted, prompt, known, parts, dialect);
  const streamed = wanted['stream'] === true;
  const format = (isChat ? chatFormat : completionFormat)(wanted, request, streamed, parts, dialect);
  return { call: createCall(request, streamed, format, parts) };
}

/** Tokens of the answer to a call: what the client allows, or the rest of the context. */
export function restOfContext(promptTokens: number, { state, context }: CallParts): number {
  const slot = state.slots[0]?.contextTokens;
  const contextTokens = slot ?? servedContextTokens(context, state.models[0]) ?? 4096;
  return Math.max(1, contextTokens - promptTokens);
}

function requestOf(
  body: Body,
  prompt: Prompt,
  path: OpenAiPath,
  parts: CallParts,
  dialect: OpenAiDialect,
): EngineRequest {
  const maxTokens =
    countAt(body, 'max_completion_tokens') ??
    countAt(body, 'max_tokens') ??
    dialect.defaultMaxTokens?.(path) ??
    restOfContext(prompt.tokens, parts);
  const natural = answerTokens(parts.random);
  return {
    id: parts.id,
    ...modelOf(body, parts, dialect),
    tenant: textAt(body, 'user') ?? parts.tenant,
    kind: path === '/v1/chat/completions' ? 'chat' : 'completion',
    promptTokens: prompt.tokens,
    ...(prompt.prefix === undefined ? {} : { prefix: prompt.prefix }),
    outputTokens: body['ignore_eos'] === true ? Math.max(natural, maxTokens + 1) : natural,
    maxTokens,
  };
}

/** The served model, or the adapter that stands for it. A call without a name means the one that is there. */
function modelOf(
  body: Body,
  parts: CallParts,
  { modelName }: OpenAiDialect,
): { readonly model: string; readonly lora?: string } {
  const base = parts.state.models[0] ?? '';
  const name = textAt(body, 'model') ?? base;
  if (parts.context.loras?.includes(name) === true) return { model: base, lora: name };
  return { model: modelName?.(name, parts) ?? name };
}

function chatFormat(
  body: Body,
  request: EngineRequest,
  streamed: boolean,
  parts: CallParts,
  dialect: OpenAiDialect,
): AnswerFormat {
  const head = (object: string): Body => headOf(body, `chatcmpl-${parts.id}`, object, parts, dialect);
  const chunk = (delta: Body, finish_reason: string | null, more: Body = {}): string =>
    event({
      ...head('chat.completion.chunk'),
      choices: [
        { index: 0, delta, logprobs: null, finish_reason, ...(finish_reason === null ? {} : dialect.choice) },
      ],
      ...more,
    });
  if (!streamed) {
    return whole(request, dialect, parts, (reason, said) => ({
      ...head('chat.completion'),
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: said.text },
          logprobs: null,
          finish_reason: reason,
          ...dialect.choice,
        },
      ],
      usage: usageOf(request, said),
    }));
  }
  return {
    contentType: EVENT_STREAM,
    begin: () =>
      chunk(
        { role: 'assistant', content: dialect.firstContent === undefined ? '' : dialect.firstContent },
        null,
      ),
    token: (word) => chunk({ content: word }, null),
    end: (reason, said) =>
      endOfStream(body, head('chat.completion.chunk'), request, said, dialect, (more) =>
        chunk({}, reason, more),
      ),
    fail: (said) => failure(said, parts, dialect),
  };
}

function completionFormat(
  body: Body,
  request: EngineRequest,
  streamed: boolean,
  parts: CallParts,
  dialect: OpenAiDialect,
): AnswerFormat {
  const head = headOf(body, `cmpl-${parts.id}`, 'text_completion', parts, dialect);
  const choice = (text: string, finish_reason: string | null): Body => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason,
    ...(finish_reason === null ? {} : dialect.choice),
  });
  if (!streamed) {
    return whole(request, dialect, parts, (reason, said) => ({
      ...head,
      choices: [choice(said.text, reason)],
      usage: usageOf(request, said),
    }));
  }
  return {
    contentType: EVENT_STREAM,
    token: (word) => event({ ...head, choices: [choice(word, null)] }),
    end: (reason, said) =>
      endOfStream(body, head, request, said, dialect, (more) =>
        event({ ...head, choices: [choice('', reason)], ...more }),
      ),
    fail: (said) => failure(said, parts, dialect),
  };
}

/** Usage comes in a chunk of its own, for clients that asked for it. */
function endOfStream(
  body: Body,
  head: Body,
  request: EngineRequest,
  said: Said,
  dialect: OpenAiDialect,
  finish: (more: Body) => string,
): string {
  const atEnd = dialect.atEnd?.(said, request) ?? {};
  if (objectAt(body, 'stream_options')['include_usage'] !== true) return finish(atEnd) + STREAM_END;
  const usage = event({ ...head, choices: [], usage: usageOf(request, said), ...atEnd });
  return finish({}) + usage + STREAM_END;
}

function whole(
  request: EngineRequest,
  dialect: OpenAiDialect,
  parts: CallParts,
  print: (reason: string, said: Said) => Body,
): AnswerFormat {
  return {
    contentType: 'application/json',
    end: (reason, said) => JSON.stringify({ ...print(reason, said), ...dialect.atEnd?.(said, request) }),
    fail: () => dialect.error(500, INTERNAL, parts).body,
  };
}

const INTERNAL = 'Internal server error';

/** Before the first token it is an answer of status 500, after it an event. */
function failure({ tokens }: Said, parts: CallParts, dialect: OpenAiDialect): string {
  const { body } = dialect.error(500, INTERNAL, parts);
  return tokens === 0 ? body : `data: ${body}\n\n${STREAM_END}`;
}

function headOf(
  body: Body,
  id: string,
  object: string,
  parts: CallParts,
  { fingerprint, answersOwnModel }: OpenAiDialect,
): Body {
  const named = answersOwnModel === true ? undefined : textAt(body, 'model');
  return {
    id,
    object,
    created: Math.floor(unixTime(parts.context, parts.context.seconds)),
    model: named ?? parts.state.models[0] ?? '',
    ...(fingerprint === undefined ? {} : { system_fingerprint: fingerprint(parts) }),
  };
}

function usageOf({ promptTokens }: EngineRequest, { tokens }: Said): Body {
  return { prompt_tokens: promptTokens, total_tokens: promptTokens + tokens, completion_tokens: tokens };
}

function embeddings(body: Body, parts: CallParts, dialect: OpenAiDialect): ApiOutcome {
  const inputs = promptParts(body['input']);
  if (inputs === undefined) return { answer: dialect.missing('input', parts) };
  const request = embeddingRequest(inputs, modelOf(body, parts, dialect), textAt(body, 'user'), parts);
  const size = countAt(body, 'dimensions') ?? embeddingSize(request.model, parts);
  const isBase64 = body['encoding_format'] === 'base64'; // as the official client asks
  const format: AnswerFormat = {
    contentType: 'application/json',
    end: () =>
      JSON.stringify({
        object: 'list',
        data: inputs.map((_, index) => {
          const vector = embeddingVector(size, parts, index);
          return { object: 'embedding', index, embedding: isBase64 ? base64(vector) : vector };
        }),
        model: textAt(body, 'model') ?? request.model,
        usage: { prompt_tokens: request.promptTokens, total_tokens: request.promptTokens },
      }),
    fail: () => dialect.error(500, INTERNAL, parts).body,
  };
  return { call: createCall(request, false, format, parts) };
}

/** One request for all inputs of a call. */
export function embeddingRequest(
  inputs: readonly number[],
  model: { readonly model: string; readonly lora?: string },
  user: string | undefined,
  parts: CallParts,
): EngineRequest {
  return {
    id: parts.id,
    ...model,
    tenant: user ?? parts.tenant,
    kind: 'embedding',
    promptTokens: inputs.reduce((sum, each) => sum + each, 0),
    outputTokens: 0,
    maxTokens: 0,
  };
}

/** Numbers in a vector of that model. */
export function embeddingSize(model: string, { context }: CallParts): number {
  return figures(context, model)?.hiddenSize ?? 1024;
}

/** A vector of length 1, the same for the same call. */
export function embeddingVector(size: number, { id }: CallParts, index: number): number[] {
  const random = createRandom(`${id}/${index}`);
  const raw = Array.from({ length: size }, () => random.next() - 0.5);
  const length = Math.sqrt(raw.reduce((sum, each) => sum + each * each, 0)) || 1;
  return raw.map((each) => Number((each / length).toFixed(8)));
}

function base64(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString('base64');
}
