import type { EngineAdapter, EngineFacts, Observation } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { llmFamilies } from '../families.ts';
import { mapRules, passedOn } from '../family-tables.ts';
import { parseVllm, vllmFamilies } from './vllm.ts';

/** The process of this exposition is the agent of the node, not an engine. */
const { llm_engine_start_time_seconds: _ofTheAgent, ...engineFamilies } = vllmFamilies;

const rayFamilies = mapRules(passedOn(engineFamilies, 'vllm:'), (rule) => ({
  ...rule,
  from: withBareNames(rule.from),
  ...(rule.unless === undefined ? {} : { unless: withBareNames(rule.unless) }),
}));

/** Ray has printed counters without `_total`, with it, and both at once: the name with it comes first. */
function withBareNames(native: string | readonly string[]): readonly string[] {
  const names = typeof native === 'string' ? [native] : native;
  const bare = names.filter((name) => name.endsWith('_total')).map((name) => name.slice(0, -'_total'.length));
  return [...names, ...bare];
}

/** Ray Serve LLM: vLLM's families under Ray's prefix, on the metrics port of each node, beside those of Ray itself. */
export const ray = {
  title: 'Ray Serve LLM',
  documentation: 'https://docs.ray.io/en/latest/serve/llm/user-guides/observability.html',
  enable:
    "give the metrics port of the node (--metrics-export-port), and set log_engine_metrics in the model's LLMConfig",
  notes: [
    'Metrics are on the metrics port of each Ray node, not on the port that serves requests.',
    'A node that runs no replica of a model has no engine metrics: it is up, and its state unknown.',
    'replica is the id of the Serve replica, which changes when Serve replaces it.',
    "Ray's own ray_serve_* families are not read: they count every application, language model or not.",
  ],
  ports: [8080],
  programs: [],
  // Of all that Ray runs, only the replicas of its own LLM server are known to be language models.
  commandLine: { titles: [/^ray::ServeReplica:[^:]+:(?:LLMServer|LLMDeployment|VLLMDeployment)\b/] },
  fingerprints: [{ path: '/metrics', families: ['ray_'] }],
  requests: [{ as: 'exposition', path: '/metrics' }],
  labels: { model: ['model_name'], replica: ['ReplicaId'] },
  prefixes: [
    ['ray_vllm:', 'vllm:'],
    ['ray_vllm_', 'vllm:'], // colons become underscores on the way through OpenTelemetry, since Ray 2.48 or so
  ],
  families: rayFamilies,
  parse: parseRay,
  lacks: ['llm_requests_capacity'],
} satisfies EngineAdapter;

function parseRay(answers: Answers): EngineFacts {
  const version = rayVersion(answers);
  const engineHere = answers.hasFamily('vllm:');
  return {
    ...(version === undefined ? {} : { version }),
    ...(engineHere ? { observations: ofOneReplica(answers) } : { state: 'unknown' as const }),
  };
}

/**
 * What vLLM keeps in labels, without the model's name: it is told only where the node runs one replica, whose id the
 * other families carry.
 */
function ofOneReplica(answers: Answers): readonly Observation[] {
  const replicas = new Set(
    answers.points('vllm:num_requests_running').map(({ labels }) => labels['ReplicaId']),
  );
  if (replicas.size > 1) return [];
  const [replica] = replicas;
  return (parseVllm(answers).observations ?? []).map(({ labels, ...observation }) => {
    const own = Object.entries(labels ?? {}).filter(([name]) => name !== 'replica');
    const byReplica = llmFamilies[observation.metric].labels.some((name) => name === 'replica');
    return {
      ...observation,
      labels: { ...Object.fromEntries(own), ...(byReplica && replica !== undefined ? { replica } : {}) },
    };
  });
}

/** Ray writes its own version on nearly every series; the engine's is not told. */
function rayVersion(answers: Answers): string | undefined {
  for (const { families } of answers.expositions) {
    for (const { points } of families.values()) {
      const version = points[0]?.labels['Version'];
      if (version !== undefined) return version;
    }
  }
  return undefined;
}
