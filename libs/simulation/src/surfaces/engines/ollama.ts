import type { EngineState, LoadedModel } from '../../engine/engine.ts';
import type { Model } from '../../engine/model.ts';
import { createRandom } from '../../random.ts';
import { commonBounds } from './bounds.ts';
import {
  figures,
  json,
  pathOnly,
  text,
  unixTime,
  type EngineSurface,
  type SurfaceContext,
} from './surface.ts';

const JSON_TYPE = 'application/json; charset=utf-8';

/** Ollama tells which models are there and in memory, and nothing of requests. */
export const ollama: EngineSurface = {
  kind: 'ollama',
  defaultVersion: '0.12.6',
  versions: ['0.5.1', '0.12.6'],
  bounds: (_version, contextTokens) => commonBounds(contextTokens), // it prints none
  listens: ({ condition }) => condition !== 'down',
  notFound: text('404 page not found', 404, 'text/plain'),
  answer(path, state, context) {
    switch (pathOnly(path)) {
      case '/':
        return text('Ollama is running');
      case '/api/version':
        return json({ version: state.version }, 200, JSON_TYPE);
      case '/api/ps':
        return json({ models: state.loaded.map((each) => resident(each, state, context)) }, 200, JSON_TYPE);
      case '/api/tags':
        return json({ models: installed(state, context) }, 200, JSON_TYPE);
      case '/v1/models':
        return json(
          {
            object: 'list',
            data: state.models.map((id) => ({
              id: tagged(id),
              object: 'model',
              created: Math.floor(unixTime(context, 0)),
              owned_by: 'library',
            })),
          },
          200,
          JSON_TYPE,
        );
      default:
        return undefined;
    }
  },
};

/** What `POST /api/show` tells of a model, or undefined of one that is not installed. */
export function showOllamaModel(
  name: string,
  state: EngineState,
  context: SurfaceContext,
): Record<string, unknown> | undefined {
  const found = findOllamaModel(name, state);
  if (found === undefined) return undefined;
  const model = figures(context, found);
  const family = familyOf(found);
  return {
    license: '',
    modelfile: `FROM ${tagged(found)}\n`,
    parameters: '',
    template: '{{ .Prompt }}',
    details: details(found, model),
    model_info:
      model === undefined
        ? {}
        : {
            'general.architecture': family,
            'general.parameter_count': model.parameters,
            [`${family}.block_count`]: model.layers,
            [`${family}.context_length`]: model.contextTokens,
            [`${family}.embedding_length`]: model.hiddenSize,
            [`${family}.attention.head_count`]: model.attentionHeads,
            [`${family}.attention.head_count_kv`]: model.kvHeads,
          },
    capabilities: ['completion'],
    modified_at: timestamp(unixTime(context, 0)),
  };
}

/** The installed model that a client means: `llama3.2` is `llama3.2:latest`. */
export function findOllamaModel(name: string, { models }: EngineState): string | undefined {
  return models.find((each) => tagged(each) === tagged(name));
}

/** RFC 3339 in UTC with nanoseconds, as Go writes it. */
export function timestamp(unixSeconds: number): string {
  const nanoseconds = Math.round((unixSeconds - Math.floor(unixSeconds)) * 1e6) * 1000;
  const whole = new Date(Math.floor(unixSeconds) * 1000).toISOString().slice(0, 19);
  const part = nanoseconds === 0 ? '' : `.${String(nanoseconds).padStart(9, '0').replace(/0+$/, '')}`;
  return `${whole}${part}Z`;
}

function resident(loaded: LoadedModel, state: EngineState, context: SurfaceContext): unknown {
  const name = tagged(loaded.name);
  return {
    name,
    model: name,
    size: loaded.sizeBytes,
    digest: digestOf(name),
    details: details(loaded.name, figures(context, loaded.name)),
    expires_at: timestamp(unixTime(context, loaded.expiresSeconds)),
    size_vram: loaded.gpuBytes,
    ...(state.version === '0.5.1' ? {} : { context_length: loaded.contextTokens }),
  };
}

function installed(state: EngineState, context: SurfaceContext): unknown[] {
  return state.models.map((each) => {
    const model = figures(context, each);
    const name = tagged(each);
    return {
      name,
      model: name,
      modified_at: timestamp(unixTime(context, 0)),
      size: model === undefined ? 0 : Math.round(model.parameters * model.bytesPerParameter),
      digest: digestOf(name),
      details: details(each, model),
    };
  });
}

function details(name: string, model: Model | undefined): unknown {
  const family = familyOf(name);
  return {
    parent_model: '',
    format: 'gguf',
    family,
    families: [family],
    parameter_size: model === undefined ? '' : parameterSize(model.parameters),
    quantization_level: model === undefined ? '' : quantization(model),
  };
}

function tagged(name: string): string {
  return name.includes(':') ? name : `${name}:latest`;
}

function familyOf(name: string): string {
  return /[a-z]+/i.exec(name.split('/').at(-1) ?? '')?.[0].toLowerCase() ?? 'llama';
}

function parameterSize(parameters: number): string {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(2)}M`;
}

function quantization({ bytesPerParameter }: Model): string {
  if (bytesPerParameter < 0.7) return 'Q4_K_M';
  return bytesPerParameter < 1.5 ? 'Q8_0' : 'F16';
}

/** 64 hexadecimal digits, of the name alone. */
function digestOf(name: string): string {
  const random = createRandom(name);
  return Array.from({ length: 64 }, () => Math.floor(random.next() * 16).toString(16)).join('');
}
