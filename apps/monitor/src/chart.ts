import { unknownFigure, type Figure } from './figure.ts';
import { STEP_SECONDS } from './history.ts';

export interface ChartView {
  /** One value for each step, oldest first; null where nothing was measured. */
  readonly points: readonly (number | null)[];
  readonly stepSeconds: number;
  readonly peak: Figure;
  /** The whole of it in one sentence. */
  readonly summary: string;
}

export interface ChartStep {
  /** Unix time divided by the step's length. */
  readonly index: number;
  readonly value: number;
}

/** How a chart speaks of what it shows. */
export interface ChartWords {
  readonly title: string;
  readonly figure: (value: number) => Figure;
  /** Nobody sees finer differences, and the page is sent every few seconds. */
  readonly resolution: number;
}

const CHART_SECONDS = 600;

/** The last 10 minutes of `steps` before `nowSeconds` (Unix time). Pure. */
export function chartOf(
  steps: readonly ChartStep[],
  nowSeconds: number,
  { title, figure, resolution }: ChartWords,
): ChartView {
  // The step under way is left out: it would dip at every refresh.
  const end = Math.floor(nowSeconds / STEP_SECONDS);
  const count = CHART_SECONDS / STEP_SECONDS;
  const byIndex = new Map(steps.map((step) => [step.index, step]));
  const points = Array.from({ length: count }, (_, position) => {
    const step = byIndex.get(end - count + position);
    return step === undefined ? null : Math.round(step.value * resolution) / resolution;
  });
  const known = points.filter((point) => point !== null);
  const peak = known.length === 0 ? unknownFigure('nothing recorded yet') : figure(Math.max(...known));
  return { points, stepSeconds: STEP_SECONDS, peak, summary: `${title}${summaryOf(peak)}` };
}

function summaryOf({ value, text, unit }: Figure): string {
  if (value === undefined) return ': nothing recorded yet.';
  if (value === 0) return ': none in the last 10 minutes.';
  return ` over the last 10 minutes, at most ${text}${unit === '%' ? ' %' : ''}.`;
}
