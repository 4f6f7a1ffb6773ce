import {
  ENGINE_NAMES,
  isEngineName,
  TargetBook,
  type Endpoint,
  type EngineCollection,
  type EngineName,
  type Get,
  type TargetReport,
} from '@llm-monitor/engines';
import { RequestError } from '@llm-monitor/exporter-http';
import type { MetricFamily } from '@llm-monitor/metrics-core';

import { probeUrl, type AllowPattern } from './probe-allow.ts';

export interface ProbeQuery {
  readonly target: string | string[] | undefined;
  readonly engine: string | string[] | undefined;
}

export interface ProbeParts {
  readonly book: TargetBook;
  readonly collection: Pick<EngineCollection, 'collectOne'>;
  readonly allow: readonly AllowPattern[];
  readonly createGet: (endpoint: Endpoint) => Get;
  /** A collection over targets that are not in the book. */
  readonly collectionOf: (book: TargetBook) => Pick<EngineCollection, 'collectOne'>;
  /** Longest time to read a target that is not in the book, and to find out what it is. */
  readonly readTimeoutSeconds: number;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** A book, and what reads the targets in it. */
type Read = Pick<ProbeParts, 'book' | 'collection'>;

/** Targets outside the book of which the engine is remembered between two probes. */
const REMEMBERED_TARGETS = 256;

/** The two families of blackbox_exporter that every multi-target exporter adds. */
const probeFamilies = {
  probe_success: 'Whether the target was reached and its answer understood (1) or not (0).',
  probe_duration_seconds: 'How long reading the target took.',
} as const;

/**
 * Reads one target for `/probe?target=&engine=`: a configured or discovered one by name or address, or an address that
 * a pattern allows. `engine` is what the target is expected to be and never what it is asked as: a question that is
 * harmless to one engine makes another generate, and any web page can put an address of ours into an image.
 * @throws RequestError 400 for a question that cannot be understood or a target that is another engine, 403 for a
 * target that is not allowed.
 */
export function createProbe(
  parts: ProbeParts,
): (query: ProbeQuery, deadlineMilliseconds: number) => Promise<readonly MetricFamily[]> {
  const strangers = new Map<string, Read>();

  /** A book that holds nothing but this address, kept so that its engine is detected but once. */
  function strangerAt(url: string): Read {
    const stranger = strangers.get(url) ?? newStranger(url);
    strangers.delete(url);
    strangers.set(url, stranger);
    const [oldest] = strangers.keys();
    if (strangers.size > REMEMBERED_TARGETS && oldest !== undefined) strangers.delete(oldest);
    return stranger;
  }

  function newStranger(url: string): Read {
    const book = new TargetBook({
      configured: [{ server: url, endpoint: { url } }],
      createGet: parts.createGet,
      forgetAfterSeconds: 0,
      readTimeoutSeconds: parts.readTimeoutSeconds,
      now: parts.now,
    });
    return { book, collection: parts.collectionOf(book) };
  }

  return async (query, deadlineMilliseconds) => {
    const { target, engine } = readQuery(query);
    const known = knownTarget(parts.book, target);
    const server = known?.server ?? allowedUrl(target, parts.allow);
    const { book, collection } = known === undefined ? strangerAt(server) : parts;
    refuseOtherEngine(engine, book, server);
    const started = performance.now();
    const { families, up } = await collection.collectOne(server, deadlineMilliseconds);
    refuseOtherEngine(engine, book, server); // it may be known only now
    return [
      ...families,
      gauge('probe_success', up ? 1 : 0),
      gauge('probe_duration_seconds', (performance.now() - started) / 1000),
    ];
  };
}

/** @throws RequestError 400 where it is known what engine the target is, and that it is not the one that was said. */
function refuseOtherEngine(engine: EngineName | undefined, book: TargetBook, server: string): void {
  const actual = knownTarget(book, server)?.engine;
  if (engine === undefined || actual === undefined || !isEngineName(actual) || actual === engine) return;
  throw new RequestError(
    400,
    `This target is ${actual}, not ${engine}, and is read as what it is: leave engine away, or name it in LLM_EXPORTER_TARGETS with its engine in front if that is wrong.`,
  );
}

function readQuery(query: ProbeQuery): { target: string; engine: EngineName | undefined } {
  const target = single('target', query.target);
  if (target === undefined || target === '') {
    throw new RequestError(
      400,
      'Say which target: /probe?target=NAME, or /probe?target=http://host:port. /targets lists those there are.',
    );
  }
  const engine = single('engine', query.engine) ?? 'auto';
  if (engine === 'auto' || engine === '') return { target, engine: undefined };
  if (isEngineName(engine)) return { target, engine };
  throw new RequestError(
    400,
    `There is no such engine: engine is auto or one of ${ENGINE_NAMES.join(', ')}.`,
  );
}

function single(name: string, value: string | string[] | undefined): string | undefined {
  if (Array.isArray(value)) throw new RequestError(400, `Give ${name} once: a probe reads one target.`);
  return value?.trim();
}

function knownTarget(book: TargetBook, target: string): TargetReport | undefined {
  const server = book.collector(target)?.server ?? book.collector(probeUrl(target) ?? target)?.server;
  return book.report().targets.find((each) => each.server === server);
}

function allowedUrl(target: string, allow: readonly AllowPattern[]): string {
  const url = probeUrl(target);
  if (url === undefined) {
    throw new RequestError(
      400,
      'The target is neither the name of one nor an address such as http://host:port without credentials and query.',
    );
  }
  if (allow.some((pattern) => pattern.matches(url))) return url;
  throw new RequestError(
    403,
    'This target is neither configured nor discovered: name it in LLM_EXPORTER_TARGETS, or allow its address with a pattern in LLM_EXPORTER_PROBE_ALLOW.',
  );
}

function gauge(name: keyof typeof probeFamilies, value: number): MetricFamily {
  const unit = name.endsWith('_seconds') ? { unit: 'seconds' } : {};
  return { name, help: probeFamilies[name], type: 'gauge', ...unit, points: [{ labels: {}, value }] };
}
