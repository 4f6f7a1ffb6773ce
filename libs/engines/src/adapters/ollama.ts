import type { EngineAdapter, EngineFacts, ModelFact, Observation, ProcessFiles } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { at, listAt, numberAt, textAt } from '../json.ts';

/** "Forever" is written as a date about 290 years ahead (keep_alive -1, the longest Go duration). */
const FOREVER_FROM_SECONDS = Date.UTC(2200, 0, 1) / 1000;

/**
 * Ollama. It has no metrics: what it says is which models are installed, which are in memory and how much of each is
 * on the GPU. All that is asked is answered from its tables; nothing here loads a model or moves an unload time.
 */
export const ollama = {
  title: 'Ollama',
  documentation: 'https://github.com/ollama/ollama/blob/main/docs/api.md',
  notes: [
    'No release prints metrics: it says nothing of requests, tokens and latencies. A later /metrics with ollama_ families is read when it is there.',
    'The share of a model on GPUs is llm_model_memory_bytes{kind="vram"} over {kind="total"}; below 1 a part of it is computed by the CPU.',
    'A model that is kept for ever has no llm_model_unload_time_seconds.',
    'Models that run at a provider (remote_host) are left out: they are not on this machine.',
  ],
  ports: [11434],
  programs: ['ollama'],
  commandLine: { model: [{ options: ['--model'], is: 'file', lookUp: nameOfBlob }] },
  fingerprints: [
    { path: '/metrics', families: ['ollama_'] },
    { path: '/', text: 'Ollama is running' },
    { path: '/api/ps', json: isResident },
    { path: '/api/tags', json: isModels },
    { ownedBy: ['library'] },
  ],
  requests: [
    { as: 'json', path: '/api/ps', shape: isResident },
    { as: 'json', path: '/api/tags', maxAgeSeconds: 60, shape: isModels },
    {
      as: 'json',
      path: '/api/version',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'version') !== undefined,
    },
    { as: 'exposition', path: '/metrics', optional: true },
  ],
  labels: { model: ['model'] },
  // Names of the open pull request ollama/ollama #16998.
  families: {
    llm_requests_waiting: { from: 'ollama_requests_queued', optional: true },
    llm_generation_tokens_total: { from: 'ollama_eval_total', optional: true },
    llm_request_duration_seconds: { from: 'ollama_total_duration_seconds', optional: true },
  },
  parse: parseOllama,
  lacks: [
    'llm_requests_running',
    'llm_requests_capacity',
    'llm_requests_finished_total',
    'llm_prompt_tokens_total',
    'llm_prompt_tokens_cached_total',
    'llm_time_to_first_token_seconds',
    'llm_inter_token_latency_seconds',
    'llm_request_queue_time_seconds',
    'llm_kv_cache_usage_ratio',
  ],
} satisfies EngineAdapter;

const MOST_MANIFESTS = 1000;
const MODEL_LAYER = 'application/vnd.ollama.image.model';

/**
 * The model whose weights are in a blob: a runner is given the blob alone. Manifests lie beside the blobs, in
 * `manifests/HOST/NAMESPACE/NAME/TAG`. A blob that goes by several names has none here.
 */
async function nameOfBlob(blob: string, files: ProcessFiles): Promise<string | undefined> {
  const [, folder, digest] = /^(.*)\/blobs\/sha256-([0-9a-f]{64})$/.exec(blob) ?? [];
  if (folder === undefined || digest === undefined) return undefined;
  const names = new Set<string>();
  let manifests: string[] = [''];
  for (let depth = 0; depth < 4; depth++) {
    const deeper: string[] = [];
    for (const manifest of manifests) {
      const found = await files.list(`${folder}/manifests${manifest}`);
      const entries = depth < 3 ? found.folders : found.files;
      deeper.push(...entries.map((entry) => `${manifest}/${entry}`));
      if (deeper.length > MOST_MANIFESTS) return undefined;
    }
    manifests = deeper;
  }
  for (const manifest of manifests) {
    const text = await files.text(`${folder}/manifests${manifest}`);
    if (text !== undefined && hasModel(text, `sha256:${digest}`)) names.add(shortName(manifest));
  }
  return names.size === 1 ? [...names][0] : undefined;
}

function hasModel(manifest: string, digest: string): boolean {
  try {
    return listAt(JSON.parse(manifest), 'layers').some(
      (layer) => textAt(layer, 'mediaType') === MODEL_LAYER && textAt(layer, 'digest') === digest,
    );
  } catch {
    return false; // half written, or no manifest
  }
}

/** As Ollama writes it: without its own registry, and without its own namespace there. */
function shortName(manifest: string): string {
  const [, host = '', namespace = '', name = '', tag = ''] = manifest.split('/');
  if (host !== 'registry.ollama.ai') return `${host}/${namespace}/${name}:${tag}`;
  return namespace === 'library' ? `${name}:${tag}` : `${namespace}/${name}:${tag}`;
}

/** A list of models by digest; KoboldCpp imitates it, with itself as the family of every model. */
function isModels(value: unknown): boolean {
  const models = at(value, 'models');
  return (
    Array.isArray(models) &&
    models.every(
      (model) => textAt(model, 'digest') !== undefined && textAt(model, 'details', 'family') !== 'koboldcpp',
    )
  );
}

function isResident(value: unknown): boolean {
  return (
    isModels(value) && listAt(value, 'models').every((model) => textAt(model, 'modified_at') === undefined)
  );
}

function parseOllama(answers: Answers): EngineFacts {
  const version = textAt(answers.json('/api/version'), 'version');
  const resident = localModels(answers.json('/api/ps'));
  const loaded = new Set(resident.map((model) => textAt(model, 'name')));
  const installed = localModels(answers.json('/api/tags')).filter(
    (model) => !loaded.has(textAt(model, 'name')),
  );
  return {
    ...(version === undefined ? {} : { version }),
    models: [
      ...resident.flatMap((model) => modelFact(model, true)),
      ...installed.flatMap((model) =>
        modelFact(model, answers.json('/api/ps') === undefined ? undefined : false),
      ),
    ],
    observations: resident.flatMap(residency),
    ...(answers.expositions.length > 0 ? {} : { unavailable: WITHOUT_METRICS }),
  };
}

const WITHOUT_METRICS = {
  llm_requests_waiting: 'engine_lacks',
  llm_generation_tokens_total: 'engine_lacks',
  llm_request_duration_seconds: 'engine_lacks',
} as const;

function localModels(list: unknown): readonly unknown[] {
  return listAt(list, 'models').filter((model) => textAt(model, 'remote_host') === undefined);
}

function modelFact(model: unknown, loaded: boolean | undefined): ModelFact[] {
  const name = textAt(model, 'name');
  if (name === undefined) return [];
  const quantization = textAt(model, 'details', 'quantization_level');
  const parameterSize = textAt(model, 'details', 'parameter_size');
  const format = textAt(model, 'details', 'format');
  const family = textAt(model, 'details', 'family');
  const contextTokens = numberAt(model, 'context_length');
  return [
    {
      name,
      ...(quantization === undefined ? {} : { quantization }),
      ...(parameterSize === undefined ? {} : { parameterSize }),
      ...(format === undefined ? {} : { format }),
      ...(family === undefined ? {} : { family }),
      ...(contextTokens === undefined ? {} : { contextTokens }),
      ...(loaded === undefined ? {} : { loaded }),
    },
  ];
}

function residency(resident: unknown): Observation[] {
  const model = textAt(resident, 'name');
  if (model === undefined) return [];
  const total = numberAt(resident, 'size');
  const vram = numberAt(resident, 'size_vram');
  const unload = unloadTime(textAt(resident, 'expires_at'));
  return [
    ...(total === undefined ? [] : [memory(model, 'total', total)]),
    ...(vram === undefined ? [] : [memory(model, 'vram', vram)]),
    ...(unload === undefined
      ? []
      : [
          {
            metric: 'llm_model_unload_time_seconds',
            labels: { model },
            value: unload,
            source: 'api',
          } as const,
        ]),
  ];
}

function memory(model: string, kind: 'total' | 'vram', value: number): Observation {
  return { metric: 'llm_model_memory_bytes', labels: { model, kind }, value, source: 'api' };
}

function unloadTime(expiresAt: string | undefined): number | undefined {
  const seconds = Date.parse(expiresAt ?? '') / 1000;
  // A model being unloaded right now has the zero time, the year 1.
  return seconds > 0 && seconds < FOREVER_FROM_SECONDS ? seconds : undefined;
}
