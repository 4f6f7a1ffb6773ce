import { readBucketRun, type BucketRun } from './bucket-run.ts';
import {
  finishFamily,
  histogramDraft,
  isNewSeries,
  newBuilder,
  summaryDraft,
  type FamilyBuilder,
  type HistogramDraft,
  type Route,
  type TextLine,
  type TypedBuilder,
  type UntypedBuilder,
} from './family-builders.ts';
import type { Labels, MetricFamily, MetricType } from './families.ts';
import { LabelSections, readQuoted, skipBlanks, unescape, type LabelFault } from './label-section.ts';
import { NO_LABELS, labelValue, withoutLabel } from './labels.ts';
import { IssueLog, type ParseIssue, type ParseIssueKind } from './parse-issues.ts';
import { readNumber, spellsNaN } from './read-number.ts';

/** Prometheus text 0.0.4, or OpenMetrics 1.0. */
export type ExpositionFormat = 'text' | 'openmetrics';

export interface ParseOptions {
  /** Told by the content type, else by a closing `# EOF`, when it is not given. */
  readonly format?: ExpositionFormat;
  /** The answer's Content-Type header. */
  readonly contentType?: string | undefined;
  /** Samples beyond this number are dropped and counted; each bucket is one, as it is to Prometheus. */
  readonly maxSeries?: number;
  /** Lines of families beyond this number are dropped and counted; 20,000 unless told otherwise. */
  readonly maxFamilies?: number;
}

export interface ParsedExposition {
  /** In the order of their first line; those without TYPE come last. */
  readonly families: MetricFamily[];
  /** What was wrong with the text, an entry a kind; `parseIssueKinds` says what each means. */
  readonly issues: ParseIssue[];
  readonly format: ExpositionFormat;
}

const DEFAULT_MAX_SERIES = 500_000;
/** A hundred times what the richest engine declares; each costs some microseconds and a kilobyte. */
const DEFAULT_MAX_FAMILIES = 20_000;

/**
 * Reads an exposition in either format, whatever its state: what can be read is in `families`, what cannot is counted
 * in `issues`. Never throws. Timestamps become seconds; exemplars and `_created` series are left out.
 */
export function parseExposition(text: string, options: ParseOptions = {}): ParsedExposition {
  return new ExpositionReader(text, options).read();
}

const HASH = 35;
const CARRIAGE_RETURN = 13;
const SPACE = 32;
const TAB = 9;
const DOT = 46;
const LESS_THAN = 60;
const OPEN_BRACKET = 91;
const OPEN_BRACE = 123;
const BYTE_ORDER_MARK = 0xfeff;

const TYPE_WORDS: ReadonlyMap<string, MetricType> = new Map<string, MetricType>([
  ['counter', 'counter'],
  ['gauge', 'gauge'],
  ['histogram', 'histogram'],
  ['gaugehistogram', 'gaugehistogram'],
  ['summary', 'summary'],
  ['info', 'info'],
  ['stateset', 'stateset'],
  ['unknown', 'unknown'],
  ['untyped', 'unknown'],
]);

interface OpenRun extends BucketRun {
  readonly draft: HistogramDraft;
}

/** One family of each kind, each label once new and once known. */
const EXAMPLE = `# HELP c_total C.
# TYPE c_total counter
c_total{a="b"} 1
c_total{a="c"} 1 1
# TYPE c_created gauge
c_created{a="b"} 1
# TYPE h histogram
h_bucket{a="b",le="1.0"} 1.5
h_bucket{a="b",le="+Inf"} 2
h_count{a="b"} 2
h_sum{a="b"} 2.5
# TYPE s summary
s{quantile="0.5"} 1
s_count 1
s_sum 1
u 1
`;

class ExpositionReader {
  /**
   * When the last object of a shape is collected, V8 throws away the code that was optimized for the shape: after each
   * full collection between two scrapes parsing would be some ten times slower. So one reader, with one of each kind
   * that it makes, lives as long as the module.
   */
  static readonly kept = ExpositionReader.readExample();

  private readonly text: string;
  private readonly format: ExpositionFormat;
  private readonly maxSeries: number;
  private readonly maxFamilies: number;
  private readonly issues = new IssueLog();
  private readonly sections: LabelSections;
  private readonly routes = new Map<string, Route>();
  private readonly families: TypedBuilder[] = [];
  private readonly declared = new Map<string, TypedBuilder>();
  private readonly untyped = new Map<string, UntypedBuilder>();
  private readonly helps = new Map<string, string>();
  private readonly units = new Map<string, string>();
  private samples = 0;
  private current: FamilyBuilder | undefined;
  private run: OpenRun | undefined;
  private ended = false;
  private brace = -1;
  private lineNumber = 0;
  private lineStart = 0;
  private lineEnd = 0;

  constructor(text: string, options: ParseOptions) {
    this.text = text;
    this.format = options.format ?? detectFormat(text, options.contentType);
    this.maxSeries = options.maxSeries ?? DEFAULT_MAX_SERIES;
    this.maxFamilies = options.maxFamilies ?? DEFAULT_MAX_FAMILIES;
    this.sections = new LabelSections(text);
  }

  private static readExample(): unknown {
    const reader = new ExpositionReader(EXAMPLE, {});
    return [reader, reader.read()];
  }

  read(): ParsedExposition {
    const { text, format } = this;
    const isMarkup = startsLikeMarkup(text);
    if (!isMarkup) this.readLines();
    this.resolveUntyped();
    const families = this.finishFamilies();
    if (isMarkup || (families.length === 0 && this.sawGarbage())) {
      const issues = new IssueLog();
      issues.add('not_exposition', 1, text);
      return { families: [], issues: issues.list(), format };
    }
    if (format === 'openmetrics' && !this.ended) this.complain('eof_missing');
    return { families, issues: this.issues.list(), format };
  }

  private readLines(): void {
    const { text } = this;
    let start = 0;
    if (text.charCodeAt(0) === BYTE_ORDER_MARK) {
      this.issues.add('byte_order_mark', 1, '');
      start = 1;
    }
    while (start < text.length) {
      const newline = text.indexOf('\n', start);
      const end = newline < 0 ? text.length : newline;
      this.lineNumber++;
      this.lineStart = start;
      this.lineEnd = end;
      if (text.charCodeAt(end - 1) === CARRIAGE_RETURN && end > start) {
        this.complain('carriage_return');
        this.lineEnd--;
      }
      if (this.ended) {
        if (skipBlanks(text, start, this.lineEnd) < this.lineEnd) this.complain('content_after_eof');
      } else {
        this.readLine();
      }
      if (newline < 0) this.complain('final_newline_missing');
      start = this.run === undefined ? end + 1 : this.goOn(this.run, end + 1);
    }
  }

  private readLine(): void {
    const { text, lineEnd } = this;
    this.run = undefined;
    const start = skipBlanks(text, this.lineStart, lineEnd);
    if (start === lineEnd) return;
    const first = text.charCodeAt(start);
    if (first === HASH) this.readComment(start + 1);
    else if (first === OPEN_BRACE) this.readQuotedSample(start, '');
    else if (first === DOT && text.startsWith('...', start)) this.complain('ellipsis');
    else this.readSample(start);
  }

  /** The fast way: most lines of a real exposition are the next buckets of the histogram of the line before. */
  private goOn({ prefix, suffix, draft: { bounds, counts } }: OpenRun, start: number): number {
    const before = counts.length;
    const room = this.maxSeries - this.samples;
    const next = readBucketRun(this.text, start, prefix, suffix, bounds, counts, room);
    this.samples += counts.length - before;
    this.lineNumber += counts.length - before;
    return next;
  }

  private readSample(start: number): void {
    const { text, lineEnd } = this;
    let nameEnd = this.nextBrace(start);
    let name = nameEnd < lineEnd ? text.slice(start, nameEnd) : '';
    let route = this.routes.get(name);
    if (route === undefined) {
      nameEnd = endOfName(text, start, lineEnd);
      if (nameEnd === start) return this.refuse('malformed_line');
      name = text.slice(start, nameEnd);
      route = this.routes.get(name);
    }
    if (route?.part === 'ignored') return this.complain('created_ignored');
    // Before anything is made of the line: what is dropped must cost little.
    if (this.samples >= this.maxSeries) return this.refuse('too_many_series');
    if (route === undefined && this.isFull()) return this.refuse('too_many_families');
    const open = skipBlanks(text, nameEnd, lineEnd);
    if (open === lineEnd || text.charCodeAt(open) !== OPEN_BRACE) {
      return void this.readValue(name, route, NO_LABELS, NaN, open);
    }
    const { sections } = this;
    const recalled = route === undefined || route.aside === '' ? sections.recall(open, lineEnd) : undefined;
    if (recalled !== undefined) return void this.readValue(name, route, recalled, NaN, sections.end);
    if (!sections.scan(open, lineEnd, route?.aside ?? '')) return this.readQuotedSample(open, name);
    const labels = sections.labels();
    if (typeof labels === 'string') return this.refuse(labels);
    const { asideStart, asideEnd } = sections;
    const aside = asideStart < 0 ? NaN : readNumber(text, asideStart, asideEnd);
    const valueStart = skipBlanks(text, sections.end, lineEnd);
    const stored = this.readValue(name, route, labels, aside, valueStart);
    if (stored && route?.part === 'bucket') {
      this.run = {
        prefix: text.slice(this.lineStart, asideStart),
        suffix: text.slice(asideEnd, valueStart),
        draft: histogramDraft(route.family, labels),
      };
    }
  }

  /** The first opening brace from `start` on: in front of it stands, nearly always, a name that has a route. */
  private nextBrace(start: number): number {
    if (this.brace < start) {
      const brace = this.text.indexOf('{', start);
      this.brace = brace < 0 ? Infinity : brace;
    }
    return this.brace;
  }

  /** A sample with quoted names in its label section, the metric's own perhaps among them (Prometheus 3, UTF-8). */
  private readQuotedSample(open: number, bareName: string): void {
    if (this.samples >= this.maxSeries) return this.refuse('too_many_series');
    const section = this.text.slice(open + 1, this.lineEnd);
    const pairs = this.sections.parseQuoted(section);
    if (typeof pairs === 'string') return this.refuse(pairs);
    const name = bareName === '' ? (pairs.metricName ?? '') : bareName;
    const isNamedTwice = bareName !== '' && pairs.metricName !== undefined;
    if (name === '' || isNamedTwice) return this.refuse('malformed_line');
    const route = this.routes.get(name);
    if (route?.part === 'ignored') return this.complain('created_ignored');
    const { labels, aside } = this.setAside(pairs.labels, route);
    this.readValue(name, route, labels, aside, open + 1 + pairs.end + 1);
  }

  /** Reads what follows the labels, and stores the sample; whether it was stored. */
  private readValue(
    name: string,
    route: Route | undefined,
    labels: Labels,
    aside: number,
    start: number,
  ): boolean {
    const { text, lineEnd } = this;
    const valueStart = skipBlanks(text, start, lineEnd);
    const valueEnd = endOfToken(text, valueStart, lineEnd);
    if (valueStart === valueEnd) return this.refused('malformed_line');
    const value = readNumber(text, valueStart, valueEnd);
    if (Number.isNaN(value)) {
      if (!spellsNaN(text, valueStart, valueEnd)) return this.refused('value_invalid');
      if (valueEnd - valueStart > 'NaN'.length) this.complain('nan_spelled');
    }
    let timestampSeconds: number | undefined;
    let rest = skipBlanks(text, valueEnd, lineEnd);
    if (rest < lineEnd && text.charCodeAt(rest) !== HASH) {
      const timestampEnd = endOfToken(text, rest, lineEnd);
      const timestamp = readNumber(text, rest, timestampEnd);
      if (!Number.isFinite(timestamp)) return this.refused('malformed_line');
      timestampSeconds = this.format === 'text' ? timestamp / 1000 : timestamp;
      rest = skipBlanks(text, timestampEnd, lineEnd);
    }
    if (rest < lineEnd) {
      if (text.charCodeAt(rest) !== HASH) return this.refused('malformed_line');
      this.complain('exemplar_ignored');
    }
    if (route === undefined && this.isFull()) return this.refused('too_many_families');
    this.samples++;
    const destination = route ?? this.routeOfUnknown(name);
    this.enter(destination.family);
    return this.store(destination, labels, aside, value, timestampSeconds);
  }

  private store(
    route: Route,
    labels: Labels,
    aside: number,
    value: number,
    timestampSeconds: number | undefined,
  ): boolean {
    switch (route.part) {
      case 'value': {
        const { points } = route.family;
        if (!isNewSeries(route.family, labels)) return this.refused('duplicate_series');
        points.push(timestampSeconds === undefined ? { labels, value } : { labels, value, timestampSeconds });
        return true;
      }
      case 'bucket': {
        if (Number.isNaN(aside)) return this.refused('bound_invalid');
        if (Number.isNaN(value)) return this.refused('value_invalid');
        const draft = histogramDraft(route.family, labels);
        draft.timestampSeconds ??= timestampSeconds;
        draft.bounds.push(aside);
        draft.counts.push(value);
        return true;
      }
      case 'quantile': {
        if (!(aside >= 0 && aside <= 1)) return this.refused('bound_invalid');
        const draft = summaryDraft(route.family, labels);
        draft.timestampSeconds ??= timestampSeconds;
        draft.quantiles.push(aside);
        draft.values.push(value);
        return true;
      }
      case 'sum':
      case 'count': {
        if (route.part === 'count' && Number.isNaN(value)) return this.refused('value_invalid');
        const draft =
          route.family.type === 'summary'
            ? summaryDraft(route.family, labels)
            : histogramDraft(route.family, labels);
        if (draft[route.part] !== undefined) return this.refused('duplicate_series');
        draft[route.part] = value;
        draft.timestampSeconds ??= timestampSeconds;
        return true;
      }
      case 'untyped':
        route.family.samples.push({ labels, value, timestampSeconds });
        return true;
      case 'ignored':
        return this.refused('created_ignored');
      case 'misplaced':
        return this.refused('sample_misplaced');
    }
  }

  private enter(family: FamilyBuilder): void {
    if (family === this.current) return;
    if (this.current !== undefined) this.current.left = true;
    if (family.left) this.complain('samples_scattered');
    this.current = family;
  }

  private readComment(start: number): void {
    const { text, lineEnd } = this;
    const keyword = skipBlanks(text, start, lineEnd);
    if (keyword === start) return;
    const keywordEnd = endOfToken(text, keyword, lineEnd);
    if (keywordEnd - keyword === 3 && text.startsWith('EOF', keyword)) {
      this.ended = this.format === 'openmetrics' && skipBlanks(text, keywordEnd, lineEnd) === lineEnd;
      return;
    }
    if (keywordEnd - keyword !== 4) return;
    const word = text.slice(keyword, keywordEnd);
    if (word !== 'HELP' && word !== 'TYPE' && word !== 'UNIT') return;
    const subject = this.readSubject(skipBlanks(text, keywordEnd, lineEnd));
    if (subject === undefined) return this.refuse('malformed_comment');
    const { name, rest } = subject;
    if (word === 'HELP') this.readHelp(name, rest);
    else if (word === 'TYPE') this.readType(name, rest);
    else if (rest < lineEnd) this.readUnit(name, rest);
  }

  private readSubject(start: number): { name: string; rest: number } | undefined {
    const { text, lineEnd } = this;
    let name: string;
    let end: number;
    if (text[start] === '"') {
      const quoted = readQuoted(text.slice(start, lineEnd), 0);
      if (quoted === undefined || quoted.value === '') return undefined;
      name = quoted.value;
      end = start + quoted.end;
    } else {
      end = endOfName(text, start, lineEnd);
      name = text.slice(start, end);
    }
    const rest = skipBlanks(text, end, lineEnd);
    if (end === start || (rest === end && end < lineEnd)) return undefined;
    return { name, rest };
  }

  private readHelp(name: string, start: number): void {
    if (this.helps.has(name)) return this.complain('help_repeated');
    const family = this.declared.get(name) ?? this.untyped.get(name);
    if (family !== undefined && hasSamples(family)) this.complain('help_late');
    if (this.helps.size >= this.maxFamilies) return this.refuse('too_many_families');
    this.helps.set(this.sections.copy(name), unescape(this.restOfLine(start)));
  }

  private readUnit(name: string, start: number): void {
    if (this.units.size >= this.maxFamilies) return this.refuse('too_many_families');
    this.units.set(this.sections.copy(name), this.restOfLine(start).trim());
  }

  private readType(name: string, start: number): void {
    const word = this.text.slice(start, endOfToken(this.text, start, this.lineEnd));
    if (word === '') return this.refuse('malformed_comment');
    const type = TYPE_WORDS.get(word) ?? TYPE_WORDS.get(word.toLowerCase());
    if (type === undefined) this.complain('type_unknown');
    const known = this.declared.get(name);
    if (known !== undefined) {
      return this.complain(known.type === (type ?? 'unknown') ? 'type_repeated' : 'type_conflict');
    }
    if (!this.untyped.has(name) && this.isFull()) return this.refuse('too_many_families');
    const copy = this.sections.copy(name);
    if (this.declareFamily(copy, type ?? 'unknown', this.currentLine())) this.complain('type_late');
  }

  private isFull(): boolean {
    return this.families.length + this.untyped.size >= this.maxFamilies;
  }

  private restOfLine(start: number): string {
    return this.sections.copy(this.text.slice(start, this.lineEnd));
  }

  /** Opens a family; whether samples of it had come before. */
  private declareFamily(declaredName: string, type: MetricType, line: TextLine): boolean {
    const name = this.format === 'openmetrics' ? storedName(declaredName, type) : declaredName;
    const existing = this.routes.get(declaredName);
    if (existing?.part === 'ignored' && (type === 'gauge' || type === 'unknown')) return false;
    const family = newBuilder(type, name, declaredName, line);
    this.declared.set(declaredName, family);
    this.families.push(family);
    return routesOf(family).reduce((late, [sample, route]) => this.addRoute(sample, route) || late, false);
  }

  /** Sends samples of a name to a family; whether samples had come before. A family's own name wins over a suffix. */
  private addRoute(sampleName: string, route: Route): boolean {
    const existing = this.routes.get(sampleName);
    if (existing?.part === 'untyped') {
      this.routes.set(sampleName, route);
      this.untyped.delete(sampleName);
      this.replay(existing.family, route);
      return true;
    }
    if (existing === undefined || (route.own && !existing.own)) {
      this.routes.set(sampleName, route);
    } else if (route.part === 'ignored' && existing.part === 'value' && isCreatedLike(existing.family.type)) {
      // The python client types `x_created` as a gauge of its own; here it came ahead of x.
      existing.family.ignored = true;
      this.routes.set(sampleName, route);
      existing.family.points.forEach(() => this.complain('created_ignored'));
    }
    return false;
  }

  private replay(untyped: UntypedBuilder, route: Route): void {
    const { lineNumber, lineStart, lineEnd } = this;
    this.lineNumber = untyped.first.number;
    this.lineStart = untyped.first.start;
    this.lineEnd = untyped.first.end;
    for (const sample of untyped.samples) {
      const { labels, aside } = this.setAside(sample.labels, route);
      this.store(route, labels, aside, sample.value, sample.timestampSeconds);
    }
    this.lineNumber = lineNumber;
    this.lineStart = lineStart;
    this.lineEnd = lineEnd;
  }

  private setAside(labels: Labels, route: Route | undefined): { labels: Labels; aside: number } {
    const text = route === undefined || route.aside === '' ? undefined : labelValue(labels, route.aside);
    if (route === undefined || text === undefined) return { labels, aside: NaN };
    return {
      labels: this.sections.intern(withoutLabel(labels, route.aside)),
      aside: readNumber(text, 0, text.length),
    };
  }

  private routeOfUnknown(name: string): Route {
    const copy = this.sections.copy(name);
    const line = this.currentLine();
    const counter = this.declared.get(copy);
    if (counter !== undefined && (counter.type === 'counter' || counter.type === 'info')) {
      // OpenMetrics whose samples lack the suffix that the format asks for: the name is what the source wrote.
      if (counter.points.length === 0) counter.ignored = true;
      const family = newBuilder(counter.type, copy, copy, line);
      this.families.push(family);
      const route = routesOf(family)[0]?.[1];
      if (route !== undefined) {
        this.routes.set(copy, route);
        return route;
      }
    }
    const family: UntypedBuilder = {
      type: 'untyped',
      name: copy,
      declaredName: copy,
      first: line,
      left: false,
      ignored: false,
      samples: [],
    };
    const route: Route = { part: 'untyped', family, aside: '', own: false };
    this.untyped.set(copy, family);
    this.routes.set(copy, route);
    return route;
  }

  /** Tells the type of what no TYPE line spoke of by the pattern of its names and labels. */
  private resolveUntyped(): void {
    const infer = (untyped: UntypedBuilder, name: string, type: MetricType): void => {
      this.issues.add('type_missing', untyped.first.number, name);
      if (!this.declared.has(name)) this.declareFamily(name, type, untyped.first);
    };
    for (const [name, family] of [...this.untyped]) {
      if (name.endsWith('_bucket') && hasLabel(family, 'le')) {
        infer(family, name.slice(0, -'_bucket'.length), 'histogram');
      } else if (hasLabel(family, 'quantile')) {
        infer(family, name, 'summary');
      }
    }
    for (const [name, family] of [...this.untyped]) {
      if (!this.untyped.has(name)) continue; // It was the sum or count of one above.
      infer(family, name, name.endsWith('_total') ? 'counter' : 'unknown');
    }
  }

  private finishFamilies(): MetricFamily[] {
    return this.families
      .filter((family) => !family.ignored)
      .map((family) => {
        const { declaredName, name, first } = family;
        const help = this.helps.get(declaredName) ?? this.helps.get(name) ?? '';
        const unit = this.units.get(declaredName) ?? this.units.get(name);
        return finishFamily(family, help, unit, (kind) => this.issues.add(kind, first.number, name));
      });
  }

  private sawGarbage(): boolean {
    const { issues } = this;
    const kinds = ['malformed_line', 'malformed_comment', 'value_invalid', 'cut_last_line'] as const;
    return kinds.some((kind) => issues.countOf(kind) > 0);
  }

  private currentLine(): TextLine {
    return { number: this.lineNumber, start: this.lineStart, end: this.lineEnd };
  }

  private complain(kind: ParseIssueKind): void {
    this.issues.add(kind, this.lineNumber, this.text, this.lineStart, this.lineEnd);
  }

  private refuse(kind: ParseIssueKind | LabelFault): void {
    const isSyntax = kind === 'malformed_line' || kind === 'malformed_comment' || kind === 'value_invalid';
    this.complain(isSyntax && this.lineEnd === this.text.length ? 'cut_last_line' : kind);
  }

  private refused(kind: ParseIssueKind): false {
    this.refuse(kind);
    return false;
  }
}

function detectFormat(text: string, contentType: string | undefined): ExpositionFormat {
  if (contentType?.toLowerCase().includes('application/openmetrics-text') === true) return 'openmetrics';
  return /(^|\n)# EOF\s*$/.test(text.slice(-16)) ? 'openmetrics' : 'text';
}

/** HTML and JSON arrays, within which a line might by chance read as a sample. */
function startsLikeMarkup(text: string): boolean {
  let position = 0;
  while (position < text.length && /\s/.test(text.charAt(position))) position++;
  const first = text.charCodeAt(position);
  return first === LESS_THAN || first === OPEN_BRACKET;
}

/** The name under which Prometheus stores the samples of an OpenMetrics family. */
function storedName(declaredName: string, type: MetricType): string {
  const suffix = type === 'counter' ? '_total' : type === 'info' ? '_info' : '';
  return declaredName.endsWith(suffix) ? declaredName : `${declaredName}${suffix}`;
}

function routesOf(family: TypedBuilder): [sampleName: string, route: Route][] {
  const { name } = family;
  const created = (base: string): [string, Route] => [
    `${base}_created`,
    { part: 'ignored', family, aside: '', own: false },
  ];
  switch (family.type) {
    case 'histogram':
    case 'gaugehistogram': {
      const parts: [string, Route][] = [
        [name, { part: 'misplaced', family, aside: '', own: true }],
        [`${name}_bucket`, { part: 'bucket', family, aside: 'le', own: false }],
        [`${name}_sum`, { part: 'sum', family, aside: '', own: false }],
        [`${name}_count`, { part: 'count', family, aside: '', own: false }],
      ];
      if (family.type === 'histogram') return [...parts, created(name)];
      return [
        ...parts,
        [`${name}_gsum`, { part: 'sum', family, aside: '', own: false }],
        [`${name}_gcount`, { part: 'count', family, aside: '', own: false }],
      ];
    }
    case 'summary':
      return [
        [name, { part: 'quantile', family, aside: 'quantile', own: true }],
        [`${name}_sum`, { part: 'sum', family, aside: '', own: false }],
        [`${name}_count`, { part: 'count', family, aside: '', own: false }],
        created(name),
      ];
    case 'counter': {
      const base = name.endsWith('_total') ? name.slice(0, -'_total'.length) : name;
      return [[name, { part: 'value', family, aside: '', own: true }], created(base)];
    }
    default:
      return [[name, { part: 'value', family, aside: '', own: true }]];
  }
}

function isCreatedLike(type: MetricType): boolean {
  return type === 'gauge' || type === 'unknown';
}

function hasSamples(family: FamilyBuilder): boolean {
  if (family.type === 'untyped') return family.samples.length > 0;
  return 'points' in family ? family.points.length > 0 : family.series !== undefined;
}

function hasLabel(family: UntypedBuilder, name: string): boolean {
  return family.samples.some((sample) => labelValue(sample.labels, name) !== undefined);
}

function endOfName(text: string, start: number, limit: number): number {
  let position = start;
  while (position < limit) {
    const code = text.charCodeAt(position);
    const isLetter = (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code === 58;
    if (!isLetter && !(code >= 48 && code <= 57 && position > start)) break;
    position++;
  }
  return position;
}

function endOfToken(text: string, start: number, limit: number): number {
  let position = start;
  while (position < limit) {
    const code = text.charCodeAt(position);
    if (code === SPACE || code === TAB) break;
    position++;
  }
  return position;
}
