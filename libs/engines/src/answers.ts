import {
  parseExposition,
  type Labels,
  type MetricFamily,
  type ParseIssue,
  type ScalarPoint,
} from '@llm-monitor/metrics-core';

import { TargetError } from './target-error.ts';

/** One answer as it came over the wire (or out of a file). */
export interface Answer {
  readonly path: string;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An exposition, read, with the labels that its request gave it. */
export interface Exposition {
  readonly path: string;
  readonly labels: Labels;
  readonly families: ReadonlyMap<string, MetricFamily>;
  readonly issues: readonly ParseIssue[];
}

/** All that one reading has been answered so far: each body is parsed once, when it arrives. */
export class Answers {
  readonly expositions: Exposition[] = [];
  /** What the health endpoint said in JSON, apart from the rest: any web server may say such a thing. */
  saidOfHealth: unknown = undefined;
  private readonly jsonByPath = new Map<string, unknown>();
  private readonly statusByPath = new Map<string, number>();

  /** The JSON value answered at a path, or undefined. */
  json(path: string): unknown {
    return this.jsonByPath.get(path);
  }

  /** Every JSON answer, by path. */
  jsonPaths(): readonly string[] {
    return [...this.jsonByPath.keys()];
  }

  /** The status answered at a path, or undefined when it was not asked or not answered. */
  status(path: string): number | undefined {
    return this.statusByPath.get(path);
  }

  /** The first value of a native family over all expositions, labels ignored: for engines that have none. */
  value(family: string): number | undefined {
    for (const exposition of this.expositions) {
      const point = exposition.families.get(family)?.points[0];
      if (point !== undefined && 'value' in point && Number.isFinite(point.value)) return point.value;
    }
    return undefined;
  }

  /** All plain values of a native family, over all expositions. */
  points(family: string): ScalarPoint[] {
    return this.expositions.flatMap(({ families }) =>
      (families.get(family)?.points ?? []).flatMap((point) => ('value' in point ? [point] : [])),
    );
  }

  /** Whether any native family that begins so has samples. */
  hasFamily(prefix: string): boolean {
    return this.expositions.some(({ families }) =>
      [...families].some(([name, { points }]) => name.startsWith(prefix) && points.length > 0),
    );
  }

  /** Every status answered, by path. */
  statuses(): ReadonlyMap<string, number> {
    return this.statusByPath;
  }

  noteStatus(path: string, status: number): void {
    this.statusByPath.set(path, status);
  }

  addJson(path: string, value: unknown): void {
    this.jsonByPath.set(path, value);
  }

  addExposition(exposition: Exposition): void {
    this.expositions.push(exposition);
  }
}

/** More samples than any engine prints (each bucket is one): what comes after them is counted, and not read. */
export const MAX_EXPOSITION_SERIES = 50_000;

/**
 * Reads a body as an exposition, its families renamed by `[prefix, replacement]` pairs.
 * @throws TargetError `not_an_exposition` when nothing in it is one (an HTML page, JSON).
 */
export function readExposition(
  answer: Answer,
  url: string,
  labels: Labels = {},
  prefixes: readonly (readonly [string, string])[] = [],
): Exposition {
  const { families, issues } = parseExposition(unquoted(answer.body), {
    maxSeries: MAX_EXPOSITION_SERIES,
  });
  if (families.length === 0 && answer.body.trim() !== '') {
    throw new TargetError(
      'not_an_exposition',
      url,
      `answered with ${describeBody(answer)} where metrics were expected: is this the engine's own port?`,
    );
  }
  const byName = new Map<string, MetricFamily>();
  for (const family of families) byName.set(renamed(family.name, prefixes), family);
  return { path: answer.path, labels, families: byName, issues };
}

/** llama.cpp b7010 to b7100 sent the whole exposition as one JSON string (ggml-org/llama.cpp #17384). */
export function unquoted(body: string): string {
  if (!body.startsWith('"#')) return body;
  try {
    const text: unknown = JSON.parse(body);
    return typeof text === 'string' ? text : body;
  } catch {
    return body; // read as it is, and found to be no exposition
  }
}

/** @throws TargetError `not_json` when the body does not parse. */
export function readJson(answer: Answer, url: string): unknown {
  try {
    return JSON.parse(answer.body) as unknown;
  } catch {
    throw new TargetError(
      'not_json',
      url,
      `answered with ${describeBody(answer)} where JSON was expected: is this the engine's own port?`,
    );
  }
}

function renamed(name: string, prefixes: readonly (readonly [string, string])[]): string {
  const found = prefixes.find(([prefix]) => name.startsWith(prefix));
  return found === undefined ? name : found[1] + name.slice(found[0].length);
}

function describeBody({ headers, body }: Answer): string {
  const start = body.trimStart().slice(0, 15).toLowerCase();
  if (start.startsWith('<!doctype') || start.startsWith('<html')) return 'an HTML page';
  if (start.startsWith('{') || start.startsWith('[')) return 'JSON';
  return `${headers['content-type']?.split(';')[0] ?? 'unknown content'} of ${body.length} characters`;
}
