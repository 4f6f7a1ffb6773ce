import { didYouMean, formatDuration, parseDuration } from '@llm-monitor/config';
import type { EngineKind } from '../engine/engine.ts';
import {
  type Incident,
  type IncidentName,
  type IncidentParameter,
  INCIDENT_NAMES,
  incidentOf,
  isIncidentName,
  type NumberParameter,
  type PlannedIncident,
} from './incidents.ts';
import type { Path } from './read-yaml.ts';

/** An incident as a scenario's timeline or a client of the control API asks for it. */
export interface IncidentRequest {
  readonly incident: string;
  /** Index of a GPU, name of an engine or a traffic; can be left out where there is one only. */
  readonly target?: string | undefined;
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
}

/** What incidents can happen to. */
export interface IncidentScene {
  readonly gpus: readonly {
    readonly board: string;
    readonly vendor: 'nvidia' | 'amd';
    readonly fan: boolean;
    readonly ecc: boolean;
  }[];
  readonly engines: readonly {
    readonly name: string;
    /** Undefined while it is not known; then it may be any. */
    readonly kind: EngineKind | undefined;
    readonly models: number;
  }[];
  readonly traffic: readonly { readonly name: string }[];
}

/** What is wrong with a request: at `target`, `incident` or `parameters.name` of it. */
export interface RequestProblem {
  readonly path: Path;
  readonly message: string;
}

export type IncidentPlan =
  | { readonly ok: true; readonly incident: PlannedIncident }
  | { readonly ok: false; readonly problems: readonly RequestProblem[] };

/** Checks an incident against what is there. All problems are told, each with how to mend it. */
export function planIncident(request: IncidentRequest, scene: IncidentScene): IncidentPlan {
  const { incident: name } = request;
  if (!isIncidentName(name)) {
    const hint = didYouMean(name, INCIDENT_NAMES, `incidents are ${INCIDENT_NAMES.join(', ')}`);
    return {
      ok: false,
      problems: [{ path: ['incident'], message: `no incident is called ${JSON.stringify(name)}${hint}` }],
    };
  }
  const problems: RequestProblem[] = [];
  const parameters = readParameters(name, request.parameters ?? {}, problems);
  const target = findTarget(name, request.target, scene);
  if ('message' in target) problems.push({ path: ['target'], message: target.message });
  if (problems.length > 0 || 'message' in target) return { ok: false, problems };
  // The table's types follow from the entries that were just read by.
  return { ok: true, incident: { name, target: target.target, parameters } as PlannedIncident };
}

type Target = { readonly target: number | string | undefined } | { readonly message: string };

function findTarget(name: IncidentName, wanted: string | undefined, scene: IncidentScene): Target {
  const incident = incidentOf(name);
  if (incident.target === 'host') {
    const lacking = scene.gpus.some(({ vendor }) => vendor === incident.needs?.vendor)
      ? undefined
      : `${name} needs an NVIDIA GPU, and the host has none`;
    if (lacking !== undefined) return { message: lacking };
    return wanted === undefined || wanted === 'host'
      ? { target: undefined }
      : { message: `${name} happens to the whole host; leave target out` };
  }
  const all = candidates(incident, scene);
  const fitting = all.filter(({ unfit }) => unfit === undefined);
  const what = { gpu: 'a GPU', engine: 'an engine', traffic: 'a traffic' }[incident.target];
  const choice = fitting.length === 0 ? 'this scenario has none that fits' : `there is ${names(fitting)}`;
  if (wanted === undefined) {
    const [only, ...others] = fitting;
    return only !== undefined && others.length === 0
      ? { target: only.target }
      : { message: `${name} happens to ${what}; say to which: ${choice}` };
  }
  const found = all.find(({ text }) => text === wanted);
  if (found === undefined) {
    const isOther = otherKind(wanted, incident, scene);
    const hint = didYouMean(
      wanted,
      fitting.map(({ text }) => text),
      choice,
    );
    return {
      message:
        isOther === undefined
          ? `there is no ${incident.target} ${JSON.stringify(wanted)}${hint}`
          : `${name} happens to ${what}, and ${JSON.stringify(wanted)} is ${isOther}; ${choice}`,
    };
  }
  return found.unfit === undefined
    ? { target: found.target }
    : { message: `${name} cannot happen to ${incident.target} ${wanted}: ${found.unfit}; ${choice}` };
}

interface Candidate {
  readonly text: string;
  readonly target: number | string;
  /** Why the incident cannot happen to it. */
  readonly unfit: string | undefined;
}

function candidates({ target, needs }: Incident, scene: IncidentScene): Candidate[] {
  if (target === 'gpu') {
    return scene.gpus.map((gpu, index) => {
      let unfit: string | undefined;
      if (needs?.vendor !== undefined && gpu.vendor !== needs.vendor)
        unfit = `${gpu.board} is not of ${needs.vendor}`;
      else if (needs?.fan === true && !gpu.fan) unfit = `${gpu.board} has no fans of its own`;
      else if (needs?.ecc === true && !gpu.ecc) unfit = `${gpu.board} has no ECC`;
      return { text: String(index), target: index, unfit };
    });
  }
  if (target === 'engine') {
    return scene.engines.map(({ name, kind, models }) => {
      const kinds = needs?.engineKinds;
      let unfit: string | undefined;
      if (kind !== undefined && kinds !== undefined && !kinds.includes(kind))
        unfit = `it is ${kind}, and this is of ${kinds.join(', ')}`;
      else if (needs?.models === true && models < 2) unfit = 'it has one model, and this takes two';
      return { text: name, target: name, unfit };
    });
  }
  return scene.traffic.map(({ name }) => ({ text: name, target: name, unfit: undefined }));
}

function otherKind(wanted: string, { target }: Incident, scene: IncidentScene): string | undefined {
  if (target !== 'engine' && scene.engines.some(({ name }) => name === wanted)) return 'an engine';
  if (target !== 'traffic' && scene.traffic.some(({ name }) => name === wanted)) return 'a traffic';
  return target !== 'gpu' && /^\d+$/.test(wanted) ? 'the number of a GPU' : undefined;
}

function names(fitting: readonly Candidate[]): string {
  const shown = fitting.slice(0, 8).map(({ text }) => text);
  return `${shown.join(', ')}${fitting.length > shown.length ? ', …' : ''}`;
}

function readParameters(
  name: IncidentName,
  given: Readonly<Record<string, unknown>>,
  problems: RequestProblem[],
): Record<string, number | string> {
  const known = incidentOf(name).parameters;
  const values: Record<string, number | string> = {};
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(known, key)) continue;
    const all = Object.keys(known);
    const otherwise = all.length === 0 ? 'it has none' : `it has ${all.join(', ')}`;
    const message = `${name} has no parameter ${JSON.stringify(key)}${didYouMean(key, all, otherwise)}`;
    problems.push({ path: ['parameters', key], message });
  }
  for (const [key, parameter] of Object.entries(known)) {
    const value = Object.hasOwn(given, key) ? readParameter(parameter, given[key]) : parameter.default;
    if (value !== undefined) values[key] = value;
    else problems.push({ path: ['parameters', key], message: `expected ${expected(parameter)}` });
  }
  return values;
}

function readParameter(parameter: IncidentParameter, given: unknown): number | string | undefined {
  const text = typeof given === 'number' || typeof given === 'string' ? String(given).trim() : '';
  if (text === '') return undefined;
  if (parameter.kind === 'text') return text.length <= 64 ? text : undefined;
  const value = parameter.kind === 'duration' ? parseDuration(text) : Number(text);
  const inRange = value !== undefined && value >= parameter.minimum && value <= parameter.maximum;
  return inRange ? value : undefined;
}

/** What a parameter takes, in words: `a number from 0 to 1000`. */
function expected(parameter: IncidentParameter): string {
  if (parameter.kind === 'text') return 'some text of at most 64 characters';
  const show = (value: number): string => formatBound(parameter, value);
  const what = parameter.kind === 'duration' ? 'a duration with its unit' : 'a number';
  return `${what} from ${show(parameter.minimum)} to ${show(parameter.maximum)}`;
}

function formatBound({ kind }: NumberParameter, value: number): string {
  return kind === 'duration' ? formatDuration(value) : String(value);
}
