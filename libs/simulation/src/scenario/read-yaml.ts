import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';

/** Keys and indexes from the document down. */
export type Path = readonly (string | number)[];

/** What is wrong in a scenario, and where. */
export interface ScenarioProblem {
  readonly line: number;
  readonly column: number;
  /** `engines[0].port`; empty for the whole document. */
  readonly path: string;
  /** What is wrong and how to mend it. */
  readonly message: string;
}

/** A problem as one line: `demo.yaml:12:5: engines[0].port: …`. */
export function formatScenarioProblem(
  { line, column, path, message }: ScenarioProblem,
  file: string,
): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`;
}

/** A document whose scalars are all text, as written: `0.10` stays `0.10`. */
export interface YamlText {
  readonly value: unknown;
  /** Of what stands at that path, or of the nearest thing around it that is there. */
  placeOf(path: Path): Pick<ScenarioProblem, 'line' | 'column'>;
}

type YamlRead =
  | { readonly ok: true; readonly yaml: YamlText }
  | { readonly ok: false; readonly problems: readonly ScenarioProblem[] };

/** Far more than a scenario of a thousand engines. */
const LONGEST_TEXT = 1_000_000;
/** The parser works by recursion and by regular expressions built from indentation: neither bears endless nesting. */
const LONGEST_LINE = 2000;
const DEEPEST_BRACKETS = 100;

const FAULTS: Partial<Record<YAMLError['code'], string>> = {
  BAD_INDENT: 'the indentation does not fit the lines above',
  BLOCK_AS_IMPLICIT_KEY:
    'a nested value cannot stand behind "key: value" on the same line; quote text that holds ": "',
  DUPLICATE_KEY: 'the key stands here twice; keep one',
  MISSING_CHAR: 'a quote, bracket, comma or colon is missing',
  MULTIPLE_DOCS: 'there is more than one document (---); keep one',
  TAB_AS_INDENT: 'indent with spaces, YAML takes no tabs',
};

/** Reads YAML as text with places. All faults are told, and nothing is thrown whatever the text is. */
export function readYaml(text: string): YamlRead {
  const tooMuch = whyTooMuch(text);
  if (tooMuch !== undefined) return { ok: false, problems: [{ column: 1, path: '', ...tooMuch }] };
  const lines = new LineCounter();
  const document = parseDocument(text.replace(/^\uFEFF/, ''), {
    prettyErrors: false,
    lineCounter: lines,
    schema: 'failsafe',
  });
  const placeAt = (offset: number): Pick<ScenarioProblem, 'line' | 'column'> => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => ({
      ...placeAt(error.pos[0]),
      path: '',
      message: `this is not valid YAML: ${FAULTS[error.code] ?? error.code.toLowerCase().replaceAll('_', ' ')}`,
    }));
    return { ok: false, problems };
  }
  const oddKeys = placesOfOddKeys(document);
  if (oddKeys.length > 0) {
    const message =
      'a key must be a plain word, and here it is a list, a map or an alias; is a quote missing?';
    return { ok: false, problems: oddKeys.map((offset) => ({ ...placeAt(offset), path: '', message })) };
  }
  const placeOf = (path: Path): Pick<ScenarioProblem, 'line' | 'column'> => placeAt(offsetOf(document, path));
  try {
    const value: unknown = document.toJS();
    return { ok: true, yaml: { value, placeOf } };
  } catch (error) {
    // The library throws so on aliases without an anchor and on those that would explode.
    if (!(error instanceof ReferenceError)) throw error;
    const message = 'its aliases (*) cannot be resolved; write out what they stand for';
    return { ok: false, problems: [{ line: 1, column: 1, path: '', message }] };
  }
}

/** `engines[0].port` */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

function offsetOf(document: Document, path: Path): number {
  let node: Node | undefined = document.contents ?? undefined;
  let offset = node?.range?.[0] ?? 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    let below: unknown;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
      if (pair === undefined) break;
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
      below = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      below = node.items[part];
      if (isNode(below)) offset = below.range?.[0] ?? offset;
    }
    if (!isNode(below)) break;
    node = below;
  }
  return offset;
}

/** Of keys that no scenario has, and which the library would write out as text, over and over when they are nested. */
function placesOfOddKeys(document: Document): number[] {
  const offsets: number[] = [];
  visit(document, {
    Pair: (_, { key }) => {
      if (isScalar(key)) return undefined;
      offsets.push(isNode(key) ? (key.range?.[0] ?? 0) : 0);
      return visit.SKIP;
    },
  });
  return offsets;
}

function whyTooMuch(text: string): Pick<ScenarioProblem, 'line' | 'message'> | undefined {
  if (text.length > LONGEST_TEXT) return { line: 1, message: `it is longer than ${LONGEST_TEXT} characters` };
  let depth = 0;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.length > LONGEST_LINE) {
      return { line: index + 1, message: `this line is longer than ${LONGEST_LINE} characters; break it` };
    }
    for (const character of line) {
      if (character === '[' || character === '{') depth += 1;
      else if (character === ']' || character === '}') depth = Math.max(0, depth - 1);
    }
    if (depth > DEEPEST_BRACKETS) {
      return { line: index + 1, message: `more than ${DEEPEST_BRACKETS} brackets are open here; close them` };
    }
  }
  return undefined;
}
