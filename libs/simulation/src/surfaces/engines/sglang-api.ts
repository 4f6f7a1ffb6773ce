import type { EngineApi } from './engine-api.ts';
import { openAiCall, type OpenAiDialect } from './openai-api.ts';
import { json } from './surface.ts';

const dialect: OpenAiDialect = {
  paths: ['/v1/chat/completions', '/v1/completions', '/v1/embeddings'],
  error: (status, message) =>
    json(
      {
        object: 'error',
        message,
        type: status < 500 ? 'BadRequestError' : 'InternalServerError',
        param: null,
        code: status,
      },
      status,
    ),
  notJson: (parts) =>
    dialect.error(400, "[{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error'}]", parts),
  missing: (field, parts) =>
    dialect.error(400, `[{'type': 'missing', 'loc': ('body', '${field}'), 'msg': 'Field required'}]`, parts),
  // Chats get the rest of the context, bare prompts sixteen tokens, as OpenAI did it.
  defaultMaxTokens: (path) => (path === '/v1/completions' ? 16 : undefined),
  choice: { matched_stop: null },
};

/** SGLang's API server: python/sglang/srt/entrypoints. */
export const sglangApi: EngineApi = {
  call: (path, body, parts) => openAiCall(path, body, parts, dialect),
  refusal: (_path, status, message, parts) => dialect.error(status, message, parts),
};
