import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What a family of the HTTP side declares; docs/metrics.md is generated from the table below. */
export interface HttpFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit?: string;
  readonly help: string;
  readonly labels: readonly string[];
}

const REQUESTS = {
  name: 'llm_monitor_http_requests_total',
  type: 'counter',
  help: 'Requests to this process that ended, by route pattern, method and status; 499 is a client that left unanswered.',
  labels: ['path', 'method', 'status'],
} as const satisfies HttpFamily;

const DURATION = {
  name: 'llm_monitor_http_request_duration_seconds',
  type: 'histogram',
  unit: 'seconds',
  help: 'Time from the head of a request to the end of its answer, by route pattern.',
  labels: ['path'],
} as const satisfies HttpFamily;

const IN_FLIGHT = {
  name: 'llm_monitor_http_requests_in_flight',
  type: 'gauge',
  help: 'Requests to this process whose answer is not complete yet.',
  labels: [],
} as const satisfies HttpFamily;

/** Every metric family of the HTTP side. */
export const httpFamilies: readonly HttpFamily[] = [REQUESTS, DURATION, IN_FLIGHT];

/** From a millisecond (a health check) to the longest scrape timeout that Prometheus' defaults allow. */
const DURATION_BOUNDS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** One request that ended. */
export interface EndedRequest {
  /** The route's pattern, `other` for none: never the raw path, which has no bound. */
  readonly pattern: string;
  readonly method: string;
  readonly status: number;
  readonly durationSeconds: number;
}

export interface HttpMetrics {
  started(): void;
  ended(request: EndedRequest): void;
}

/** Registers the families of the table in `registry` and counts requests into them. */
export function createHttpMetrics(registry: Registry): HttpMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: REQUESTS.name,
    help: REQUESTS.help,
    labelNames: REQUESTS.labels,
    registers,
  });
  const duration = new Histogram({
    name: DURATION.name,
    help: DURATION.help,
    labelNames: DURATION.labels,
    buckets: DURATION_BOUNDS_SECONDS,
    registers,
  });
  const inFlight = new Gauge({ name: IN_FLIGHT.name, help: IN_FLIGHT.help, registers });
  return {
    started() {
      inFlight.inc();
    },
    ended({ pattern, method, status, durationSeconds }) {
      inFlight.dec();
      requests.inc({ path: pattern, method: METHODS.has(method) ? method : 'other', status: String(status) });
      duration.observe({ path: pattern }, durationSeconds);
    },
  };
}
