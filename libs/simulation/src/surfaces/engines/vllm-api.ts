import type { CallParts, EngineApi } from './engine-api.ts';
import { openAiCall, type OpenAiDialect } from './openai-api.ts';
import { compareVersions, json, type SurfaceAnswer } from './surface.ts';

/** From here on an error is an object in the answer, as OpenAI has it; before, it was the answer. */
const NESTED_ERRORS = '0.10.1';

const TYPES: Readonly<Record<number, string>> = {
  400: 'BadRequestError',
  404: 'NotFoundError',
  500: 'InternalServerError',
  503: 'ServiceUnavailableError',
};

const dialect: OpenAiDialect = {
  paths: ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'],
  error: (status, message, parts) => errorAnswer(status, message, TYPES[status] ?? 'BadRequestError', parts),
  notJson: (parts) =>
    errorAnswer(
      400,
      "[{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error'}]",
      'Bad Request',
      parts,
    ),
  missing: (field, parts) =>
    errorAnswer(
      400,
      `[{'type': 'missing', 'loc': ('body', '${field}'), 'msg': 'Field required'}]`,
      'Bad Request',
      parts,
    ),
  defaultMaxTokens: (path) => (path === '/v1/completions' ? 16 : undefined),
  choice: { stop_reason: null },
};

/** vLLM's API server: vllm/entrypoints/openai. */
export const vllmApi: EngineApi = {
  call: (path, body, parts) => openAiCall(path, body, parts, dialect),
  refusal: (_path, status, message, parts) => dialect.error(status, message, parts),
};

function errorAnswer(status: number, message: string, type: string, parts: CallParts): SurfaceAnswer {
  const error = { message, type, param: null, code: status };
  const isNested = compareVersions(parts.state.version, NESTED_ERRORS) >= 0;
  return json(isNested ? { error } : { object: 'error', ...error }, status);
}
