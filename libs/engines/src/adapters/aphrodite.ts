import type { EngineAdapter, Rule, Rules } from '../adapter.ts';
import { rulesOf } from '../apply-rules.ts';
import type { LlmMetricName } from '../families.ts';
import { textAt } from '../json.ts';

import { modelListOf, parseVllm, vllmFamilies } from './vllm.ts';

/** `owned_by` in its list of models: its makers, or itself. */
const OWNERS = ['pygmalionai', 'aphrodite'] as const;

/** Aphrodite: a fork of vLLM, whose families it prints under its own prefix. */
export const aphrodite = {
  title: 'Aphrodite',
  documentation: 'https://aphrodite.pygmalion.chat',
  enable: 'Aphrodite prints its metrics unless it was started with --disable-log-stats',
  notes: ["What is said of vLLM's numbers holds for Aphrodite's too."],
  ports: [2242],
  programs: ['aphrodite', 'aphrodite.endpoints.openai.api_server', 'aphrodite.entrypoints.openai.api_server'],
  commandLine: {
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { options: ['--model'], behind: ['run'], is: 'model' },
    ],
  },
  fingerprints: [{ path: '/metrics', families: ['aphrodite:'] }, { ownedBy: OWNERS }],
  requests: [
    { as: 'exposition', path: '/metrics' },
    {
      as: 'json',
      path: '/version',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'version') !== undefined,
    },
    { as: 'json', path: '/v1/models', maxAgeSeconds: 60, shape: modelListOf(...OWNERS) },
  ],
  health: { path: '/health', states: { 503: 'failed' } },
  labels: { model: ['model_name'], replica: ['engine'] },
  prefixes: [['aphrodite:', 'vllm:']],
  families: withoutVersions(vllmFamilies),
  parse: parseVllm,
  lacks: ['llm_requests_capacity'],
} satisfies EngineAdapter;

/** vLLM's rules, those bound to versions of vLLM made optional: Aphrodite counts its versions otherwise. */
function withoutVersions(
  families: Partial<Record<LlmMetricName, Rules>>,
): Partial<Record<LlmMetricName, readonly Rule[]>> {
  return Object.fromEntries(
    Object.entries(families).map(([metric, rules]) => [
      metric,
      rulesOf(rules).map(({ since, until, ...rule }) =>
        since === undefined && until === undefined ? rule : { ...rule, optional: true as const },
      ),
    ]),
  );
}
