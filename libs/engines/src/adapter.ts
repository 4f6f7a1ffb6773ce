import type { Labels } from '@llm-monitor/metrics-core';

import type { Answer, Answers } from './answers.ts';
import type { CoreMetric, EngineState, LlmMetricName, UnavailableReason } from './families.ts';

/**
 * One engine: data, and where the engine speaks JSON or hides facts in labels, one `parse`.
 * Adding an engine is one such file, a fixture, its golden, and a line in `registry.ts`.
 */
export interface EngineAdapter {
  /** The engine's name as its makers write it. */
  readonly title: string;
  /** Where its metrics are documented. */
  readonly documentation: string;
  /** How to make the engine show its metrics, when they are off by default: one sentence. */
  readonly enable?: string;
  /** What a user should know: quirks of the numbers, each one sentence. */
  readonly notes?: readonly string[];
  /** Ports it listens on unless told otherwise, the metrics port first. */
  readonly ports: readonly number[];
  /** Names of its programs or modules, as an argument of its command line (or the base name of one). */
  readonly programs: readonly string[];
  /** What its command lines tell beyond that. */
  readonly commandLine?: EngineCommandLine;
  /** How its answers are told from all others. */
  readonly fingerprints: readonly Fingerprint[];
  /** What one reading asks, in this order; every path is on the allow-list of `safe-paths.ts`. */
  readonly requests: readonly EngineRequest[];
  readonly health?: HealthCheck;
  /** How labels of the exposition become ours. */
  readonly labels?: CommonLabels;
  /** Native families that stand for others under another name: `[prefix, replacement]`, the first that fits. */
  readonly prefixes?: readonly (readonly [string, string])[];
  /** Canonical name to native name. */
  readonly families: Readonly<Partial<Record<LlmMetricName, Rules>>>;
  /** Facts that no table can say: JSON answers, values kept in labels. */
  readonly parse?: (answers: Answers) => EngineFacts;
  /** Core metrics that it never gives, with the reason (`engine_lacks` if not said otherwise). */
  readonly lacks: readonly CoreMetric[];
}

/** How the processes of an engine are told by their command lines, and where the served model stands on them. */
export interface EngineCommandLine {
  /** Programs that work for the engine and serve no API; written as in `programs`. */
  readonly workers?: readonly string[];
  /** Titles that its processes give themselves in place of a command line. */
  readonly titles?: readonly RegExp[];
  /** Where the model stands: the first place that has a value counts. None where several can be served. */
  readonly model?: readonly ModelPlace[];
}

/** A place of the served model on a command line. */
export interface ModelPlace {
  /** Options whose value it is; the last one given counts. Underscores and dashes are the same in a long option. */
  readonly options?: readonly string[];
  /** Commands right behind which it stands; the empty one is the program itself. The first that fits counts. */
  readonly behind?: readonly string[];
  /** `model`: a name, or a folder whose last part is taken; `name`: as served; `file`: its last part is taken. */
  readonly is: 'model' | 'name' | 'file';
  /** What the engine makes of it; undefined when it is no model. */
  readonly nameOf?: (value: string) => string | undefined;
  /** Where the value names a file by its contents: looks the model's name up in the files of that process. */
  readonly lookUp?: (value: string, files: ProcessFiles) => Promise<string | undefined>;
}

/** The files that a process sees, read only. What cannot be read is not there. */
export interface ProcessFiles {
  /** Names of the folders and files in a folder. */
  list(folder: string): Promise<{ readonly folders: readonly string[]; readonly files: readonly string[] }>;
  /** Text of a small file. */
  text(file: string): Promise<string | undefined>;
}

export interface CommonLabels {
  /** Native label that holds the served model's name, the first that is there. */
  readonly model?: readonly string[];
  /** Native label that numbers data-parallel replicas: a real partition. */
  readonly replica?: readonly string[];
  /** Native labels under which one logical value is printed several times (tensor, pipeline, expert ranks). */
  readonly ranks?: readonly string[];
}

export type Rules = string | Rule | readonly (string | Rule)[];

/** How one canonical metric comes from native families. */
export interface Rule {
  /** Native family, or several of which the first that has samples counts (names change over versions). */
  readonly from: string | readonly string[];
  /** Native families to add to it, where they are there. */
  readonly plus?: readonly string[];
  /** Void where this native family (or one of them) has samples: it says the same better. */
  readonly unless?: string | readonly string[];
  /** Factor to base units, for bounds and sums too. */
  readonly scale?: number;
  /** Take a histogram's or summary's sum or count as the value. */
  readonly part?: 'sum' | 'count';
  /** Only points whose native label has one of these values. */
  readonly where?: Readonly<Record<string, readonly string[]>>;
  /** Which points count, seen the labels of all: for families whose points repeat one another. */
  readonly only?: (all: readonly Labels[]) => (labels: Labels) => boolean;
  /** Zero is what the engine prints while the feature is off: it is unknown then, not nothing. */
  readonly zeroIsUnknown?: true;
  /** Further labels of ours from native ones. */
  readonly labels?: Readonly<Record<string, LabelRule>>;
  /** Labels of ours with a fixed value. */
  readonly set?: Labels;
  /** What becomes of points that end up with equal labels; `sum` but for ratios and contexts, whose rule is `max`. */
  readonly fold?: 'sum' | 'max';
  /** Not expected in every answer: it comes with a feature or a load. */
  readonly optional?: true;
  /** Expected only where a native family beginning so has samples: a feature's, a load's, an inner engine's. */
  readonly expectedWith?: string;
  /** First version that has it, and the first that has it no more. */
  readonly since?: string;
  readonly until?: string;
}

export interface LabelRule {
  /** Native label, or several of which the first that is there counts. */
  readonly from: string | readonly string[];
  /** Text in front of the native value that is no part of it. */
  readonly strip?: string;
  /** Native value to ours, after lower-casing; others stay as they are unless `otherwise` is given. */
  readonly map?: Readonly<Record<string, string>>;
  readonly otherwise?: string;
}

/** One request of a reading. */
export interface EngineRequest {
  readonly as: 'exposition' | 'json';
  /** The path, or the paths that what has been answered so far allows and asks for (none: not asked). */
  readonly path: string | ((soFar: Answers) => readonly RequestPath[]);
  /** The bare path, where `path` is a function: saved answers are recognized by it. */
  readonly name?: string;
  /** For slow-changing facts: an answer this young is used again. */
  readonly maxAgeSeconds?: number;
  /** Only some versions have the path: 404 is no error, and it is asked again an hour later. */
  readonly optional?: true;
  /** Whether a JSON value is the engine's answer to this request. */
  readonly shape?: (value: unknown) => boolean;
  /** No other engine answers in that shape: a saved answer is recognized by it. */
  readonly distinctive?: true;
}

export interface RequestPath {
  readonly path: string;
  /** Labels for all that the answer holds: the model, where the exposition does not name it. */
  readonly labels?: Labels;
}

/** Where the engine says that it is well; only for engines whose answer costs it nothing. */
export interface HealthCheck {
  readonly path: string;
  /** State by status; 2xx is `ready` unless said otherwise. */
  readonly states?: Readonly<Record<number, EngineState>>;
}

export type Fingerprint =
  | {
      readonly path: string;
      /** Beginnings of family names, one of which must be there, … */
      readonly families: readonly string[];
      /** … all of these, … */
      readonly with?: readonly string[];
      /** … and none of these. */
      readonly without?: readonly string[];
    }
  | { readonly path: string; readonly json: (value: unknown) => boolean }
  | { readonly path: string; readonly text: string }
  | { readonly header: readonly [name: string, value: string] }
  /** `owned_by` in `/v1/models`: weak, since gateways pass it on; used when nothing else fits. */
  | { readonly ownedBy: readonly string[] };

export interface Observation {
  readonly metric: LlmMetricName;
  readonly labels?: Labels;
  readonly value: number;
  /** `api`: read from JSON; `derived`: computed from several native values. */
  readonly source: 'api' | 'derived';
}

export interface ModelFact {
  readonly name: string;
  readonly root?: string;
  readonly quantization?: string;
  readonly parameterSize?: string;
  readonly format?: string;
  readonly family?: string;
  readonly contextTokens?: number;
  readonly loaded?: boolean;
}

/** What `parse` found. */
export interface EngineFacts {
  readonly version?: string;
  readonly state?: EngineState;
  readonly models?: readonly ModelFact[];
  readonly observations?: readonly Observation[];
  /** Reasons for core metrics that this very answer lacks. */
  readonly unavailable?: Readonly<Partial<Record<CoreMetric, UnavailableReason>>>;
}

export type { Answer };
