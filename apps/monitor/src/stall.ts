import type { EngineReading, LlmMetricName } from '@llm-monitor/engines';
import type { Labels } from '@llm-monitor/metrics-core';

import { histograms, scalars } from './points.ts';

/** Requests in an engine while nothing of it moves. */
export interface Stall {
  /** Unix time of the reading that last saw something move, or the first that saw the requests: it may be longer. */
  readonly sinceSeconds: number;
  /** Each token is seen as it comes. Elsewhere counters move when a request ends, and a long answer looks the same. */
  readonly seesEachToken: boolean;
  /** The model that it is of, where requests and tokens are told by model. */
  readonly model?: string;
}

/** Whatever moves when an engine works; the alert LlmUpButNotServing goes by the same. */
const COUNTERS = [
  'llm_generation_tokens_total',
  'llm_prompt_tokens_total',
  'llm_requests_finished_total',
  'llm_generation_tokens_in_flight',
] as const satisfies readonly LlmMetricName[];
/** One of these must be there: of an engine that counts nothing nobody can tell. */
const TELLING = ['llm_generation_tokens_total', 'llm_requests_finished_total'] as const;
const GAPS = 'llm_inter_token_latency_seconds';
const IN_ENGINE = ['llm_requests_running', 'llm_requests_waiting'] as const;

interface Standing {
  readonly counters: string;
  readonly sinceSeconds: number;
}

/** Tells, reading by reading, since when a server has had requests and made nothing of them. */
export class StallMeter {
  private standing = new Map<string, Standing>();

  /** The longest stall of its models at this reading; undefined where there is none, or nothing tells. */
  read(atSeconds: number, reading: EngineReading): Stall | undefined {
    const told = modelsOf(reading, TELLING);
    if (told.size === 0) {
      this.standing.clear();
      return undefined;
    }
    const next = new Map<string, Standing>();
    let longest: Stall | undefined;
    for (const model of busyModels(reading)) {
      // Requests that name no model, or another one than the tokens, are held against all that the server makes.
      const key = told.has(model) ? model : '';
      const counters = countersOf(reading, key);
      const before = this.standing.get(key);
      const isStill = before?.counters === counters && before.sinceSeconds <= atSeconds;
      const sinceSeconds = isStill ? before.sinceSeconds : atSeconds;
      next.set(key, { counters, sinceSeconds });
      if (longest === undefined || sinceSeconds < longest.sinceSeconds) {
        longest = {
          sinceSeconds,
          seesEachToken: seesEachToken(reading, key),
          ...(key === '' ? {} : { model: key }),
        };
      }
    }
    this.standing = next;
    return longest;
  }
}

const modelOf = (labels: Labels): string => labels['model'] ?? '';
const isOf = (model: string) => (point: { readonly labels: Labels }) =>
  model === '' || modelOf(point.labels) === model;

function modelsOf(reading: EngineReading, metrics: readonly LlmMetricName[]): ReadonlySet<string> {
  return new Set(metrics.flatMap((metric) => scalars(reading, metric).map(({ labels }) => modelOf(labels))));
}

/** Those with a request that runs or waits. */
function busyModels(reading: EngineReading): ReadonlySet<string> {
  return new Set(
    IN_ENGINE.flatMap((metric) =>
      scalars(reading, metric)
        .filter(({ value }) => value > 0)
        .map(({ labels }) => modelOf(labels)),
    ),
  );
}

/** All counters of a model as one text: it is another one as soon as one of them moves, comes or goes. */
function countersOf(reading: EngineReading, model: string): string {
  return JSON.stringify([
    ...COUNTERS.map((metric) =>
      scalars(reading, metric)
        .filter(isOf(model))
        .map(({ value }) => value),
    ),
    histograms(reading, GAPS)
      .filter(isOf(model))
      .map(({ count }) => count),
  ]);
}

function seesEachToken(reading: EngineReading, model: string): boolean {
  return (
    histograms(reading, GAPS).some(isOf(model)) ||
    scalars(reading, 'llm_generation_tokens_in_flight')
      .filter(isOf(model))
      .some(({ value }) => value > 0)
  );
}
