import type { ModelPlace, ProcessFiles } from './adapter.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from './registry.ts';

/** Programs that run inside an engine and listen for it alone: asking them is touching the engine's inner works. */
const INNER_PROGRAMS = [['ollama', 'runner']] as const;

/** How many words may stand in front of the program that a loader or wrapper starts: its options and their values. */
const WORDS_IN_FRONT = 5;
const INTERPRETER = /(?:^|\/)(?:python[\d.]*|node|bun)$/;
const WRAPPER = /(?:^|\/)(?:uv|uvx|env|bash|sh|ld[-\w.]*\.so[.\d]*)$/;

/** Longest name of a model that is passed on, in characters. */
const MODEL_LENGTH = 128;
const PROGRAM_LENGTH = 64;

/** The engines whose API this command line may serve, by its program. */
export function enginesOf(words: readonly string[]): EngineName[] {
  return ENGINE_NAMES.filter((name) => programAt(words, adapterOf(name).programs) !== undefined);
}

/** Whether it is a program that listens for its engine alone. */
export function isInner(words: readonly string[]): boolean {
  return INNER_PROGRAMS.some(
    ([program, command]) => programAt(words, [program]) !== undefined && words.includes(command),
  );
}

/** Whether this command line is one of the engine's that serves its API. */
export function servesApi(engine: EngineName, words: readonly string[]): boolean {
  return programAt(words, adapterOf(engine).programs) !== undefined && !isInner(words);
}

/**
 * The engine to which a process with this command line belongs: its server, one of its workers, or a process that has
 * put a title of the engine's in place of its command line.
 * @returns undefined where it is none, or could be of several.
 */
export function engineOfArguments(words: readonly string[]): EngineName | undefined {
  const [title = ''] = words;
  const fitting = ENGINE_NAMES.filter((name) => {
    const { programs, commandLine: { workers = [], titles = [] } = {} } = adapterOf(name);
    return (
      programAt(words, [...programs, ...workers]) !== undefined ||
      titles.some((pattern) => pattern.test(title))
    );
  });
  return fitting.length === 1 ? fitting[0] : undefined;
}

/**
 * The model that this command line of the engine serves, under the name by which it serves it; of a path only the last
 * part. Engines that can serve several, and those that are told elsewhere than on the command line, have none.
 */
export function modelOfArguments(engine: EngineName, words: readonly string[]): string | undefined {
  const given = modelGiven(engine, words);
  return given === undefined || given.place.lookUp !== undefined ? undefined : nameOf(given);
}

/**
 * As `modelOfArguments`; a model that is given by its contents (a blob of Ollama's) is looked up in the files that the
 * process sees.
 */
export async function servedModel(
  engine: EngineName,
  words: readonly string[],
  files: ProcessFiles,
): Promise<string | undefined> {
  const given = modelGiven(engine, words);
  if (given?.place.lookUp === undefined) return modelOfArguments(engine, words);
  const name = await given.place.lookUp(given.value, files);
  return name === undefined ? undefined : presentable(name);
}

interface GivenModel {
  readonly place: ModelPlace;
  readonly value: string;
}

function modelGiven(engine: EngineName, words: readonly string[]): GivenModel | undefined {
  const { programs, commandLine: { workers = [], model = [] } = {} } = adapterOf(engine);
  const program = programAt(words, [...programs, ...workers]);
  if (program === undefined) return undefined;
  const behind = words.slice(program + 1);
  for (const place of model) {
    const value = valueOfOption(behind, place.options ?? []) ?? valueBehind(behind, place.behind ?? []);
    if (value !== undefined) return { place, value };
  }
  return undefined;
}

function valueOfOption(words: readonly string[], options: readonly string[]): string | undefined {
  let found: string | undefined;
  for (const [index, word] of words.entries()) {
    const end = word.startsWith('--') ? word.indexOf('=') : -1;
    const option = end === -1 ? word : word.slice(0, end);
    if (!options.includes(option.startsWith('--') ? option.replaceAll('_', '-') : option)) continue;
    const value = end === -1 ? words[index + 1] : word.slice(end + 1);
    if (isValue(value)) found = value;
  }
  return found;
}

function valueBehind(words: readonly string[], commands: readonly string[]): string | undefined {
  for (const command of commands) {
    const expected = command === '' ? [] : command.split(' ');
    if (!expected.every((word, index) => words[index] === word)) continue;
    const value = words[expected.length];
    return isValue(value) ? value : undefined;
  }
  return undefined;
}

function isValue(word: string | undefined): word is string {
  return word !== undefined && word !== '' && !word.startsWith('-');
}

function nameOf({ place, value }: GivenModel): string | undefined {
  const name = place.is === 'file' ? lastPart(value) : withoutPath(value);
  const named = name === undefined || place.nameOf === undefined ? name : place.nameOf(name);
  return named === undefined ? undefined : presentable(named);
}

const SNAPSHOT = /(?:^|\/)models--([^/]+?)--([^/]+)\/snapshots\/[^/]+\/?$/;

/** `organization/name` and names stay; of a path or an address the last part; of a snapshot of the Hub its name there. */
function withoutPath(value: string): string | undefined {
  const [, organization, name] = SNAPSHOT.exec(value) ?? [];
  if (organization !== undefined && name !== undefined) return `${organization}/${name}`;
  const isPath = /^[./~]|\\|:\/\//.test(value) || value.split('/').length > 2 || value.endsWith('/');
  return isPath ? lastPart(value) : value;
}

function lastPart(path: string): string | undefined {
  const location = path.includes('://') ? path.replace(/[?#].*$/s, '') : path;
  return location.split(/[\\/]/).findLast((part) => part !== '');
}

/** A digest is no name, and neither is what cannot be read. */
function presentable(name: string): string | undefined {
  const isDigest = /^(?:sha256[-:])?[0-9a-f]{40,}$/.test(name);
  return name === '' || name === '.' || name === '..' || isDigest || /\p{C}/u.test(name)
    ? undefined
    : name.slice(0, MODEL_LENGTH);
}

/**
 * The name of the program alone, of an interpreter the script or module that it runs: nothing else of a command line is
 * fit to be shown, since it may hold a key.
 */
export function programOfArguments(words: readonly string[]): string | undefined {
  const engine = programAt(
    words,
    ENGINE_NAMES.flatMap((name) => adapterOf(name).programs),
  );
  return baseName(words[engine ?? scriptAt(words) ?? 0] ?? '');
}

/** Where a script or module certainly stands: in its place there may also be code (`-c CODE`) or an option's value. */
function scriptAt(words: readonly string[]): number | undefined {
  if (!INTERPRETER.test(words[0] ?? '')) return undefined;
  const [place = 0] = interpretedAt(words);
  const [option = '', word = ''] = words.slice(place - 1, place + 1);
  if (option === '-m') return /^[\w.-]+$/.test(word) ? place : undefined;
  const isCode = /^-(?:c|e|p|-eval|-print)$/.test(option);
  return !isCode && /^\S+\.(?:py|[cm]?js|ts)$|^\/\S+$/.test(word) ? place : undefined;
}

/** A title can be a whole line in one word: what is behind the first space is not the program. */
function baseName(word: string): string | undefined {
  const name = word
    .trim()
    .split(/\s/, 1)[0]
    ?.split('/')
    .findLast((part) => part !== '')
    ?.slice(0, PROGRAM_LENGTH);
  return name === undefined || name === '' ? undefined : name;
}

/**
 * Where in the command line the program stands, when it is one of these: its first word, the script or module of an
 * interpreter, or what a loader loads. A word further behind, or the value of an option (`--notebook-dir=…/vllm`), is
 * what a program works on, not what it is.
 */
function programAt(words: readonly string[], programs: readonly string[]): number | undefined {
  const [first = ''] = words;
  const inFront = Array.from({ length: WORDS_IN_FRONT }, (_, index) => index + 1);
  const further = INTERPRETER.test(first) ? interpretedAt(words) : WRAPPER.test(first) ? inFront : [];
  return [0, ...further].find((place) => isProgram(words[place] ?? '', programs));
}

/** Where the module stands that an interpreter runs (`-m MODULE`), else its script: the first word that is no option. */
function interpretedAt(words: readonly string[]): number[] {
  const start = words.findIndex((word, index) => index > 0 && (word === '-m' || !word.startsWith('-')));
  if (start === -1) return [];
  return [words[start] === '-m' ? start + 1 : start];
}

function isProgram(word: string, programs: readonly string[]): boolean {
  return programs.some((program) => word === program || word.endsWith(`/${program}`));
}

/** Of several ports that a process serves on, the one to ask: where its metrics are, by the order of its defaults. */
export function apiPort(
  own: ReadonlySet<number>,
  named: readonly number[],
  defaults: readonly number[],
): number | undefined {
  const open = named.filter((port) => own.has(port));
  if (named.length > 0) return open.find((port) => defaults.includes(port)) ?? open[0];
  return defaults.find((port) => own.has(port)) ?? [...own][0];
}

/**
 * The port of the API among those on which a process listens: the one named on its command line, else the engine's
 * default, else the only one.
 * @returns undefined where none of these is certain.
 */
export function certainPort(
  engine: EngineName | undefined,
  words: readonly string[],
  own: ReadonlySet<number>,
): number | undefined {
  const named = portsNamed(words);
  const defaults = engine === undefined ? [] : adapterOf(engine).ports;
  if (named.length === 0 && own.size > 1) return defaults.find((port) => own.has(port));
  return apiPort(own, named, defaults);
}

/** Options that name the port of an API or of its metrics; others (`--nccl-port`, `--grpc-port`) are the engine's own. */
const PORT_OPTION = /^(?:--(?:http-|server-|metrics-)?port|-p)$/;

/** The ports that a command line names. */
export function portsNamed(words: readonly string[]): number[] {
  return words.flatMap((word, index) => {
    const [option = '', inline] = word.split('=', 2);
    const port = PORT_OPTION.test(option) ? Number(inline ?? words[index + 1]) : NaN;
    return Number.isInteger(port) && port > 0 ? [port] : [];
  });
}
