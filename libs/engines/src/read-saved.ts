import type { EngineRequest } from './adapter.ts';
import { Answers, type Answer } from './answers.ts';
import type { Get } from './http-get.ts';
import { recognize, type Detection } from './detect.ts';
import { normalize } from './normalize.ts';
import { createEngineReader, take } from './read-engine.ts';
import type { EngineReading } from './reading.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from './registry.ts';
import { TargetError } from './target-error.ts';
import { isTranscript, parseTranscript } from './transcript.ts';

export interface SavedReading {
  readonly engine: EngineName;
  readonly detectedBy: string;
  readonly reading: EngineReading;
}

/**
 * Normalizes what was saved from an engine: an exposition, one JSON answer, or a transcript of several.
 * @param name what the file is called, for messages and for the `server` label
 * @throws TargetError when nothing in it is an engine's, or not the named engine's.
 */
export async function readSaved(text: string, name: string, engine?: EngineName): Promise<SavedReading> {
  const saved = isTranscript(text)
    ? parseTranscript(text)
    : [{ path: '', status: 200, headers: {}, body: text }];
  const detection = engine === undefined ? recognizeSaved(saved) : { engine, by: 'given' };
  if (detection === undefined) {
    throw new TargetError(
      'not_recognized',
      name,
      `is not an answer of any engine known: name one of ${ENGINE_NAMES.join(', ')} with --engine`,
    );
  }
  const reading = isTranscript(text)
    ? await readTranscript(saved, name, detection)
    : readSingle(saved[0]?.body ?? '', name, detection);
  return { engine: detection.engine, detectedBy: detection.by, reading };
}

/** A transcript is read as a live engine is: what it does not hold is not found. */
async function readTranscript(
  saved: readonly Answer[],
  name: string,
  { engine, by }: Detection,
): Promise<EngineReading> {
  const get: Get = (path) => {
    const found = saved.find((answer) => answer.path === path);
    return Promise.resolve(found ?? { path, status: 404, headers: {}, body: '' });
  };
  const read = createEngineReader({
    adapter: adapterOf(engine),
    identity: { server: SAVED_SERVER, engine },
    url: name,
    detectedBy: by,
    get,
    now: () => 0,
  });
  return read(new AbortController().signal);
}

function readSingle(body: string, name: string, { engine, by }: Detection): EngineReading {
  const adapter = adapterOf(engine);
  const request = requestFor(body, adapter.requests);
  if (request === undefined) {
    throw new TargetError(
      'not_recognized',
      name,
      `is not among the answers that are read of ${adapter.title}`,
    );
  }
  const answers = new Answers();
  const path = pathOf(request);
  answers.noteStatus(path, 200);
  take(adapter, request, { path, status: 200, headers: {}, body }, {}, answers, name);
  return normalize(adapter, { server: SAVED_SERVER, engine }, { answers, detectedBy: by, errors: [] });
}

/** The `server` label of what was read from a file. */
const SAVED_SERVER = 'saved';

/** A saved answer without its path is tried as an answer to each safe path that fingerprints name. */
function recognizeSaved(saved: readonly Answer[]): Detection | undefined {
  for (const engine of ENGINE_NAMES) {
    for (const { path } of fingerprintPaths(engine)) {
      for (const answer of saved) {
        if (answer.path !== '' && answer.path !== path) continue;
        const found = recognize({ ...answer, path }, [engine]);
        if (found !== undefined) return found;
      }
    }
  }
  return recognizeByShape(saved);
}

function fingerprintPaths(engine: EngineName): { path: string }[] {
  return adapterOf(engine).fingerprints.map((fingerprint) => ({
    path: 'path' in fingerprint ? fingerprint.path : '/v1/models',
  }));
}

function recognizeByShape(saved: readonly Answer[]): Detection | undefined {
  for (const { body } of saved) {
    const value = jsonOf(body);
    if (value === undefined) continue;
    for (const engine of ENGINE_NAMES) {
      const request = adapterOf(engine).requests.find(
        ({ shape, distinctive }) => distinctive === true && shape?.(value) === true,
      );
      if (request !== undefined) return { engine, by: `the shape of ${pathOf(request)}` };
    }
  }
  return undefined;
}

function requestFor(body: string, requests: readonly EngineRequest[]): EngineRequest | undefined {
  const value = jsonOf(body);
  if (value === undefined) return requests.find(({ as }) => as === 'exposition');
  return requests.find(({ as, shape }) => as === 'json' && shape?.(value) === true);
}

/** The path of a request; of one whose path depends on other answers, the name it has in its list. */
function pathOf({ path, name }: EngineRequest): string {
  return typeof path === 'string' ? path : (name ?? '');
}

function jsonOf(body: string): unknown {
  const start = body.trimStart()[0];
  if (start !== '{' && start !== '[') return undefined;
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}
