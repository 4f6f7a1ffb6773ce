import type { MetricFamily } from '@llm-monitor/metrics-core';

import type { EngineState, LlmMetricName } from './families.ts';
import type { TargetError } from './target-error.ts';

/** Where a metric came from: printed by the engine as such, computed from several values, or read from its JSON. */
export type MetricSource = 'native' | 'derived' | 'api';

/** What is wrong with an answer without making it useless, by kind, with an example. */
export interface SourceIssue {
  readonly kind: string;
  readonly count: number;
  readonly example: string;
}

/** One engine, read once and normalized. */
export interface EngineReading {
  /** Canonical families, labelled with `server` and `engine`. */
  readonly families: readonly MetricFamily[];
  readonly up: boolean;
  readonly state: EngineState;
  readonly version?: string;
  readonly models: readonly string[];
  readonly sources: Readonly<Partial<Record<LlmMetricName, MetricSource>>>;
  /** Native names that this version should have given. */
  readonly missing: readonly string[];
  readonly issues: readonly SourceIssue[];
  /** Requests that failed; the first is why the target is down, when it is. */
  readonly errors: readonly TargetError[];
  /** Another program has answered in the engine's place: what is there must be asked anew. Absent otherwise. */
  readonly isStranger?: boolean;
}

/** Who is read: the values of the labels that every series of it has. */
export interface Identity {
  readonly server: string;
  readonly engine: string;
}
