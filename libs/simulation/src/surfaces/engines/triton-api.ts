import { createCall, event, EVENT_STREAM, type AnswerFormat } from './answer-printer.ts';
import type { ApiOutcome, CallParts, EngineApi } from './engine-api.ts';
import { restOfContext } from './openai-api.ts';
import { answerTokens, textPrompt } from './prompt.ts';
import { countAt, readBody, textAt } from './request-body.ts';
import { json, type SurfaceAnswer } from './surface.ts';
import { TRITON_PIPELINE } from './triton.ts';

/** Triton's generate extension over the ensemble of its tensorrtllm backend: `text_input` in, `text_output` out. */
export const tritonApi: EngineApi = {
  call(path, body, parts) {
    const [, model, operation] = /^\/v2\/models\/([^/]+)\/(generate|generate_stream)$/.exec(path) ?? [];
    if (model === undefined) return undefined;
    if (model !== TRITON_PIPELINE) {
      return { answer: refusal(400, `Request for unknown model: '${model}' is not found`) };
    }
    return generate(body, operation === 'generate_stream', parts);
  },
  refusal: (_path, status, message) => refusal(status, message),
};

function refusal(status: number, message: string): SurfaceAnswer {
  return json({ error: message }, status);
}

function generate(body: string, streamed: boolean, parts: CallParts): ApiOutcome {
  const wanted = readBody(body);
  if (wanted === undefined)
    return { answer: refusal(400, 'failed to parse the request JSON buffer: Invalid value. at 0') };
  const prompt = textPrompt(textAt(wanted, 'text_input'));
  if (prompt === undefined) {
    return {
      answer: refusal(400, `expected 'text_input' input for model '${TRITON_PIPELINE}'`),
    };
  }
  const request = {
    id: parts.id,
    model: parts.state.models[0] ?? '',
    tenant: parts.tenant,
    kind: 'completion',
    promptTokens: prompt.tokens,
    outputTokens: answerTokens(parts.random),
    maxTokens: countAt(wanted, 'max_tokens') ?? restOfContext(prompt.tokens, parts),
  } as const;
  return { call: createCall(request, streamed, streamed ? STREAMED : WHOLE, parts) };
}

function output(text: string): unknown {
  return {
    model_name: TRITON_PIPELINE,
    model_version: '1',
    sequence_end: false,
    sequence_id: 0,
    sequence_start: false,
    text_output: text,
  };
}

const FAILED = JSON.stringify({ error: 'in ensemble: the engine failed' });

const WHOLE: AnswerFormat = {
  contentType: 'application/json',
  end: (_reason, { text }) => JSON.stringify(output(text)),
  fail: () => FAILED,
};

/** A stream simply ends. */
const STREAMED: AnswerFormat = {
  contentType: EVENT_STREAM,
  token: (word) => event(output(word)),
  end: () => '',
  fail: ({ tokens }) => (tokens === 0 ? FAILED : `data: ${FAILED}\n\n`),
};
