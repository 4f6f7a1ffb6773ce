/** `critical` pages: users are hurt, or hardware is lost. `warning` is a cause. `none` is the dead man's switch. */
export type Severity = 'critical' | 'warning' | 'none';

/** One alert: all there is to say of it, with the rehearsals that prove it. */
export interface Alert {
  readonly name: string;
  /** PromQL, of {@link series}. */
  readonly expr: string;
  /** How long it has to hold: `5m`. */
  readonly for: string;
  readonly severity: Severity;
  /** One sentence; `{{ $labels.server }}` is a label of the series. */
  readonly summary: string;
  /** What it means for users, and where to look first. */
  readonly description: string;
  /** At least one that fires and one that stays quiet. */
  readonly rehearsals: readonly [Rehearsal, Rehearsal, ...Rehearsal[]];
}

/** A course of events, and which alerts of this name fire at its end. */
export interface Rehearsal {
  readonly title: string;
  /** Series by selector, with values as promtool writes them, one each quarter of a minute: `1x8 0x20`. */
  readonly series: Readonly<Record<string, string>>;
  readonly at: string;
  /** Labels of each alert that fires then, beside its name and severity; empty for a quiet one. */
  readonly fires: readonly Readonly<Record<string, string>>[];
}
