import { renderExposition, type ExpositionFormat, type MetricFamily } from '@llm-monitor/metrics-core';

import type { GpuSnapshot, WatchedGpu } from './snapshot.ts';
import {
  gpuConditionFamilies,
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
  private readonly conditions = new PrintedOnce(gpuConditionFamilies, ({ reading }) => [
    reading.gpu,
    reading.uuid,
    reading.condition,
    reading.facts,
  ]);
  private readonly points = new PrintedOnce(gpuPointFamilies, ({ reading }) => [
    reading.gpu,
    reading.uuid,
    reading.points,
  ]);
  private readonly xids = new PrintedOnce(gpuXidFamilies, ({ reading, xids }) => [
    reading.gpu,
    reading.uuid,
    xids,
  ]);

  /** The text as UTF-8 in pieces, without the end that OpenMetrics wants: more is to follow. */
  print(snapshot: GpuSnapshot, options: GpuSnapshotOptions, format: ExpositionFormat): Uint8Array[] {
    const state = renderExposition(gpuStateFamilies(snapshot, options), format);
    return [
      this.conditions.print(snapshot.gpus, format),
      Buffer.from(withoutEnd(state)),
      this.xids.print(snapshot.gpus, format),
      this.points.print(snapshot.gpus, format),
    ];
  }
}

function withoutEnd(text: string): string {
  return text.endsWith(END) ? text.slice(0, -END.length) : text;
}

interface Printed {
  readonly from: readonly unknown[];
  readonly bytes: Uint8Array;
}

/** The printed families that are the same for as long as what they are made from is. */
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

  print(gpus: readonly WatchedGpu[], format: ExpositionFormat): Uint8Array {
    const from = gpus.flatMap(this.madeFrom);
    const before = this.printed.get(format);
    if (before?.from.length === from.length && from.every((part, index) => part === before.from[index])) {
      return before.bytes;
    }
    const bytes = Buffer.from(withoutEnd(renderExposition(this.familiesOf(gpus), format)));
    this.printed.set(format, { from, bytes });
    return bytes;
  }
}
