import type { HistogramFamily, MetricFamily, ScalarPoint, SummaryPoint } from './families.ts';
import { lowerForPrinting, type LowerOptions, type PrintableFamily } from './lower-families.ts';
import type { ExpositionFormat } from './parse-exposition.ts';

/** The Content-Type of each format. */
export const contentTypes = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const satisfies Record<ExpositionFormat, string>;

/**
 * Writes families as an exposition that Prometheus accepts, whatever they hold: what the format cannot say is lowered
 * or left out as `lowerFamilies` tells.
 */
export function renderExposition(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  options: LowerOptions = {},
): string {
  // Added up piece by piece: V8 keeps a tree of them and copies each once, which beats joining arrays.
  let text = '';
  for (const piece of renderPieces(families, format, options)) text += piece;
  return text;
}

/** The same text, a family at a time: whoever sends the pieces on never holds the whole of a large answer as a string. */
export function* renderPieces(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  options: LowerOptions = {},
): Generator<string> {
  for (const family of lowerForPrinting(families, format, options).printable) {
    yield printHead(family, format) + printPoints(family, format);
  }
  if (format === 'openmetrics') yield '# EOF\n';
}

/** A number as both formats write it, and as `parseExposition` reads it back to the last bit. */
export function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  if (value === -Infinity) return '-Inf';
  return Object.is(value, -0) ? '-0' : `${value}`;
}

function printPoints({ family, labelTexts }: PrintableFamily, format: ExpositionFormat): string {
  switch (family.type) {
    case 'histogram':
    case 'gaugehistogram':
      return printHistograms(family, labelTexts, format);
    case 'summary':
      return family.points.reduce(
        (text, point, index) => text + printSummary(family.name, point, labelTexts[index] ?? '', format),
        '',
      );
    default:
      return family.points.reduce(
        (text, point, index) => text + printScalar(family.name, point, labelTexts[index] ?? '', format),
        '',
      );
  }
}

function printHead({ family, headName }: PrintableFamily, format: ExpositionFormat): string {
  const typeWord = format === 'text' && family.type === 'unknown' ? 'untyped' : family.type;
  const help = family.help === '' ? '' : `# HELP ${headName} ${escapeHelp(family.help, format)}\n`;
  const unit = family.unit === undefined ? '' : `# UNIT ${headName} ${family.unit}\n`;
  return `${help}# TYPE ${headName} ${typeWord}\n${unit}`;
}

function printScalar(name: string, point: ScalarPoint, labelText: string, format: ExpositionFormat): string {
  return `${name}${braced(labelText)} ${formatNumber(point.value)}${ending(point.timestampSeconds, format)}`;
}

/** All buckets, sums and counts of a family; the bounds, which nearly all of its points share, are spelled once. */
function printHistograms(
  { name, type, points }: HistogramFamily,
  labelTexts: readonly string[],
  format: ExpositionFormat,
): string {
  const totalsPrefix = type === 'gaugehistogram' ? `${name}_g` : `${name}_`;
  let bounds: readonly number[] | undefined;
  let spelled: string[] = [];
  let text = '';
  points.forEach((point, pointIndex) => {
    if (point.bounds !== bounds) {
      bounds = point.bounds;
      spelled = bounds.map((bound) => `${spellBound(bound, format)}"} `);
    }
    const labelText = labelTexts[pointIndex] ?? '';
    const start = `${name}_bucket{${labelText === '' ? '' : `${labelText},`}le="`;
    const end = ending(point.timestampSeconds, format);
    for (let index = 0; index < spelled.length; index++) {
      text += `${start}${spelled[index]}${formatNumber(point.counts[index] ?? 0)}${end}`;
    }
    text += printTotals(totalsPrefix, point, braced(labelText), end);
  });
  return text;
}

function printSummary(
  name: string,
  point: SummaryPoint,
  labelText: string,
  format: ExpositionFormat,
): string {
  const end = ending(point.timestampSeconds, format);
  const start = `${name}{${labelText === '' ? '' : `${labelText},`}quantile="`;
  const quantiles = point.quantiles.map(
    (quantile, index) =>
      `${start}${spellBound(quantile, format)}"} ${formatNumber(point.values[index] ?? NaN)}${end}`,
  );
  return quantiles.join('') + printTotals(`${name}_`, point, braced(labelText), end);
}

function printTotals(
  prefix: string,
  { sum, count }: { readonly sum?: number; readonly count?: number },
  labels: string,
  end: string,
): string {
  return (
    (sum === undefined ? '' : `${prefix}sum${labels} ${formatNumber(sum)}${end}`) +
    (count === undefined ? '' : `${prefix}count${labels} ${formatNumber(count)}${end}`)
  );
}

function braced(labelText: string): string {
  return labelText === '' ? '' : `{${labelText}}`;
}

/** The end of a sample line: milliseconds in Prometheus text, seconds in OpenMetrics. */
function ending(timestampSeconds: number | undefined, format: ExpositionFormat): string {
  if (timestampSeconds === undefined) return '\n';
  return format === 'text' ? ` ${Math.round(timestampSeconds * 1000)}\n` : ` ${timestampSeconds}\n`;
}

/** OpenMetrics asks for a float in `le` and `quantile`: `1.0`, where Prometheus text has `1`. */
function spellBound(bound: number, format: ExpositionFormat): string {
  const text = formatNumber(bound);
  return format === 'openmetrics' && /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function escapeHelp(help: string, format: ExpositionFormat): string {
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return format === 'openmetrics' ? escaped.replaceAll('"', '\\"') : escaped;
}
