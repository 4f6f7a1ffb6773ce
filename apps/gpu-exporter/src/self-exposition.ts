import {
  renderExposition,
  type Clock,
  type ExpositionFormat,
  type SelfMetrics,
} from '@llm-monitor/metrics-core';

/** Nobody watches an exporter's own memory more closely. */
const KEPT_SECONDS = 1;
const END = '# EOF\n';

interface Printed {
  readonly untilMonotonicSeconds: number;
  readonly bytes: Promise<Uint8Array>;
}

/**
 * What the exporter tells of itself. The figures of its process cost as much as those of eight GPUs do, so they are
 * printed once for all who ask within a second; those of its work are always of now, for they belong to the readings.
 */
export class SelfExposition {
  private readonly selfMetrics: Pick<SelfMetrics, 'processFamilies' | 'appFamilies'>;
  private readonly clock: Clock;
  private readonly printed = new Map<ExpositionFormat, Printed>();

  constructor(selfMetrics: Pick<SelfMetrics, 'processFamilies' | 'appFamilies'>, clock: Clock) {
    this.selfMetrics = selfMetrics;
    this.clock = clock;
  }

  /** The text as UTF-8 in pieces, with the end that OpenMetrics wants. */
  async print(format: ExpositionFormat): Promise<readonly Uint8Array[]> {
    const ofProcess = await this.printProcess(format);
    return [ofProcess, Buffer.from(renderExposition(await this.selfMetrics.appFamilies(), format))];
  }

  private printProcess(format: ExpositionFormat): Promise<Uint8Array> {
    const now = this.clock.monotonicSeconds();
    const before = this.printed.get(format);
    if (before !== undefined && now < before.untilMonotonicSeconds) return before.bytes;
    const bytes = this.renderProcess(format);
    this.printed.set(format, { untilMonotonicSeconds: now + KEPT_SECONDS, bytes });
    return bytes;
  }

  private async renderProcess(format: ExpositionFormat): Promise<Uint8Array> {
    const text = renderExposition(await this.selfMetrics.processFamilies(), format);
    return Buffer.from(text.endsWith(END) ? text.slice(0, -END.length) : text);
  }
}
