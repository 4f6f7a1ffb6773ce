import type { Labels } from './families.ts';
import { NO_LABELS, labelsKey, setLabel } from './labels.ts';

const TAB = 9;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const EQUALS = 61;
const BACKSLASH = 92;
const CLOSE = 125;

/** More labels than any engine writes; vLLM's cache_config_info has about forty. */
const LABEL_LIMIT = 256;
/** Sections remembered by their text. A text with more distinct ones is read all the same, only slower. */
const REMEMBERED_SECTIONS = 100_000;

/** Why a label section has no labels to give. */
export type LabelFault = 'malformed_line' | 'duplicate_label' | 'too_many_labels';

interface ParsedPairs {
  readonly labels: Labels;
  /** The quoted metric name that stood among the labels, as in `{"a.b", x="y"}`. */
  readonly metricName: string | undefined;
  /** Where the closing brace is, or the end of the text. */
  readonly end: number;
}

/**
 * Reads the `{…}` sections of one exposition. The same section text is taken apart once, and equal label sets are one
 * object, so that a duplicate series is found by identity.
 */
export class LabelSections {
  /** Just after the brace that closes the section scanned last. */
  end = 0;
  /** Between the quotes of the label set aside in the last scan (`le`, `quantile`); -1 when it was not there. */
  asideStart = -1;
  asideEnd = -1;
  private readonly text: string;
  private open = 0;
  private pairStart = 0;
  private pairEnd = 0;
  /** The first closing brace from some earlier position on; -1 before the first look. */
  private nextClose = -1;
  private readonly bySection = new Map<string, Labels | LabelFault>();
  private readonly byKey = new Map<string, Labels>([[labelsKey(NO_LABELS), NO_LABELS]]);
  private readonly copies = new Map<string, string>();

  constructor(text: string) {
    this.text = text;
  }

  /** The labels of the section that starts at `open` if the very same one was read before: most were. */
  recall(open: number, limit: number): Labels | undefined {
    if (this.nextClose < open) {
      const close = this.text.indexOf('}', open);
      this.nextClose = close < 0 ? Infinity : close;
    }
    if (this.nextClose >= limit) return undefined;
    const known = this.bySection.get(this.text.slice(open + 1, this.nextClose));
    if (known === undefined || typeof known === 'string') return undefined;
    this.end = this.nextClose + 1;
    this.asideStart = -1;
    return known;
  }

  /** Whether a well-formed section starts at `open` and ends before `limit`; remembers where its parts are. */
  scan(open: number, limit: number, aside: string): boolean {
    const { text } = this;
    this.open = open;
    this.asideStart = -1;
    let position = open + 1;
    for (;;) {
      position = skipBlanks(text, position, limit);
      if (position >= limit) return false;
      if (text.charCodeAt(position) === CLOSE) break;
      const nameStart = position;
      while (position < limit && isLabelNameCode(text.charCodeAt(position))) position++;
      const nameLength = position - nameStart;
      if (nameLength === 0) return false;
      position = skipBlanks(text, position, limit);
      if (text.charCodeAt(position++) !== EQUALS) return false;
      position = skipBlanks(text, position, limit);
      if (text.charCodeAt(position++) !== QUOTE) return false;
      const valueStart = position;
      position = closingQuote(text, position, limit);
      if (position < 0) return false;
      const valueEnd = position++;
      position = skipBlanks(text, position, limit);
      if (text.charCodeAt(position) === COMMA) position++;
      else if (text.charCodeAt(position) !== CLOSE) return false;
      if (aside.length > 0 && nameLength === aside.length && text.startsWith(aside, nameStart)) {
        this.pairStart = nameStart;
        this.pairEnd = position;
        this.asideStart = valueStart;
        this.asideEnd = valueEnd;
      }
    }
    this.end = position + 1;
    return position < limit;
  }

  /** The labels of the section scanned last, without the one set aside. */
  labels(): Labels | LabelFault {
    const { text, open, end } = this;
    const close = end - 1;
    let section: string;
    if (this.asideStart < 0) {
      section = text.slice(open + 1, close);
    } else if (this.pairEnd < close) {
      section = text.slice(open + 1, this.pairStart) + text.slice(this.pairEnd, close);
    } else {
      // The comma before a last label goes with it: then the rest reads like the section of a _sum line.
      const comma = text.charCodeAt(this.pairStart - 1) === COMMA ? 1 : 0;
      section = text.slice(open + 1, this.pairStart - comma);
    }
    const known = this.bySection.get(section);
    if (known !== undefined) return known;
    const pairs = this.parsePairs(section, 0);
    const labels =
      typeof pairs === 'string' ? pairs : pairs.metricName === undefined ? pairs.labels : 'malformed_line';
    if (this.bySection.size < REMEMBERED_SECTIONS) this.bySection.set(section, labels);
    return labels;
  }

  /**
   * Takes apart a section with quoted names (UTF-8 names, Prometheus 3). `text` starts after the opening brace; `end`
   * of the answer is the closing one.
   */
  parseQuoted(text: string): ParsedPairs | LabelFault {
    const pairs = this.parsePairs(text, 0);
    return typeof pairs !== 'string' && pairs.end >= text.length ? 'malformed_line' : pairs;
  }

  /** One object for all label sets that are equal to Prometheus. */
  intern(labels: Labels): Labels {
    const key = labelsKey(labels);
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    this.byKey.set(key, labels);
    return labels;
  }

  /** A copy that does not keep the whole exposition in memory, as a slice of it would. */
  copy(slice: string): string {
    const known = this.copies.get(slice);
    if (known !== undefined) return known;
    const copy = slice.length < SLICED_LENGTH ? slice : (JSON.parse(JSON.stringify(slice)) as string);
    this.copies.set(copy, copy);
    return copy;
  }

  private parsePairs(text: string, start: number): ParsedPairs | LabelFault {
    const labels: Record<string, string> = {};
    let metricName: string | undefined;
    let count = 0;
    let position = start;
    for (;;) {
      position = skipBlanks(text, position, text.length);
      if (position >= text.length || text.charCodeAt(position) === CLOSE) break;
      const name = readName(text, position);
      if (name === undefined) return 'malformed_line';
      position = skipBlanks(text, name.end, text.length);
      if (text.charCodeAt(position) === EQUALS) {
        position = skipBlanks(text, position + 1, text.length);
        const value = text.charCodeAt(position) === QUOTE ? readQuoted(text, position) : undefined;
        if (value === undefined) return 'malformed_line';
        if (Object.hasOwn(labels, name.value)) return 'duplicate_label';
        if (++count > LABEL_LIMIT) return 'too_many_labels';
        // To Prometheus a label with an empty value is a label that is not there.
        if (value.value !== '') setLabel(labels, this.copy(name.value), this.copy(value.value));
        position = skipBlanks(text, value.end, text.length);
      } else if (name.quoted && metricName === undefined) {
        metricName = this.copy(name.value);
      } else {
        return 'malformed_line';
      }
      if (text.charCodeAt(position) === COMMA) position++;
      else if (position < text.length && text.charCodeAt(position) !== CLOSE) return 'malformed_line';
    }
    return { labels: this.intern(labels), metricName, end: position };
  }
}

/** From this length on V8 represents a slice as a view into its parent. */
const SLICED_LENGTH = 13;

interface Token {
  readonly value: string;
  /** Just after it, its quote included. */
  readonly end: number;
  readonly quoted: boolean;
}

function readName(text: string, start: number): Token | undefined {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return readQuoted(text, start);
  if (first >= 48 && first <= 57) return undefined;
  let end = start;
  while (end < text.length && isLabelNameCode(text.charCodeAt(end))) end++;
  return end === start ? undefined : { value: text.slice(start, end), end, quoted: false };
}

/** The quoted string that starts at `start`, its escapes undone. */
export function readQuoted(text: string, start: number): Token | undefined {
  const close = closingQuote(text, start + 1, text.length);
  if (close < 0) return undefined;
  return { value: unescape(text.slice(start + 1, close)), end: close + 1, quoted: true };
}

/**
 * Undoes `\\`, `\"` and `\n`. Another escape stays as it is, backslash included, as Prometheus' own OpenMetrics parser
 * does it: nothing is lost by it.
 */
export function unescape(text: string): string {
  let backslash = text.indexOf('\\');
  if (backslash < 0) return text;
  let plain = '';
  let copied = 0;
  while (backslash >= 0 && backslash + 1 < text.length) {
    const escaped = text[backslash + 1];
    if (escaped === 'n' || escaped === '"' || escaped === '\\') {
      plain += text.slice(copied, backslash) + (escaped === 'n' ? '\n' : escaped);
      copied = backslash + 2;
    }
    backslash = text.indexOf('\\', backslash + 2);
  }
  return plain + text.slice(copied);
}

/** The first position from `start` on that is neither blank nor TAB. */
export function skipBlanks(text: string, start: number, limit: number): number {
  let position = start;
  while (position < limit) {
    const code = text.charCodeAt(position);
    if (code !== SPACE && code !== TAB) break;
    position++;
  }
  return position;
}

function closingQuote(text: string, start: number, limit: number): number {
  for (let position = start; position < limit; position++) {
    const code = text.charCodeAt(position);
    if (code === QUOTE) return position;
    if (code === BACKSLASH) position++;
  }
  return -1;
}

function isLabelNameCode(code: number): boolean {
  return (
    (code >= 97 && code <= 122) || code === 95 || (code >= 65 && code <= 90) || (code >= 48 && code <= 57)
  );
}
