import type { Board } from '../gpu/board.ts';
import type { EngineKind } from '../engine/engine.ts';
import type { Model } from '../engine/model.ts';
import type { TrafficSpec } from '../traffic/traffic.ts';
import { buildScenario } from './build-scenario.ts';
import { checkScenario } from './check-scenario.ts';
import type { EngineSettings } from './engine-defaults.ts';
import type { PlannedIncident } from './incidents.ts';
import { readYaml, type ScenarioProblem } from './read-yaml.ts';

/** What scenarios can name. */
export interface Catalogue {
  readonly boards: readonly Board[];
  readonly models: readonly Model[];
}

/** A simulated host and what happens to it. */
export interface Scenario {
  readonly seed: string;
  /** Hour of the simulated day at which it starts. */
  readonly startHour: number;
  readonly host: HostSpec;
  readonly engines: readonly EngineSpec[];
  readonly traffic: readonly TrafficSpec[];
  readonly timeline: readonly TimelineEntry[];
}

export interface HostSpec {
  readonly name: string;
  /** One entry for each GPU: its index is the place in the list. */
  readonly gpus: readonly GpuSpec[];
  readonly driver: { readonly nvidia?: string; readonly cuda?: string; readonly amd?: string };
}

export interface GpuSpec {
  readonly board: Board;
  /** The board's own default when undefined. */
  readonly powerLimitWatts?: number;
  readonly ambientCelsius: number;
}

export interface EngineSpec {
  readonly name: string;
  readonly kind: EngineKind;
  /** The newest that the mock speaks when undefined. */
  readonly version?: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly models: readonly Model[];
  /** Indexes of its GPUs. */
  readonly gpus: readonly number[];
  readonly settings: EngineSettings;
}

export interface TimelineEntry {
  readonly atSeconds: number;
  /** Until the end of the world when undefined. */
  readonly forSeconds?: number;
  readonly incident: PlannedIncident;
}

export type ScenarioRead =
  | { readonly ok: true; readonly scenario: Scenario }
  /** By place in the text. */
  | { readonly ok: false; readonly problems: readonly ScenarioProblem[] };

/** Reads a scenario from YAML. Nothing is thrown; all problems are told at once, each with its line and how to mend it. */
export function parseScenario(text: string, catalogue: Catalogue): ScenarioRead {
  const read = readYaml(text);
  if (!read.ok) return read;
  const problems = checkScenario(read.yaml, catalogue);
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, scenario: buildScenario(read.yaml.value, catalogue) };
}
