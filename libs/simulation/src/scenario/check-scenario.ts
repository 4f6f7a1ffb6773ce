import { didYouMean } from '@llm-monitor/config';
import type { z } from 'zod';
import { ENGINE_KINDS } from '../engine/engine-kinds.ts';
import type { EngineKind } from '../engine/engine.ts';
import type { Model } from '../engine/model.ts';
import { weightBytes } from '../engine/models.ts';
import type { Board } from '../gpu/board.ts';
import { buildSettings, modelNames, tokensPerRequest, trafficName } from './build-scenario.ts';
import { type IncidentScene, planIncident } from './plan-incident.ts';
import { formatPath, type Path, type ScenarioProblem, type YamlText } from './read-yaml.ts';
import type { Catalogue } from './scenario.ts';
import {
  namesAt,
  type RawArrivals,
  type RawEngine,
  type RawHost,
  type RawLength,
  type RawTimeline,
  type RawTraffic,
  schemas,
  SETTINGS_ONLY_FOR,
} from './schema.ts';

type Report = (path: Path, message: string) => void;
/** What could be read of a part; what has a fault is not there. */
type Rest<Whole> = { readonly [Key in keyof Whole]?: Whole[Key] | undefined };

interface EngineCheck {
  readonly engine: Rest<RawEngine>;
  readonly path: Path;
  readonly models: readonly Model[];
  /** Of its GPUs, as far as they are there. */
  readonly boards: readonly Board[];
}

/** All that is wrong with a scenario, by place in the text. Each part is checked as far as it can be read. */
export function checkScenario(yaml: YamlText, catalogue: Catalogue): readonly ScenarioProblem[] {
  const problems: ScenarioProblem[] = [];
  const report: Report = (path, message) => {
    problems.push({ ...yaml.placeOf(path), path: formatPath(path), message });
  };
  const root = read(schemas.root, yaml.value, [], report);
  const host = root.host === undefined ? {} : read(schemas.host, root.host, ['host'], report);
  const gpus = checkHost(host, catalogue, report);

  const engines = (root.engines ?? []).map((value, index): EngineCheck => {
    const path = ['engines', index];
    const engine = read(schemas.engine, value, path, report);
    const models = checkModels(engine, value, path, catalogue, report);
    return { engine, path, models, boards: checkGpus(engine, path, gpus, report) };
  });
  for (const check of engines) checkEngine(check, report);
  checkTwins(engines, ({ engine }) => engine.name, 'name', 'give each engine a name of its own', report);
  checkTwins(
    engines,
    ({ engine }) => engine.port || undefined,
    'port',
    'give each engine a port of its own',
    report,
  );
  checkSharing(engines, gpus, report);

  const traffic = (root.traffic ?? []).map((value, index) => {
    const path = ['traffic', index];
    const each = read(schemas.traffic, value, path, report);
    checkTraffic(each, path, engines, report);
    return { each, path };
  });
  checkTwins(traffic, ({ each }) => trafficName(each), 'name', 'give each traffic a name of its own', report);

  const scene = sceneAsRead(
    engines,
    gpus ?? [],
    traffic.map(({ each }) => trafficName(each)),
  );
  const allTargetsAreRead =
    gpus !== undefined && scene.engines.length === engines.length && scene.traffic.length === traffic.length;
  const entries = (root.timeline ?? []).map((value, index) => {
    const path = ['timeline', index];
    const entry = read(schemas.timeline, value, path, report);
    const target = checkIncident(entry, path, scene, allTargetsAreRead, report);
    return { entry, path, target };
  });
  checkOverlaps(entries, report);
  return problems.sort((left, right) => left.line - right.line || left.column - right.column);
}

/** Reads one part; tells its faults and returns what is left of it. */
function read<Whole, Left>(
  { whole, rest }: { readonly whole: z.ZodType<Whole>; readonly rest: z.ZodType<Left> },
  value: unknown,
  path: Path,
  report: Report,
): Left | Record<string, never> {
  const parsed = whole.safeParse(value);
  if (!parsed.success)
    for (const issue of parsed.error.issues) reportIssue(issue, whole, value, path, report);
  if (!isMap(value)) return {};
  const faulty = new Set(
    parsed.error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys : [String(issue.path[0])],
    ),
  );
  const sound = Object.fromEntries(Object.entries(value).filter(([key]) => !faulty.has(key)));
  const left = rest.safeParse(sound);
  if (!left.success || !isMap(left.data)) return {};
  // A default must not stand in for what was said and is wrong: nothing can be concluded from it.
  for (const key of faulty) Reflect.deleteProperty(left.data, key);
  return left.data;
}

function reportIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  value: unknown,
  path: Path,
  report: Report,
): void {
  const inner = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const at = [...path, ...inner];
  if (issue.code === 'unrecognized_keys') {
    const known = namesAt(schema, issue.path);
    for (const key of issue.keys) {
      const hint = didYouMean(key, known, `known are ${known.join(', ')}`);
      report([...at, key], `there is no field ${JSON.stringify(shorten(key))}${hint}`);
    }
    return;
  }
  const found = inner.reduce<unknown>((below, part) => valueAt(below, part), value);
  const expected = { object: 'key: value lines', array: 'a list', record: 'key: value lines' };
  const message =
    issue.code === 'invalid_type' && issue.expected in expected
      ? `expected ${expected[issue.expected as keyof typeof expected]}`
      : issue.message;
  const given = typeof found === 'string' ? `it is ${quote(found)}: ` : '';
  report(at, `${found === undefined ? 'it is missing: ' : given}${message}`);
}

function checkHost(
  host: Rest<RawHost>,
  { boards }: Catalogue,
  report: Report,
): readonly (Board | undefined)[] | undefined {
  return host.gpus?.flatMap(({ board: key, count, power_limit }, index) => {
    const path = ['host', 'gpus', index];
    const board = boards.find((each) => each.key === key);
    if (board === undefined) {
      const keys = boards.map((each) => each.key);
      report(
        [...path, 'board'],
        `no board is called ${quote(key)}${didYouMean(key, keys, `boards are ${keys.join(', ')}`)}`,
      );
    } else if (power_limit !== undefined) {
      const { min, max } = board.powerLimitWatts;
      if (power_limit < min || power_limit > max) {
        report(
          [...path, 'power_limit'],
          `${key} takes a power limit from ${min} to ${max} watts, not ${power_limit}`,
        );
      }
    }
    return new Array<Board | undefined>(count).fill(board);
  });
}

function checkModels(
  engine: Rest<RawEngine>,
  value: unknown,
  path: Path,
  { models }: Catalogue,
  report: Report,
): Model[] {
  const names = modelNames(engine);
  const isSaid =
    isMap(value) && ('model' in value || ((engine.models ?? ['faulty']).length > 0 && 'models' in value));
  if (names.length === 0 && !isSaid) {
    const example = models[0]?.name ?? 'it is published';
    report([...path, 'model'], `it is missing: expected the name of a model, as ${example}`);
  }
  const { kind } = engine;
  const servesMany = kind === undefined || kind === 'triton' || ENGINE_KINDS[kind].loadsOnDemand;
  if (names.length > 1 && !servesMany) {
    report(
      [...path, 'models'],
      `${kind} serves one model; make an engine for each (ollama and triton serve several)`,
    );
  }
  return names.flatMap((name, index) => {
    const isFirst = engine.model !== undefined && index === 0;
    const at = isFirst ? ['model'] : ['models', index - (engine.model === undefined ? 0 : 1)];
    const model = models.find((each) => each.name === name);
    if (model !== undefined) return [model];
    const known = models.map((each) => each.name);
    const hint = didYouMean(name, known, `models are ${known.join(', ')}`);
    report([...path, ...at], `no model is called ${quote(name)}${hint}`);
    return [];
  });
}

function checkGpus(
  { gpus: indexes, kind }: Rest<RawEngine>,
  path: Path,
  gpus: readonly (Board | undefined)[] | undefined,
  report: Report,
): Board[] {
  if (indexes === undefined || gpus === undefined) return [];
  if (indexes.length === 0 && kind !== undefined && ENGINE_KINDS[kind].memory === 'blocks') {
    report([...path, 'gpus'], `${kind} needs a GPU; llamacpp and ollama can do without`);
  }
  const last = gpus.length - 1;
  const there = last < 0 ? 'the host has none' : `the host has ${last === 0 ? 'GPU 0 only' : `0 to ${last}`}`;
  const boards = indexes.flatMap((gpu, index) => {
    if (gpu > last) report([...path, 'gpus', index], `there is no GPU ${gpu}; ${there}`);
    else if (indexes.indexOf(gpu) < index)
      report([...path, 'gpus', index], `GPU ${gpu} is named twice; name it once`);
    return gpus[gpu] ?? [];
  });
  const vendors = new Set(boards.map(({ vendor }) => vendor));
  if (vendors.size > 1)
    report([...path, 'gpus'], 'these GPUs are of two vendors; an engine runs on GPUs of one');
  return boards;
}

function checkEngine({ engine, path, models, boards }: EngineCheck, report: Report): void {
  const { kind, gpus, tensor_parallel: parallel, settings } = engine;
  if (kind === undefined) return;
  const traits = ENGINE_KINDS[kind];
  for (const [name, isFor] of Object.entries(SETTINGS_ONLY_FOR)) {
    if (settings === undefined || !isFor || isFor(kind) || !(name in settings)) continue;
    const value = Object.entries(settings).find(([key]) => key === name)?.[1];
    if (value !== undefined) report([...path, 'settings', name], `${kind} has no such setting; leave it out`);
  }
  if (parallel !== undefined && gpus !== undefined && parallel !== gpus.length) {
    const count = `${gpus.length} GPU${gpus.length === 1 ? '' : 's'}`;
    report(
      [...path, 'tensor_parallel'],
      `it is ${parallel} and the engine has ${count}; make them equal, or leave it out`,
    );
  }
  if (gpus !== undefined && gpus.length > 1 && traits.split === 'tensor') {
    for (const { name, attentionHeads } of models) {
      if (attentionHeads % gpus.length === 0) continue;
      const message = `${name} has ${attentionHeads} attention heads, which ${gpus.length} GPUs cannot share evenly`;
      report([...path, 'gpus'], `${message}; take a number of GPUs that divides them`);
    }
  }
  checkMemory({ engine, path, models, boards }, kind, report);
}

/** Room for weights; that keys and values need some too is seen when the engine plans its blocks. */
function checkMemory({ engine, path, models, boards }: EngineCheck, kind: EngineKind, report: Report): void {
  if (engine.settings === undefined || boards.length === 0 || boards.length !== engine.gpus?.length) return;
  const traits = ENGINE_KINDS[kind];
  const { gpuMemoryRatio, offloadedLayers } = buildSettings(kind, engine.settings);
  const room = boards.reduce(
    (sum, { memoryBytes }) => sum + memoryBytes * gpuMemoryRatio - traits.overheadBytes,
    0,
  );
  const where = `${boards.length} × ${boards[0]?.key ?? 'GPU'} (${gigabytes(boards.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0))})`;
  const field = engine.model === undefined ? 'models' : 'model';
  if (traits.memory === 'blocks') {
    const weights = models.reduce((sum, model) => sum + weightBytes(model), 0);
    if (weights < room) return;
    const names = models.map(({ name }) => name).join(' and ');
    const share = gpuMemoryRatio < 1 ? `, of which ${kind} takes ${gpuMemoryRatio}` : '';
    const message = `the weights of ${names} are ${gigabytes(weights)}, more than there is room for on ${where}${share}`;
    report([...path, field], `${message}; give it more GPUs or a smaller model`);
    return;
  }
  // These put layers on the processor when they do not fit, unless they are told how many must.
  for (const model of models) {
    const layers = Math.min(offloadedLayers ?? 0, model.layers);
    const bytes = (weightBytes(model) * layers) / model.layers;
    if (bytes < room) continue;
    const message = `${layers} layers of ${model.name} are ${gigabytes(bytes)}, more than there is room for on ${where}`;
    report(
      [...path, 'settings', 'gpu_layers'],
      `${message}; give fewer layers, or leave it out for what fits`,
    );
  }
}

/** Engines that take a share of a GPU at their start cannot take more than all of it together. */
function checkSharing(
  engines: readonly EngineCheck[],
  gpus: readonly (Board | undefined)[] | undefined,
  report: Report,
): void {
  const told = new Set<EngineCheck>();
  for (const index of gpus?.keys() ?? []) {
    let taken = 0;
    const before: string[] = [];
    for (const check of engines) {
      const { kind, settings, name = 'another engine', gpus: indexes } = check.engine;
      if (kind === undefined || settings === undefined || indexes?.includes(index) !== true) continue;
      if (ENGINE_KINDS[kind].memory !== 'blocks') continue;
      const { gpuMemoryRatio } = buildSettings(kind, settings);
      taken += gpuMemoryRatio;
      if (taken > 1 + 1e-9 && before.length > 0 && !told.has(check)) {
        told.add(check);
        const message = `it takes ${gpuMemoryRatio} of the memory of GPU ${index}, which ${before.join(' and ')} uses too: ${round(taken)} together`;
        report([...check.path, 'gpus'], `${message}; give it another GPU, or lower memory_ratio of each`);
      }
      before.push(name);
    }
  }
}

function checkTraffic(
  traffic: Rest<RawTraffic>,
  path: Path,
  engines: readonly EngineCheck[],
  report: Report,
): void {
  checkArrivals(traffic.arrivals, [...path, 'arrivals'], report);
  for (const side of ['prompt', 'output'] as const) checkLength(traffic[side], [...path, side], report);
  checkLength(traffic.prefix?.turn_tokens, [...path, 'prefix', 'turn_tokens'], report);
  checkWeights(traffic.tenants, [...path, 'tenants'], report);
  checkWeights(traffic.kinds, [...path, 'kinds'], report);
  const wanted = Object.values(traffic.loras ?? {}).reduce((sum, ratio) => sum + ratio, 0);
  if (wanted > 1 + 1e-9)
    report([...path, 'loras'], `the ratios are ${round(wanted)} together; at most 1 can be`);

  if (traffic.engine === undefined) return;
  const check = engines.find(({ engine }) => engine.name === traffic.engine);
  if (check === undefined) {
    const names = engines.flatMap(({ engine }) => engine.name ?? []);
    // An engine whose name could not be read may be the one that is meant.
    if (names.length < engines.length) return;
    const hint = didYouMean(
      traffic.engine,
      names,
      names.length === 0 ? 'there is none' : `engines are ${names.join(', ')}`,
    );
    report([...path, 'engine'], `no engine is called ${quote(traffic.engine)}${hint}`);
    return;
  }
  checkAgainstEngine(traffic, path, check, report);
}

function checkAgainstEngine(
  traffic: Rest<RawTraffic>,
  path: Path,
  { engine, models }: EngineCheck,
  report: Report,
): void {
  const served = modelNames(engine);
  if (traffic.model !== undefined && served.length > 0 && !served.includes(traffic.model)) {
    const hint = didYouMean(traffic.model, served, `it serves ${served.join(', ')}`);
    report([...path, 'model'], `engine ${traffic.engine} does not serve ${quote(traffic.model)}${hint}`);
  }
  const { kind, settings } = engine;
  if (settings === undefined) return;
  const loras = settings.loras ?? [];
  for (const lora of Object.keys(traffic.loras ?? {})) {
    if (loras.includes(lora)) continue;
    const otherwise = loras.length === 0 ? 'add it to loras in its settings' : `it has ${loras.join(', ')}`;
    report(
      [...path, 'loras', lora],
      `engine ${traffic.engine} has no LoRA ${quote(lora)}${didYouMean(lora, loras, otherwise)}`,
    );
  }
  const model = models.find(({ name }) => name === traffic.model) ?? models[0];
  if (kind === undefined || model === undefined || traffic.max_tokens === undefined) return;
  const context = tokensPerRequest(kind, buildSettings(kind, settings), model);
  const answersOnly = (traffic.kinds?.chat ?? 1) + (traffic.kinds?.completion ?? 0) > 0;
  if (answersOnly && traffic.max_tokens >= context) {
    const message = `a request of engine ${traffic.engine} has room for ${context} tokens, and answers alone may take ${traffic.max_tokens}`;
    report([...path, 'max_tokens'], `${message}; lower it, or raise context_tokens of the engine`);
  }
}

function checkArrivals(arrivals: RawArrivals | undefined, path: Path, report: Report): void {
  if (arrivals === undefined) return;
  const kinds = Object.entries(arrivals).flatMap(([kind, given]) => (given === undefined ? [] : [kind]));
  if (kinds.length === 1) return;
  const found = kinds.length === 0 ? 'nothing' : kinds.join(' and ');
  report(path, `expected one of poisson, diurnal and bursty, and there is ${found}`);
}

function checkLength(length: RawLength | undefined, path: Path, report: Report): void {
  if (length === undefined) return;
  const { shape, scale, median, sigma, min, max } = length;
  if ((shape === undefined) === (median === undefined)) {
    report(path, `expected either shape or median, and there is ${shape === undefined ? 'neither' : 'both'}`);
  } else if (shape !== undefined && sigma !== undefined) {
    report(
      [...path, 'sigma'],
      'a recorded shape has its own spread; leave sigma out, or give median instead of shape',
    );
  } else if (median !== undefined && scale !== undefined) {
    report([...path, 'scale'], 'only a recorded shape is scaled; change median instead');
  }
  if (min !== undefined && max !== undefined && min > max) {
    report([...path, 'min'], `it is ${min} and max is ${max}; min must not be above max`);
  }
}

function checkWeights(
  weights: Readonly<Record<string, number>> | undefined,
  path: Path,
  report: Report,
): void {
  if (weights === undefined || Object.values(weights).some((weight) => weight > 0)) return;
  report(path, 'all weights are 0, so nobody is left to choose; give one more than 0');
}

function sceneAsRead(
  engines: readonly EngineCheck[],
  gpus: readonly (Board | undefined)[],
  traffic: readonly (string | undefined)[],
): IncidentScene {
  return {
    // A board that is not known has been told already; it may have all that an incident needs.
    gpus: gpus.map((board) => ({
      board: board?.key ?? 'it',
      vendor: board?.vendor ?? 'nvidia',
      fan: board === undefined || board.fan !== undefined,
      ecc: board?.ecc ?? true,
    })),
    engines: engines.flatMap(({ engine }) => {
      const { name, kind, model, models } = engine;
      const count = model === undefined && models === undefined ? 2 : modelNames(engine).length;
      return name === undefined ? [] : [{ name, kind, models: count }];
    }),
    traffic: traffic.flatMap((name) => (name === undefined ? [] : [{ name }])),
  };
}

/** @returns the target as text, when the incident can happen */
function checkIncident(
  entry: Rest<RawTimeline>,
  path: Path,
  scene: IncidentScene,
  allTargetsAreRead: boolean,
  report: Report,
): string | undefined {
  if (entry.incident === undefined) return undefined;
  const plan = planIncident({ ...entry, incident: entry.incident }, scene);
  if (plan.ok) return String(plan.incident.target ?? 'host');
  for (const problem of plan.problems) {
    // The target may be what could not be read.
    if (problem.path[0] === 'target' && !allTargetsAreRead) continue;
    report([...path, ...problem.path], problem.message);
  }
  return undefined;
}

interface PlacedEntry {
  readonly entry: Rest<RawTimeline>;
  readonly path: Path;
  readonly target: string | undefined;
}

/** The same incident twice at once on one target: its end would end both. */
function checkOverlaps(entries: readonly PlacedEntry[], report: Report): void {
  const untilOf = ({ entry }: PlacedEntry): number => (entry.at ?? 0) + (entry.for ?? Infinity);
  entries.forEach((later, index) => {
    const { incident, at } = later.entry;
    if (at === undefined || later.target === undefined) return;
    const other = entries.find(
      (each, place) =>
        each.entry.incident === incident &&
        each.target === later.target &&
        each.entry.at !== undefined &&
        at < untilOf(each) &&
        (each.entry.at < at || (each.entry.at === at && place < index)),
    );
    if (other === undefined) return;
    const message = `${incident} goes on there already (line of timeline[${entries.indexOf(other)}])`;
    report(
      [...later.path, 'at'],
      `${message}; begin it after the other has ended, or give that one a shorter "for"`,
    );
  });
}

function checkTwins<Part extends { readonly path: Path }>(
  parts: readonly Part[],
  keyOf: (part: Part) => string | number | undefined,
  field: string,
  mend: string,
  report: Report,
): void {
  const first = new Map<string | number, Part>();
  for (const part of parts) {
    const key = keyOf(part);
    if (key === undefined) continue;
    const other = first.get(key);
    if (other === undefined) first.set(key, part);
    else report([...part.path, field], `${field} ${key} is taken by ${formatPath(other.path)}; ${mend}`);
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What is below; where a word stands for a map, the word. */
function valueAt(value: unknown, part: string | number): unknown {
  if (Array.isArray(value)) return (value as unknown[])[Number(part)];
  if (!isMap(value)) return value;
  return Object.hasOwn(value, part) ? value[String(part)] : undefined;
}

function quote(text: string): string {
  return JSON.stringify(shorten(text));
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

function round(value: number): string {
  return String(Number(value.toFixed(3)));
}
