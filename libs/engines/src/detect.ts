import { parseExposition } from '@llm-monitor/metrics-core';

import type { Answer, Fingerprint } from './adapter.ts';
import { MAX_EXPOSITION_SERIES, unquoted } from './answers.ts';
import type { Get } from './http-get.ts';
import { listAt, textAt } from './json.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from './registry.ts';
import { SAFE_PATHS } from './safe-paths.ts';
import { TargetError } from './target-error.ts';

export interface Detection {
  readonly engine: EngineName;
  /** What gave it away: a path and what was there, for people and for `llm_engine_info{detected_by}`. */
  readonly by: string;
}

/**
 * Asks a target what it is: only what the candidates' fingerprints name, in the order of `SAFE_PATHS`, until one fits.
 * @returns undefined for a stranger. @throws TargetError when it cannot be reached at all.
 */
export async function detectEngine(
  get: Get,
  signal: AbortSignal,
  candidates: readonly EngineName[] = ENGINE_NAMES,
): Promise<Detection | undefined> {
  // What was asked as one engine may say that it is another, on a port that is not its own.
  const known = [...candidates, ...ENGINE_NAMES.filter((name) => !candidates.includes(name))];
  const seen: SeenAnswer[] = [];
  let broken: TargetError | undefined;
  let refused: TargetError | undefined;
  for (const path of pathsFor(candidates)) {
    if (seen.some(({ effects }) => effects === path)) continue;
    const answer = await get(path, signal).catch((error: unknown) => {
      // One path that breaks (a redirect, an endless body) says nothing of the others; a dead target does.
      if (!(error instanceof TargetError && ANSWERED.has(error.reason))) throw error;
      broken ??= error;
      return undefined;
    });
    if (answer === undefined) continue;
    const look = lookAt(answer);
    seen.push(look);
    const found = strongMatch(look, known);
    if (found !== undefined) return found;
    if (answer.status === 401 || answer.status === 403) {
      refused ??= new TargetError(
        'unauthorized',
        path,
        `answered ${answer.status}: give the target's key in its token setting`,
      );
    }
  }
  const found = weakMatch(seen, candidates);
  if (found === undefined && refused !== undefined) throw refused;
  // Where no path gave an answer, why it did not says more than that nothing was recognized.
  if (seen.length === 0 && broken !== undefined) throw broken;
  return found;
}

const ANSWERED: ReadonlySet<string> = new Set(['redirected', 'too_large', 'not_http']);

/** Which engine a single answer (or file) belongs to, by its fingerprints. Pure. */
export function recognize(
  answer: Answer,
  candidates: readonly EngineName[] = ENGINE_NAMES,
): Detection | undefined {
  const look = lookAt(answer);
  return strongMatch(look, candidates) ?? weakMatch([look], candidates);
}

interface SeenAnswer {
  readonly answer: Answer;
  readonly json: unknown;
  readonly familyNames: readonly string[];
  /** A path that must not be asked after what was seen here. */
  readonly effects?: string;
}

/**
 * `/metrics` has an effect on these, told by `owned_by`: MLC-LLM generates, trtllm-serve hands out its queue, and
 * llama-server before August 2026 wakes a sleeping model.
 */
const METRICS_HAVE_EFFECT = ['MLC-LLM', 'tensorrt_llm', 'llamacpp'];

function lookAt(answer: Answer): SeenAnswer {
  const body = answer.body.trimStart();
  const ok = answer.status >= 200 && answer.status < 300;
  const json = ok && (body.startsWith('{') || body.startsWith('[')) ? parsed(body) : undefined;
  const isExposition = ok && json === undefined && !body.startsWith('<') && answer.path.includes('metrics');
  const familyNames = isExposition
    ? parseExposition(unquoted(answer.body), { maxSeries: MAX_EXPOSITION_SERIES }).families.map(
        ({ name }) => name,
      )
    : [];
  const owner = ownerOf(json);
  const effects = owner !== undefined && METRICS_HAVE_EFFECT.includes(owner) ? { effects: '/metrics' } : {};
  return { answer, json, familyNames, ...effects };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return undefined;
  }
}

function ownerOf(json: unknown): string | undefined {
  return textAt(listAt(json, 'data')[0], 'owned_by');
}

function pathsFor(candidates: readonly EngineName[]): readonly string[] {
  const wanted = new Set(
    candidates.flatMap((name) =>
      adapterOf(name).fingerprints.flatMap((fingerprint) =>
        'path' in fingerprint ? [fingerprint.path] : ['/v1/models'],
      ),
    ),
  );
  return SAFE_PATHS.filter((path) => wanted.has(path));
}

function strongMatch(look: SeenAnswer, candidates: readonly EngineName[]): Detection | undefined {
  for (const engine of candidates) {
    for (const fingerprint of adapterOf(engine).fingerprints) {
      const by = 'ownedBy' in fingerprint ? undefined : fits(fingerprint, look);
      if (by !== undefined) return { engine, by };
    }
  }
  return undefined;
}

function weakMatch(seen: readonly SeenAnswer[], candidates: readonly EngineName[]): Detection | undefined {
  for (const { json } of seen) {
    const owner = ownerOf(json);
    if (owner === undefined) continue;
    for (const engine of candidates) {
      const owned = adapterOf(engine).fingerprints.some(
        (fingerprint) =>
          'ownedBy' in fingerprint &&
          (fingerprint.ownedBy.includes(owner) || fingerprint.ownedBy.includes('*')),
      );
      if (owned) return { engine, by: `/v1/models owned_by ${owner.slice(0, 40)}` };
    }
  }
  return undefined;
}

/** What in the answer fits the fingerprint, or undefined. */
function fits(fingerprint: Exclude<Fingerprint, { ownedBy: unknown }>, look: SeenAnswer): string | undefined {
  const { answer, json, familyNames } = look;
  if ('header' in fingerprint) {
    const [name, value] = fingerprint.header;
    return answer.headers[name] === value ? `header ${name}: ${value}` : undefined;
  }
  if (fingerprint.path !== answer.path) return undefined;
  if ('json' in fingerprint) {
    return json !== undefined && fingerprint.json(json) ? `${answer.path} answered as it does` : undefined;
  }
  if ('text' in fingerprint)
    return answer.body.includes(fingerprint.text) ? `${answer.path} says ${fingerprint.text}` : undefined;
  const begins = (prefix: string): boolean => familyNames.some((name) => name.startsWith(prefix));
  const first = fingerprint.families.find(begins);
  if (first === undefined) return undefined;
  if (!(fingerprint.with ?? []).every(begins) || (fingerprint.without ?? []).some(begins)) return undefined;
  return `${answer.path} has ${first}*`;
}
