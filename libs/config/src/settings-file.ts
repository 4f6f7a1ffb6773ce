import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument, type YAMLError } from 'yaml';
import { didYouMean } from './nearest-name.ts';
import { type SettingsProblem, unreadableReason } from './problem.ts';

/** One key of a settings file. */
export interface FileEntry {
  readonly value: unknown;
  /** `settings.yaml, line 3`, for messages. */
  readonly where: string;
}

/** What a settings file says. `complete` is false when it could not be read, so that absence in it means nothing. */
export interface SettingsFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, FileEntry>;
  readonly complete: boolean;
  readonly problems: readonly SettingsProblem[];
}

const YAML_FAULTS: Partial<Record<YAMLError['code'], string>> = {
  BAD_INDENT: 'the indentation does not fit the lines above',
  BLOCK_AS_IMPLICIT_KEY:
    'a nested value cannot stand behind "key: value" on the same line; quote text that holds ": "',
  DUPLICATE_KEY: 'the key stands in the file twice; keep one',
  MISSING_CHAR: 'a quote, bracket, comma or colon is missing',
  MULTIPLE_DOCS: 'there is more than one document (---); keep one',
  TAB_AS_INDENT: 'indent with spaces, YAML takes no tabs',
};

/** Reads a YAML settings file (a map of camelCase keys). Messages name lines and keys, and never quote values. */
export function readSettingsFile(
  path: string,
  where: string,
  readFile: (path: string) => string,
  known: readonly string[],
  secrets: readonly string[],
): SettingsFile {
  const failed = (problems: readonly SettingsProblem[]): SettingsFile => ({
    path,
    entries: new Map(),
    complete: false,
    problems,
  });
  let source: string;
  try {
    source = readFile(path);
  } catch (error) {
    const message = `settings file ${path}: ${unreadableReason(error)}`;
    return failed([{ kind: 'unreadable-file', where, message }]);
  }

  const lines = new LineCounter();
  const document = parseDocument(source.replace(/^\uFEFF/, ''), { prettyErrors: false, lineCounter: lines });
  const placeOf = (offset: number) => `${path}, line ${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    return failed(
      document.errors.map((error) => {
        const fault = YAML_FAULTS[error.code] ?? error.code.toLowerCase().replaceAll('_', ' ');
        const { line, col } = lines.linePos(error.pos[0]);
        const message = `this is not valid YAML: ${fault}`;
        return { kind: 'bad-file', where: `${path}, line ${line}, column ${col}`, message };
      }),
    );
  }
  const contents = document.contents;
  if (contents === null || (isScalar(contents) && contents.value === null)) {
    return { path, entries: new Map(), complete: true, problems: [] };
  }
  if (!isMap(contents)) {
    const message = 'expected one "key: value" a line, for example port: 9500';
    return failed([{ kind: 'bad-file', where: path, message }]);
  }

  const entries = new Map<string, FileEntry>();
  const problems: SettingsProblem[] = [];
  for (const { key, value } of contents.items) {
    const place = isScalar(key) ? placeOf(key.range?.[0] ?? 0) : path;
    const name = isScalar(key) ? String(key.value) : '';
    if (!known.includes(name)) {
      const message = secrets.includes(name)
        ? `${name} is a secret; write it into a file of its own and name that with ${name}File`
        : unknownKey(name, known);
      problems.push({ kind: 'unknown-name', where: place, message });
      continue;
    }
    const native = toNative(value, document);
    if (native.ok) entries.set(name, { value: native.value, where: `${name} (${place})` });
    else
      problems.push({
        kind: 'bad-file',
        where: `${name} (${place})`,
        message: 'its aliases (*) cannot be resolved',
      });
  }
  return { path, entries, complete: problems.every(({ kind }) => kind !== 'bad-file'), problems };
}

function unknownKey(name: string, known: readonly string[]): string {
  const shown = name.length > 40 ? `${name.slice(0, 40)}…` : name;
  const hint = didYouMean(name, known, `known keys are ${known.join(', ')}`);
  return `no setting is called ${JSON.stringify(shown)}${hint}`;
}

/** A YAML node as plain data. The library throws on aliases without anchor and on those that would explode. */
function toNative(node: unknown, document: Document): { ok: true; value: unknown } | { ok: false } {
  try {
    const plain: unknown = isNode(node) ? node.toJS(document) : node;
    return { ok: true, value: plain };
  } catch (error) {
    if (error instanceof ReferenceError) return { ok: false };
    throw error;
  }
}
