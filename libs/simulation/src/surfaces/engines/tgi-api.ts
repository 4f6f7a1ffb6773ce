import { createCall, event, EVENT_STREAM, type AnswerFormat, type Said } from './answer-printer.ts';
import type { ApiOutcome, CallParts, EngineApi } from './engine-api.ts';
import { openAiCall, restOfContext, type OpenAiDialect } from './openai-api.ts';
import { answerTokens, textPrompt } from './prompt.ts';
import { countAt, objectAt, readBody, textAt, type Body } from './request-body.ts';
import { json, text, type SurfaceAnswer } from './surface.ts';

const ERROR_TYPES: Readonly<Record<number, string>> = {
  422: 'validation',
  424: 'generation',
  429: 'overloaded',
  500: 'generation',
};

const dialect: OpenAiDialect = {
  paths: ['/v1/chat/completions', '/v1/completions'],
  error: (status, message) =>
    json({ error: message, error_type: ERROR_TYPES[status] ?? 'validation' }, status),
  notJson: () => unreadable('expected value at line 1 column 1'),
  missing: (field) => unreadable(`missing field \`${field}\` at line 1 column 2`),
  fingerprint: ({ state }) => `${state.version}-native`,
  answersOwnModel: true,
};

/** TGI's router: its own `/generate` and `/generate_stream`, and OpenAI's. */
export const tgiApi: EngineApi = {
  call(path, body, parts) {
    if (path === '/generate' || path === '/generate_stream') return generate(path, body, parts);
    return openAiCall(path, body, parts, dialect);
  },
  refusal: (_path, status, message, parts) => dialect.error(status, message, parts),
};

/** Rust's axum says in plain text what it could not read. */
function unreadable(why: string): SurfaceAnswer {
  return text(`Failed to deserialize the JSON body into the target type: ${why}`, 422);
}

function generate(path: string, body: string, parts: CallParts): ApiOutcome {
  const wanted = readBody(body);
  if (wanted === undefined) return { answer: dialect.notJson(parts) };
  const prompt = textPrompt(textAt(wanted, 'inputs'));
  if (prompt === undefined) return { answer: dialect.missing('inputs', parts) };
  const parameters = objectAt(wanted, 'parameters');
  const streamed = path === '/generate_stream';
  const request = {
    id: parts.id,
    model: parts.state.models[0] ?? '',
    tenant: parts.tenant,
    kind: 'completion',
    promptTokens: prompt.tokens,
    outputTokens: answerTokens(parts.random),
    maxTokens: countAt(parameters, 'max_new_tokens') ?? restOfContext(prompt.tokens, parts),
  } as const;
  const details = (reason: string, said: Said): Body => ({
    finish_reason: reason === 'stop' ? 'eos_token' : reason,
    generated_tokens: said.tokens,
    seed: null,
    ...(streamed ? { input_length: prompt.tokens } : { prefill: [], tokens: [] }),
  });
  const hasDetails = parameters['details'] === true;
  return {
    call: createCall(
      request,
      streamed,
      streamed ? streamFormat(details) : wholeFormat(hasDetails, details),
      parts,
    ),
  };
}

type Details = (reason: string, said: Said) => Body;

function wholeFormat(hasDetails: boolean, details: Details): AnswerFormat {
  return {
    contentType: 'application/json',
    end: (reason, said) =>
      JSON.stringify({
        generated_text: said.text,
        ...(hasDetails ? { details: details(reason, said) } : {}),
      }),
    fail: () => FAILED,
  };
}

/** The last token's event holds the whole text: each is held back until it is known not to be the last. */
function streamFormat(details: Details): AnswerFormat {
  let held: { readonly word: string; readonly index: number } | undefined;
  const release = (whole: Body): string => {
    if (held === undefined) return '';
    const { word, index } = held;
    const token = { id: index, text: word, logprob: -1, special: false };
    return event({ index, token, ...whole });
  };
  return {
    contentType: EVENT_STREAM,
    token(word, { tokens }) {
      const printed = release({ generated_text: null, details: null });
      held = { word, index: tokens };
      return printed;
    },
    end: (reason, said) => release({ generated_text: said.text, details: details(reason, said) }),
    fail: ({ tokens }) => (tokens === 0 ? FAILED : `data: ${FAILED}\n\n`),
  };
}

const FAILED = JSON.stringify({
  error: 'Request failed during generation: Server error',
  error_type: 'generation',
});
