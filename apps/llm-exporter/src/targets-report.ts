import {
  adapterOf,
  ENGINE_NAMES,
  UNAVAILABLE_REASONS,
  type BookReport,
  type EngineReading,
  type TargetReport,
} from '@llm-monitor/engines';

/** What `/targets` says of one target. Times are ISO 8601. */
export interface TargetView {
  readonly server: string;
  readonly url: string;
  readonly engine: string;
  readonly origin: 'configured' | 'discovered';
  readonly why: string;
  readonly since: string;
  readonly lastSuccess?: string;
  readonly lastError?: { readonly reason: string; readonly message: string; readonly at: string };
  /** Absent until it was read for the first time. */
  readonly up?: boolean;
  readonly state?: string;
  readonly version?: string;
  readonly models: readonly string[];
  /** Where each metric comes from: printed by the engine (native), computed (derived) or read from its API (api). */
  readonly sources: Readonly<Record<string, string>>;
  /** Native names that this version should give and did not. */
  readonly missing: readonly string[];
  /** Core metrics that are not to be had, and why. */
  readonly unavailable: readonly UnavailableMetric[];
  /** What was wrong with its answers without making them useless. */
  readonly issues: readonly { readonly kind: string; readonly count: number; readonly example: string }[];
}

export interface UnavailableMetric {
  readonly metric: string;
  readonly reason: string;
  readonly meaning: string;
}

/** What `/targets` answers. */
export interface TargetsView {
  readonly targets: readonly TargetView[];
  /** Sockets of this host that were asked once and are no engine; they are left alone now. */
  readonly strangers: readonly { readonly url: string; readonly why: string }[];
  /** Sockets that look like an engine's and were not asked. */
  readonly passedOver: readonly { readonly address: string; readonly port: number; readonly why: string }[];
  readonly discovery: {
    readonly enabled: boolean;
    readonly lastPass?: string;
    readonly looksFor: readonly EngineTraits[];
  };
}

/** By what discovery takes a process or a socket for an engine's. */
export interface EngineTraits {
  readonly engine: string;
  readonly title: string;
  readonly programs: readonly string[];
  readonly ports: readonly number[];
}

/** The book's report as people and programs read it. */
export function targetsView(report: BookReport): TargetsView {
  return {
    targets: report.targets.map(targetView),
    strangers: report.strangers,
    passedOver: report.passedOver,
    discovery: {
      enabled: report.discovery,
      ...(report.lastDiscoverySeconds === undefined ? {} : { lastPass: iso(report.lastDiscoverySeconds) }),
      looksFor: engineTraits(),
    },
  };
}

/** What discovery looks for, engine by engine. */
function engineTraits(): EngineTraits[] {
  return ENGINE_NAMES.map((engine) => {
    const { title, programs, ports } = adapterOf(engine);
    return { engine, title, programs, ports };
  });
}

function targetView(target: TargetReport): TargetView {
  const { reading, lastError, lastSuccessSeconds } = target;
  return {
    server: target.server,
    url: target.url,
    engine: target.engine,
    origin: target.origin,
    why: target.why,
    since: iso(target.sinceSeconds),
    ...(lastSuccessSeconds === undefined ? {} : { lastSuccess: iso(lastSuccessSeconds) }),
    ...(lastError === undefined
      ? {}
      : {
          lastError: {
            reason: lastError.reason,
            message: lastError.message,
            at: iso(lastError.atSeconds),
          },
        }),
    ...(reading === undefined ? {} : { up: reading.up, state: reading.state }),
    ...(reading?.version === undefined ? {} : { version: reading.version }),
    models: reading?.models ?? [],
    sources: { ...reading?.sources },
    missing: reading?.missing ?? [],
    unavailable: reading === undefined ? [] : unavailableMetrics(reading),
    issues: reading?.issues ?? [],
  };
}

/** The series of `llm_metric_unavailable_info` in a reading. */
function unavailableMetrics({ families }: EngineReading): UnavailableMetric[] {
  const family = families.find(({ name }) => name === 'llm_metric_unavailable_info');
  return (family?.points ?? []).map(({ labels }) => {
    const reason = labels['reason'] ?? '';
    const known = Object.entries(UNAVAILABLE_REASONS).find(([name]) => name === reason);
    return { metric: labels['metric'] ?? '', reason, meaning: known?.[1] ?? '' };
  });
}

function iso(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toISOString();
}
