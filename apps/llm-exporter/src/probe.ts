import {
  ENGINE_NAMES,
  isEngineName,
  TargetBook,
  type ConfiguredTarget,
  type Endpoint,
  type EngineCollection,
  type EngineName,
  type Get,
  type TargetReport,
} from '@llm-monitor/engines';
import { RequestError } from '@llm-monitor/exporter-http';
import type { MetricFamily } from '@llm-monitor/metrics-core';

import { probeUrl, type AllowPattern } from './probe-allow.ts';

/** What came of one probe. */
export interface Probed {
  readonly families: readonly MetricFamily[];
}

export interface ProbeQuery {
  readonly target: string | string[] | undefined;
  readonly engine: string | string[] | undefined;
}

export interface ProbeParts {
  readonly book: TargetBook;
  readonly collection: Pick<EngineCollection, 'collectOne'>;
  /** Addresses with their keys, for a configured target that is asked as another engine. */
  readonly configured: readonly ConfiguredTarget[];
  readonly allow: readonly AllowPattern[];
  readonly createGet: (endpoint: Endpoint) => Get;
  /** A collection over targets that are not in the book. */
  readonly collectionOf: (book: TargetBook) => Pick<EngineCollection, 'collectOne'>;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** Targets outside the book of which the engine is remembered between two probes. */
const REMEMBERED_TARGETS = 256;

/** The two families of blackbox_exporter that every multi-target exporter adds. */
const probeFamilies = {
  probe_success: 'Whether the target was reached and its answer understood (1) or not (0).',
  probe_duration_seconds: 'How long reading the target took.',
} as const;

/**
 * Reads one target for `/probe?target=&engine=`: a configured or discovered one by name or address, or an address that
 * a pattern allows.
 * @throws RequestError 400 for a question that cannot be understood, 403 for a target that is not allowed.
 */
export function createProbe(
  parts: ProbeParts,
): (query: ProbeQuery, deadlineMilliseconds: number) => Promise<readonly MetricFamily[]> {
  const strangers = new Map<string, Pick<EngineCollection, 'collectOne'>>();

  /** The collection that holds nothing but this target, so that its engine is detected but once. */
  function collectionFor(target: ConfiguredTarget): Pick<EngineCollection, 'collectOne'> {
    const key = `${target.engine ?? 'auto'} ${target.endpoint.url}`;
    const collection =
      strangers.get(key) ??
      parts.collectionOf(
        new TargetBook({
          configured: [target],
          createGet: parts.createGet,
          forgetAfterSeconds: 0,
          detectTimeoutSeconds: 0,
          now: parts.now,
        }),
      );
    strangers.delete(key);
    strangers.set(key, collection);
    const [oldest] = strangers.keys();
    if (strangers.size > REMEMBERED_TARGETS && oldest !== undefined) strangers.delete(oldest);
    return collection;
  }

  return async (query, deadlineMilliseconds) => {
    const { target, engine } = readQuery(query);
    const known = knownTarget(parts.book, target);
    const isAsKnown = known !== undefined && (engine === undefined || engine === known.engine);
    const server = known?.server ?? allowedUrl(target, parts.allow);
    const collection = isAsKnown
      ? parts.collection
      : collectionFor({
          server,
          endpoint: parts.configured.find((each) => each.server === known?.server)?.endpoint ?? {
            url: known?.url ?? server,
          },
          ...(engine === undefined ? {} : { engine }),
        });
    const started = performance.now();
    const { families, up } = await collection.collectOne(server, deadlineMilliseconds);
    return [
      ...families,
      gauge('probe_success', up ? 1 : 0),
      gauge('probe_duration_seconds', (performance.now() - started) / 1000),
    ];
  };
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
