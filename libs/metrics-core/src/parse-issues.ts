/**
 * Everything an exposition may get wrong and still be read, one entry a kind.
 *
 * `lost`: something the text says is not in the result. `mended`: the result is what was meant. `ignored`: legal, and
 * of no use here.
 */
export const parseIssueKinds = {
  not_exposition: { effect: 'lost', description: 'The text is something else: HTML, JSON, prose.' },
  malformed_line: { effect: 'lost', description: 'A line that is neither a sample nor a comment.' },
  malformed_comment: {
    effect: 'lost',
    description: 'A HELP, TYPE or UNIT line without a valid name or type.',
  },
  cut_last_line: { effect: 'lost', description: 'The text ends within a line that cannot be read.' },
  value_invalid: { effect: 'lost', description: 'A sample whose value is no number, or NaN as a count.' },
  bound_invalid: {
    effect: 'lost',
    description: 'A bucket without a readable `le`, or a quantile outside 0 to 1.',
  },
  sample_misplaced: { effect: 'lost', description: 'A sample that its family type has no place for.' },
  histogram_incomplete: {
    effect: 'lost',
    description: 'A histogram with neither a +Inf bucket nor a count.',
  },
  duplicate_series: { effect: 'lost', description: 'A series written twice: the first one is kept.' },
  duplicate_label: { effect: 'lost', description: 'A sample with the same label twice.' },
  too_many_labels: { effect: 'lost', description: 'A sample with more labels than the limit.' },
  too_many_families: {
    effect: 'lost',
    description: 'Lines of families beyond the limit of one parse.',
  },
  too_many_series: { effect: 'lost', description: 'Samples beyond the limit of one parse.' },
  content_after_eof: { effect: 'lost', description: 'Text after `# EOF`.' },
  type_conflict: {
    effect: 'lost',
    description: 'A second TYPE that contradicts the first one, which stands.',
  },
  type_unknown: { effect: 'mended', description: 'A type outside the format, read as unknown.' },
  type_missing: { effect: 'mended', description: 'A family without TYPE: told by the pattern of its names.' },
  type_late: { effect: 'mended', description: 'A TYPE after the first samples of its family.' },
  type_repeated: { effect: 'mended', description: 'The same TYPE again.' },
  help_late: { effect: 'mended', description: 'A HELP after the first samples of its family.' },
  help_repeated: { effect: 'mended', description: 'A second HELP for a family: the first one is kept.' },
  nan_spelled: {
    effect: 'mended',
    description: 'NaN with a sign (`-nan`), for which Prometheus drops the scrape.',
  },
  samples_scattered: {
    effect: 'mended',
    description: 'Samples of one family with another one between them.',
  },
  buckets_unsorted: { effect: 'mended', description: 'Buckets not in ascending order of `le`.' },
  buckets_not_monotone: { effect: 'mended', description: 'Cumulative counts that fall: kept as they came.' },
  infinite_bucket_missing: { effect: 'mended', description: 'No +Inf bucket: taken from the count.' },
  ellipsis: { effect: 'mended', description: 'A line of dots, as documents put for what they leave out.' },
  carriage_return: { effect: 'mended', description: 'A line that ends in CR LF.' },
  byte_order_mark: { effect: 'mended', description: 'A byte order mark at the start.' },
  final_newline_missing: { effect: 'mended', description: 'The last line has no line feed.' },
  eof_missing: { effect: 'mended', description: 'OpenMetrics without `# EOF`: the end may be missing.' },
  created_ignored: { effect: 'ignored', description: 'A `_created` series: the birth of another series.' },
  exemplar_ignored: { effect: 'ignored', description: 'An exemplar after a sample.' },
} as const satisfies Record<string, { effect: 'lost' | 'mended' | 'ignored'; description: string }>;

export type ParseIssueKind = keyof typeof parseIssueKinds;

/** How often one thing was wrong in a text, and where it was first. */
export interface ParseIssue {
  readonly kind: ParseIssueKind;
  readonly count: number;
  /** Counted from 1. */
  readonly firstLine: number;
  /** What stood there, at most 120 characters, without control characters. */
  readonly example: string;
}

const EXAMPLE_LENGTH = 120;

/** A piece of foreign text, fit for a log line: bounded, control characters and broken surrogates replaced. */
function excerpt(text: string, start = 0, end = text.length): string {
  return text.slice(start, Math.min(end, start + EXAMPLE_LENGTH)).replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd');
}

/** Collects the issues of one parse, one entry a kind however often it occurs. */
export class IssueLog {
  private readonly issues = new Map<ParseIssueKind, { count: number; firstLine: number; example: string }>();

  add(kind: ParseIssueKind, line: number, text: string, start = 0, end = text.length, count = 1): void {
    const known = this.issues.get(kind);
    if (known === undefined) {
      this.issues.set(kind, { count, firstLine: line, example: excerpt(text, start, end) });
    } else {
      known.count += count;
    }
  }

  countOf(kind: ParseIssueKind): number {
    return this.issues.get(kind)?.count ?? 0;
  }

  /** In the order in which they first occurred. */
  list(): ParseIssue[] {
    return Array.from(this.issues, ([kind, issue]) => ({ kind, ...issue }));
  }
}
