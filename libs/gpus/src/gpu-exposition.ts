import { renderExposition, renderPieces, type ExpositionFormat } from '@llm-monitor/metrics-core';

import type { GpuReading } from './reading.ts';
import type { GpuSnapshot } from './snapshot.ts';
import { gpuPointFamilies, gpuStateFamilies, type GpuSnapshotOptions } from './snapshot-families.ts';

const END = '# EOF\n';

interface Printed {
  readonly readings: readonly GpuReading[];
  readonly text: string;
}

/**
 * Prints snapshots. The figures of the drivers, most of the text, change with each reading and not with each scrape:
 * they are printed once for several scrapers, and not again while a driver hangs.
 */
export class GpuExposition {
  private readonly printed = new Map<ExpositionFormat, Printed>();

  /** The text in pieces, without the end that OpenMetrics wants: more is to follow. */
  *print(snapshot: GpuSnapshot, options: GpuSnapshotOptions, format: ExpositionFormat): Generator<string> {
    for (const piece of renderPieces(gpuStateFamilies(snapshot, options), format)) {
      if (piece !== END) yield piece;
    }
    yield this.points(snapshot, format);
  }

  private points({ gpus }: GpuSnapshot, format: ExpositionFormat): string {
    const before = this.printed.get(format);
    const isSame =
      before?.readings.length === gpus.length &&
      gpus.every(({ reading }, index) => reading === before.readings[index]);
    if (isSame) return before.text;
    const text = renderExposition(gpuPointFamilies(gpus), format);
    const open = text.endsWith(END) ? text.slice(0, -END.length) : text;
    this.printed.set(format, { readings: gpus.map(({ reading }) => reading), text: open });
    return open;
  }
}
