import type { EngineRequest } from '../../engine/engine.ts';
import { createCall, event, EVENT_STREAM, type AnswerFormat, type Said } from './answer-printer.ts';
import type { ApiOutcome, CallParts, EngineApi } from './engine-api.ts';
import { openAiCall, restOfContext, type OpenAiDialect } from './openai-api.ts';
import { answerTokens, textPrompt } from './prompt.ts';
import { countAt, readBody, type Body } from './request-body.ts';
import { json, type SurfaceAnswer } from './surface.ts';

const TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  404: 'not_found_error',
  500: 'server_error',
  501: 'not_supported_error',
  503: 'unavailable_error',
};

const dialect: OpenAiDialect = {
  paths: ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'],
  error: (status, message) => errorAnswer(status, message, TYPES[status] ?? 'server_error'),
  notJson: () =>
    errorAnswer(
      400,
      '[json.exception.parse_error.101] parse error at line 1, column 1: syntax error while parsing value',
      'invalid_request_error',
    ),
  missing: (field) =>
    errorAnswer(
      400,
      field === 'messages' ? "'messages' is required" : `"${field}" must be provided`,
      'invalid_request_error',
    ),
  fingerprint: ({ state }) => `${state.version}-sim`,
  atEnd: (said, request) => ({ timings: timings(said, request) }),
  firstContent: null,
};

/** llama-server: its own `/completion` and OpenAI's. */
export const llamacppApi: EngineApi = {
  call(path, body, parts) {
    if (path === '/completion' || path === '/completions') return completion(body, parts);
    return openAiCall(path, body, parts, dialect);
  },
  refusal: (_path, status, message, parts) =>
    message.includes('exceeds the available context size')
      ? errorAnswer(status, message, 'exceed_context_size_error')
      : dialect.error(status, message, parts),
};

function errorAnswer(status: number, message: string, type: string): SurfaceAnswer {
  const answer = json({ error: { code: status, message, type } }, status, 'application/json; charset=utf-8');
  return { ...answer, headers: { Server: 'llama.cpp' } };
}

function completion(body: string, parts: CallParts): ApiOutcome {
  const wanted = readBody(body);
  if (wanted === undefined) return { answer: dialect.notJson(parts) };
  const prompt = textPrompt(wanted['prompt']);
  if (prompt === undefined) return { answer: dialect.missing('prompt', parts) };
  const maxTokens =
    countAt(wanted, 'n_predict') ?? countAt(wanted, 'max_tokens') ?? restOfContext(prompt.tokens, parts);
  const natural = answerTokens(parts.random);
  const request: EngineRequest = {
    id: parts.id,
    model: parts.state.models[0] ?? '',
    tenant: parts.tenant,
    kind: 'completion',
    promptTokens: prompt.tokens,
    outputTokens: wanted['ignore_eos'] === true ? Math.max(natural, maxTokens + 1) : natural,
    maxTokens,
  };
  const streamed = wanted['stream'] === true;
  return { call: createCall(request, streamed, completionFormat(request, streamed), parts) };
}

function completionFormat(request: EngineRequest, streamed: boolean): AnswerFormat {
  const counts = (said: Said): Body => ({
    tokens_predicted: said.tokens,
    tokens_evaluated: request.promptTokens,
  });
  const last = (reason: string, said: Said): Body => ({
    index: 0,
    content: streamed ? '' : said.text,
    tokens: [],
    id_slot: 0,
    stop: true,
    model: request.model,
    ...counts(said),
    truncated: false,
    stop_type: reason === 'length' ? 'limit' : 'eos',
    stopping_word: '',
    timings: timings(said, request),
  });
  const failed = JSON.stringify({ error: { code: 500, message: 'Compute error.', type: 'server_error' } });
  if (!streamed) {
    return {
      contentType: 'application/json; charset=utf-8',
      end: (reason, said) => JSON.stringify(last(reason, said)),
      fail: () => failed,
    };
  }
  return {
    contentType: EVENT_STREAM,
    token: (word, said) =>
      event({ index: 0, content: word, tokens: [], stop: false, id_slot: -1, ...counts(said) }),
    end: (reason, said) => event(last(reason, said)), // no [DONE]
    fail: ({ tokens }) => (tokens === 0 ? failed : `data: ${failed}\n\n`),
  };
}

/**
 * Durations in milliseconds. The real `prompt_ms` begins when a slot takes the request; a client of the world sees no
 * slot, and so it begins with the arrival here. What came from the cache is not seen either.
 */
function timings(
  { arrivedSeconds, firstSeconds, seconds, tokens }: Said,
  { promptTokens }: EngineRequest,
): Body {
  const promptMs = (firstSeconds - arrivedSeconds) * 1000;
  const predictedMs = Math.max(0.001, (seconds - firstSeconds) * 1000);
  const gaps = Math.max(0, tokens - 1);
  return {
    cache_n: 0,
    prompt_n: promptTokens,
    prompt_ms: rounded(promptMs),
    prompt_per_token_ms: promptTokens === 0 ? 0 : promptMs / promptTokens,
    prompt_per_second: promptMs === 0 ? 0 : (promptTokens / promptMs) * 1000,
    predicted_n: tokens,
    predicted_ms: rounded(predictedMs),
    predicted_per_token_ms: gaps === 0 ? 0 : predictedMs / gaps,
    predicted_per_second: gaps === 0 ? 0 : (gaps / predictedMs) * 1000,
  };
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}
