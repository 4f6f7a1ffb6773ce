import type { Rule, Rules } from './adapter.ts';
import { rulesOf } from './apply-rules.ts';
import type { LlmMetricName } from './families.ts';

/** Canonical name to native name, as an adapter has it. */
export type FamilyTable = Readonly<Partial<Record<LlmMetricName, Rules>>>;

/** One table of several: the rules of a metric stand one after the other, and an answer fits those it holds. */
export function joinTables(...tables: readonly FamilyTable[]): FamilyTable {
  const joined: Partial<Record<LlmMetricName, readonly Rule[]>> = {};
  for (const table of tables) {
    for (const [name, rules] of entriesOf(table)) joined[name] = [...(joined[name] ?? []), ...rules];
  }
  return joined;
}

/**
 * The table of an engine whose metrics another server passes on. They are expected only where a family with the
 * engine's prefix is there; its version is not known from the outside, so what depends on it is not expected at all.
 */
export function passedOn(table: FamilyTable, prefix: string): FamilyTable {
  return mapRules(table, (rule) => {
    const { since, until, ...rest } = rule;
    if (since !== undefined || until !== undefined) return { ...rest, optional: true };
    return rest.expectedWith === undefined ? { ...rest, expectedWith: prefix } : rest;
  });
}

/** A table with each of its rules changed. */
export function mapRules(table: FamilyTable, change: (rule: Rule) => Rule): FamilyTable {
  return Object.fromEntries(entriesOf(table).map(([name, rules]) => [name, rules.map(change)]));
}

function entriesOf(table: FamilyTable): [LlmMetricName, readonly Rule[]][] {
  return Object.entries(table).map(([name, rules]) => [name as LlmMetricName, rulesOf(rules)]);
}
