import type { TruthHistogram } from '../../engine/engine.ts';

export type PrintedLabels = Readonly<Record<string, string>>;

/** A family as an engine prints it: whatever it is called, however it is typed. */
export interface PrintedFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  /** Undefined where the engine gives none. */
  readonly help: string | undefined;
  readonly points: readonly PrintedPoint[];
}

export type PrintedPoint =
  | { readonly labels: PrintedLabels; readonly value: number }
  /** `scale` multiplies bounds and sum: the truth is in seconds. */
  | { readonly labels: PrintedLabels; readonly histogram: TruthHistogram; readonly scale?: number }
  | {
      readonly labels: PrintedLabels;
      readonly quantiles: Readonly<Record<string, number>>;
      readonly sum: number;
      readonly count: number;
    };

/** How a client library writes: numbers, order, blank lines. */
export interface Dialect {
  readonly number: (value: number) => string;
  /** Python's client sorts labels, `le` among them; others write them as given, and `le` last. */
  readonly sortsLabels: boolean;
  readonly histogramOrder: readonly ('bucket' | 'sum' | 'count')[];
  /** Rust's exporter leaves a blank line after each family. */
  readonly afterFamily: string;
  /** Unix time for the `_created` gauges that Python's client adds, where it adds them. */
  readonly createdSeconds?: number;
}

/** Prints families in the text format 0.0.4 as the given client library does. */
export function printExposition(families: readonly PrintedFamily[], dialect: Dialect): string {
  return families
    .flatMap((family) => [family, ...createdOf(family, dialect)])
    .map((family) => printFamily(family, dialect))
    .join('');
}

function printFamily({ name, type, help, points }: PrintedFamily, dialect: Dialect): string {
  const head = `${help === undefined ? '' : `# HELP ${name} ${help}\n`}# TYPE ${name} ${type}\n`;
  return head + points.map((point) => printPoint(name, point, dialect)).join('') + dialect.afterFamily;
}

function printPoint(name: string, point: PrintedPoint, dialect: Dialect): string {
  if ('value' in point) return sample(name, point.labels, point.value, dialect);
  if ('histogram' in point) return printHistogram(name, point, dialect);
  const quantiles = Object.entries(point.quantiles).map(([quantile, value]) =>
    sample(name, { ...point.labels, quantile }, value, dialect),
  );
  return [
    ...quantiles,
    sample(`${name}_sum`, point.labels, point.sum, dialect),
    sample(`${name}_count`, point.labels, point.count, dialect),
  ].join('');
}

/** Counts of the truth are those of each bucket alone; printed ones are summed up. */
function printHistogram(
  name: string,
  { labels, histogram, scale = 1 }: Extract<PrintedPoint, { histogram: unknown }>,
  dialect: Dialect,
): string {
  let below = 0;
  const buckets = histogram.bounds.map((bound, index) => {
    below += histogram.counts[index] ?? 0;
    const le = dialect.number(bound * scale);
    return sample(`${name}_bucket`, { ...labels, le }, below, dialect);
  });
  const parts = {
    bucket: [...buckets, sample(`${name}_bucket`, { ...labels, le: '+Inf' }, histogram.count, dialect)].join(
      '',
    ),
    sum: sample(`${name}_sum`, labels, histogram.sum * scale, dialect),
    count: sample(`${name}_count`, labels, histogram.count, dialect),
  };
  return dialect.histogramOrder.map((part) => parts[part]).join('');
}

function sample(name: string, labels: PrintedLabels, value: number, dialect: Dialect): string {
  const entries = Object.entries(labels);
  if (dialect.sortsLabels) entries.sort(([one], [other]) => (one < other ? -1 : 1));
  const inside = entries.map(([label, text]) => `${label}="${escaped(text)}"`).join(',');
  return `${name}${inside === '' ? '' : `{${inside}}`} ${dialect.number(value)}\n`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

/** Python's client says of each counter and histogram when it was made, as a gauge of its own. */
function createdOf(
  { name, type, help, points }: PrintedFamily,
  { createdSeconds }: Dialect,
): PrintedFamily[] {
  if (createdSeconds === undefined || points.length === 0) return [];
  if (type !== 'counter' && type !== 'histogram') return [];
  const base = type === 'counter' ? name.replace(/_total$/, '') : name;
  const created = points.map(({ labels }) => ({ labels, value: createdSeconds }));
  return [{ name: `${base}_created`, type: 'gauge', help, points: created }];
}

/** prometheus_client of one process: `floatToGoString`, buckets first. */
export function pythonDialect(createdSeconds?: number): Dialect {
  return {
    number: pythonNumber,
    sortsLabels: true,
    histogramOrder: ['bucket', 'count', 'sum'],
    afterFamily: '',
    ...(createdSeconds === undefined ? {} : { createdSeconds }),
  };
}

/** prometheus_client that gathers the files of several processes: sums first, nothing created. */
export const pythonMultiprocessDialect: Dialect = {
  ...pythonDialect(),
  histogramOrder: ['sum', 'bucket', 'count'],
};

/** metrics-exporter-prometheus of Rust. */
export const rustDialect: Dialect = {
  number: plainNumber,
  sortsLabels: false,
  histogramOrder: ['bucket', 'sum', 'count'],
  afterFamily: '\n',
};

/** prometheus-cpp, in Triton. */
export const cppDialect: Dialect = {
  number: plainNumber,
  sortsLabels: false,
  histogramOrder: ['count', 'sum', 'bucket'],
  afterFamily: '',
};

/** llama-server streams its values as C++ does by default: six significant digits. */
export const llamaDialect: Dialect = {
  number: sixDigits,
  sortsLabels: false,
  histogramOrder: ['bucket', 'sum', 'count'],
  afterFamily: '',
};

/**
 * A Python float in Go's clothes: `1.0`, `0.25`, `1.2345e+06`; an exponent below ten has one zero before it, and a
 * larger one as well: prometheus_client.utils.floatToGoString.
 */
export function pythonNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  const text = pythonRepr(value);
  const dot = text.indexOf('.');
  if (value <= 0 || dot <= 6) return text;
  const mantissa = `${text.slice(0, 1)}.${text.slice(1, dot)}${text.slice(dot + 1)}`.replace(/[0.]+$/, '');
  return `${mantissa}e+0${dot - 1}`;
}

/** Python's `repr` of a float: shortest digits, an exponent of two digits from 1e16 on and below 1e-4. */
function pythonRepr(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) {
    const [mantissa = '', exponent = '0'] = value.toExponential().split('e');
    const digits = Math.abs(Number(exponent)).toString().padStart(2, '0');
    return `${mantissa}e${exponent.startsWith('-') ? '-' : '+'}${digits}`;
  }
  const text = String(value);
  return text.includes('.') ? text : `${text}.0`;
}

/** Shortest digits, never an exponent. */
export function plainNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  const text = String(value);
  const [, sign = '', whole = '', part = '', places] = /^(-?)(\d)(?:\.(\d+))?e-(\d+)$/.exec(text) ?? [];
  return places === undefined ? text : `${sign}0.${'0'.repeat(Number(places) - 1)}${whole}${part}`;
}

/** `%g`: six significant digits, an exponent below 1e-4 and from a million on. */
export function sixDigits(value: number): string {
  if (value === 0) return '0';
  const [mantissa = '', exponent = '0'] = value.toExponential(5).split('e');
  const power = Number(exponent);
  if (power >= -4 && power < 6) return String(Number(value.toPrecision(6)));
  const digits = Math.abs(power).toString().padStart(2, '0');
  return `${String(Number(mantissa))}e${power < 0 ? '-' : '+'}${digits}`;
}
