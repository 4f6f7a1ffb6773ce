import type { EngineReading, LlmMetricName } from '@llm-monitor/engines';
import type { HistogramPoint } from '@llm-monitor/metrics-core';

import { histograms, scalars } from './points.ts';
import { StallMeter, type Stall } from './stall.ts';
import { TokenMeter } from './token-meter.ts';

/** The histograms that the page shows quantiles of. */
export const LATENCIES = [
  'llm_time_to_first_token_seconds',
  'llm_inter_token_latency_seconds',
  'llm_time_per_output_token_seconds',
] as const satisfies readonly LlmMetricName[];

export type LatencyMetric = (typeof LATENCIES)[number];

/** What one reading adds to the history of its server: all that only means something beside an earlier one. */
export interface Sample {
  /** Unix time in seconds. */
  readonly atSeconds: number;
  /** Tokens since the first reading, resets mended: growing only. Absent where the reading does not say. */
  readonly generatedTokens?: number;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  /** Requests in work, where it says. */
  readonly running?: number;
  /** It counts the tokens of a request that still runs beside its counter. */
  readonly tellsTokensInFlight: boolean;
  /** There is no reading before it, or that one is too long ago to tell how what happened since was spread over time. */
  readonly isAfterGap: boolean;
  readonly latencies: Readonly<Partial<Record<LatencyMetric, readonly HistogramPoint[]>>>;
}

/** What happened within one step of the chart. */
export interface Step {
  /** Unix time divided by the step's length. */
  readonly index: number;
  readonly generatedTokens: number;
  /** How much of the step was watched. */
  readonly watchedSeconds: number;
}

/** A server's past, as far as it is kept. */
export interface ServerHistory {
  /** The newest readings that came back, oldest first, reaching back a little over a minute. */
  readonly samples: readonly Sample[];
  /** Steps in which it was watched, oldest first, reaching back an hour. */
  readonly steps: readonly Step[];
  /** What it said of itself when it last answered. */
  readonly identity?: Identity;
  /** Requests in it at the newest reading, of which nothing comes. */
  readonly stall?: Stall | undefined;
}

export interface Identity {
  readonly models: readonly string[];
  readonly version?: string;
}

export const STEP_SECONDS = 5;
const KEPT_STEPS = 720;
/** A minute's window needs the reading before it, which is up to one slow interval older. */
const KEPT_SAMPLE_SECONDS = 80;
const MAX_SAMPLES = 200;
/** Readings of a usual pace that are late by half are close together still. */
const LATE_FACTOR = 1.5;
/** Longer without a reading than this, and what happened meanwhile is not put into the chart. */
const MAX_CHART_GAP_SECONDS = 60;

/** The past of all servers, in memory and bounded: readings for a minute, five-second steps for an hour. */
export class History {
  private readonly servers = new Map<string, Recorder>();
  private readonly longestSpanSeconds: number;

  /** `intervalSeconds`: between two readings while somebody looks. Readings further apart leave a gap. */
  constructor(intervalSeconds: number) {
    this.longestSpanSeconds = Math.max(STEP_SECONDS, LATE_FACTOR * intervalSeconds);
  }

  /** Takes one reading in. A failed one leaves a gap. */
  add(server: string, atSeconds: number, reading: EngineReading): void {
    if (!reading.up) return;
    const recorder = this.servers.get(server) ?? new Recorder(this.longestSpanSeconds);
    this.servers.set(server, recorder);
    recorder.add(atSeconds, reading);
  }

  of(server: string): ServerHistory {
    return this.servers.get(server) ?? NOTHING;
  }

  /** Forgets every server but these. */
  keepOnly(servers: ReadonlySet<string>): void {
    for (const server of this.servers.keys()) if (!servers.has(server)) this.servers.delete(server);
  }
}

const NOTHING: ServerHistory = { samples: [], steps: [] };

class Recorder implements ServerHistory {
  readonly samples: Sample[] = [];
  readonly steps: Step[] = [];
  private readonly generated = new TokenMeter();
  private readonly prompts = new TokenMeter();
  private readonly cached = new TokenMeter();
  private readonly stalls = new StallMeter();
  private readonly longestSpanSeconds: number;
  identity?: Identity;
  stall: Stall | undefined;

  constructor(longestSpanSeconds: number) {
    this.longestSpanSeconds = longestSpanSeconds;
  }

  add(atSeconds: number, reading: EngineReading): void {
    const before = this.samples.at(-1);
    // A clock set back would make every window negative: the past is of no use then.
    if (before !== undefined && atSeconds <= before.atSeconds) {
      this.samples.length = 0;
      this.steps.length = 0;
    }
    const sample = this.sampleOf(atSeconds, reading);
    this.identity = {
      models: reading.models,
      ...(reading.version === undefined ? {} : { version: reading.version }),
    };
    this.stall = this.stalls.read(atSeconds, reading);
    this.samples.push(sample);
    while (
      this.samples.length > MAX_SAMPLES ||
      (this.samples.length > 2 && (this.samples[1]?.atSeconds ?? atSeconds) < atSeconds - KEPT_SAMPLE_SECONDS)
    ) {
      this.samples.shift();
    }
    if (before !== undefined) this.chart(before, sample);
  }

  private sampleOf(atSeconds: number, reading: EngineReading): Sample {
    const inFlight = scalars(reading, 'llm_generation_tokens_in_flight');
    const generatedTokens = this.generated.read(scalars(reading, 'llm_generation_tokens_total'), inFlight);
    const running = scalars(reading, 'llm_requests_running');
    const before = this.samples.at(-1);
    const promptTokens = this.prompts.read(scalars(reading, 'llm_prompt_tokens_total'));
    const cachedTokens = this.cached.read(scalars(reading, 'llm_prompt_tokens_cached_total'));
    return {
      atSeconds,
      ...(generatedTokens === undefined ? {} : { generatedTokens }),
      ...(promptTokens === undefined ? {} : { promptTokens }),
      ...(cachedTokens === undefined ? {} : { cachedTokens }),
      ...(running.length === 0 ? {} : { running: running.reduce((sum, { value }) => sum + value, 0) }),
      tellsTokensInFlight: inFlight.length > 0,
      isAfterGap: before === undefined || atSeconds - before.atSeconds > this.longestSpanSeconds,
      latencies: Object.fromEntries(
        LATENCIES.flatMap((metric) => {
          const points = histograms(reading, metric);
          return points.length === 0 ? [] : [[metric, points]];
        }),
      ),
    };
  }

  /**
   * Spreads what was generated between two readings evenly over the steps between them. Over a gap it is not known when
   * it was generated, and nothing is drawn, unless it was nothing at all.
   */
  private chart(from: Sample, to: Sample): void {
    const seconds = to.atSeconds - from.atSeconds;
    if (from.generatedTokens === undefined || to.generatedTokens === undefined) return;
    if (seconds <= 0 || seconds > MAX_CHART_GAP_SECONDS) return;
    const tokens = to.generatedTokens - from.generatedTokens;
    if (to.isAfterGap && tokens > 0) return;
    const perSecond = tokens / seconds;
    for (let at = from.atSeconds; at < to.atSeconds;) {
      const index = Math.floor(at / STEP_SECONDS);
      const end = Math.min((index + 1) * STEP_SECONDS, to.atSeconds);
      const last = this.steps.at(-1);
      const step = last?.index === index ? this.steps.pop() : undefined;
      this.steps.push({
        index,
        generatedTokens: (step?.generatedTokens ?? 0) + perSecond * (end - at),
        watchedSeconds: (step?.watchedSeconds ?? 0) + end - at,
      });
      at = end;
    }
    this.steps.splice(0, this.steps.length - KEPT_STEPS);
  }
}
