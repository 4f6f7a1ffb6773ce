import {
  renderExposition,
  renderPieces,
  type ExpositionFormat,
  type MetricFamily,
} from '@llm-monitor/metrics-core';

import type { GpuSnapshot, WatchedGpu } from './snapshot.ts';
import {
  gpuPointFamilies,
  gpuStateFamilies,
  gpuXidFamilies,
  type GpuSnapshotOptions,
} from './snapshot-families.ts';

const END = '# EOF\n';

/**
 * Prints snapshots. The figures of the drivers, most of the text, change with each reading and not with each scrape,
 * and the drivers' errors hardly ever: they are printed once for several scrapers, and not again while a driver hangs.
 */
export class GpuExposition {
  private readonly points = new PrintedOnce(gpuPointFamilies, ({ reading }) => [reading]);
  private readonly xids = new PrintedOnce(gpuXidFamilies, ({ reading, xids }) => [
    reading.gpu,
    reading.uuid,
    xids,
  ]);

  /** The text in pieces, without the end that OpenMetrics wants: more is to follow. */
  *print(snapshot: GpuSnapshot, options: GpuSnapshotOptions, format: ExpositionFormat): Generator<string> {
    for (const piece of renderPieces(gpuStateFamilies(snapshot, options), format)) {
      if (piece !== END) yield piece;
    }
    yield this.xids.print(snapshot.gpus, format);
    yield this.points.print(snapshot.gpus, format);
  }
}

interface Printed {
  readonly from: readonly unknown[];
  readonly text: string;
}

/** The text of families that are the same for as long as what they are made from is. */
class PrintedOnce {
  private readonly printed = new Map<ExpositionFormat, Printed>();

  private readonly familiesOf: (gpus: readonly WatchedGpu[]) => MetricFamily[];
  private readonly madeFrom: (gpu: WatchedGpu) => readonly unknown[];

  constructor(
    familiesOf: (gpus: readonly WatchedGpu[]) => MetricFamily[],
    madeFrom: (gpu: WatchedGpu) => readonly unknown[],
  ) {
    this.familiesOf = familiesOf;
    this.madeFrom = madeFrom;
  }

  print(gpus: readonly WatchedGpu[], format: ExpositionFormat): string {
    const from = gpus.flatMap(this.madeFrom);
    const before = this.printed.get(format);
    if (before?.from.length === from.length && from.every((part, index) => part === before.from[index])) {
      return before.text;
    }
    const text = renderExposition(this.familiesOf(gpus), format);
    const open = text.endsWith(END) ? text.slice(0, -END.length) : text;
    this.printed.set(format, { from, text: open });
    return open;
  }
}
