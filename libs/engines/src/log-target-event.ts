import type { TargetEvent } from './target-book.ts';

/** As much of a logger as is needed: pino's fits. */
export interface EventLog {
  info(facts: object, sentence: string): void;
  warn(facts: object, sentence: string): void;
}

/** How each event is told: level, and a sentence that never changes. */
const SENTENCES: Readonly<Record<TargetEvent['kind'], readonly ['info' | 'warn', string]>> = {
  found: ['info', 'LLM server found'],
  recovered: ['info', 'LLM server answers again'],
  forgotten: ['info', 'LLM server is gone and forgotten'],
  failed: ['warn', 'LLM server cannot be read'],
  metrics_missing: ['warn', 'LLM server does not give all metrics that its version should'],
};

/** Writes what changed with a target to the log. */
export function logTargetEvent(log: EventLog): (event: TargetEvent) => void {
  return ({ kind, ...facts }) => {
    const [level, sentence] = SENTENCES[kind];
    log[level](facts, sentence);
  };
}
