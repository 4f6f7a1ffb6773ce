/** One panel: a question, its queries, and why it may have no answer. */
export interface Panel {
  readonly title: string;
  /** What it shows, and of whom. */
  readonly what: string;
  /** Shown in place of data: why there may be none. */
  readonly whyEmpty: string;
  readonly kind: 'stat' | 'lines';
  /** Of Grafana: `s`, `percentunit`, `bytes`, `watt`, `reqps`, `short`. */
  readonly unit: string;
  readonly min?: number;
  readonly max?: number;
  /** The value from which a stat is green; it is red below. */
  readonly goodFrom?: number;
  readonly queries: readonly [Query, ...Query[]];
}

export interface Query {
  /** PromQL, of {@link series}. */
  readonly expr: string;
  /** Of Grafana: `{{server}}`. */
  readonly legend: string;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}
