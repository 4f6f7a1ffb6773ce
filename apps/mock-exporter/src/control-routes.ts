import { didYouMean } from '@llm-monitor/config';
import { readBody, RequestError, type HttpContext, type HttpRouter } from '@llm-monitor/exporter-http';
import {
  INCIDENT_NAMES,
  incidentOf,
  isIncidentName,
  planIncident,
  targetText,
  type ActiveIncident,
  type SimulatedWorld,
} from '@llm-monitor/simulation';

import type { Pacer } from './pacer.ts';

const MAX_BODY_BYTES = 64 * 1024;
/** Nothing else is answered while the world runs ahead. */
const MAX_ADVANCE_SECONDS = 60;
const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;

/** A simulated engine, and where it listens. */
export interface MockEngine {
  readonly name: string;
  readonly kind: string;
  readonly url: string | undefined;
}

export interface ControlParts {
  readonly world: SimulatedWorld;
  readonly pacer: Pacer;
  /** The engines with their addresses, once they listen. */
  readonly engines: () => readonly MockEngine[];
  /** Whether clients had to show who they are; those of this machine need not. */
  readonly isGuarded: boolean;
}

/** The control API: what can happen in the world, what goes on, and to start and stop it. */
export function controlRoutes(router: HttpRouter, { world, pacer, engines, isGuarded }: ControlParts): void {
  const guard = (ctx: HttpContext): void => {
    if (isGuarded || LOOPBACK.test(ctx.req.socket.remoteAddress ?? '')) return;
    throw new RequestError(
      403,
      'The control API answers to this machine only, unless the mock has a token or users: set MOCK_EXPORTER_AUTH_TOKEN_FILE or the like.',
    );
  };

  router.get('/api/incidents', (ctx) => {
    guard(ctx);
    pacer.catchUp();
    ctx.body = {
      incidents: INCIDENT_NAMES.map((name) => {
        const { title, effect, target, needs, parameters, signs } = incidentOf(name);
        return { name, title, effect, target, needs, parameters, signs };
      }),
      targets: {
        engine: engines(),
        gpu: world.scene.gpus.map(({ board }, index) => ({ name: String(index), kind: board })),
        traffic: world.scene.traffic.map(({ name }) => ({ name })),
      },
      active: world.incidents.active.map(activeView),
    };
  });

  router.post('/api/incidents', async (ctx) => {
    guard(ctx);
    const body = await readJson(ctx, ['incident', 'target', 'parameters', 'for_seconds']);
    pacer.catchUp();
    const { target, parameters, for_seconds: seconds } = body;
    const problems: string[] = [];
    if (target !== undefined && wordOf(target) === undefined)
      problems.push('target: expected a name, or the number of a GPU');
    if (parameters !== undefined && !isRecord(parameters)) problems.push('parameters: expected an object');
    if (seconds !== undefined && !isDuration(seconds))
      problems.push('for_seconds: expected a number of seconds above 0');
    const plan = planIncident(
      {
        incident: wordOf(body['incident']) ?? '',
        target: wordOf(target),
        parameters: isRecord(parameters) ? parameters : undefined,
      },
      world.scene,
    );
    if (!plan.ok) problems.push(...plan.problems.map(({ path, message }) => `${path.join('.')}: ${message}`));
    if (!plan.ok || problems.length > 0)
      throw new RequestError(400, problems.join('; '), { facts: { problems } });
    const active = world.incidents.start(plan.incident, isDuration(seconds) ? seconds : undefined);
    if (active === undefined) {
      throw new RequestError(
        409,
        `${plan.incident.name} goes on already on ${targetText(plan.incident)}; stop it first`,
      );
    }
    ctx.status = 201;
    ctx.body = activeView(active);
  });

  router.delete('/api/incidents/:which', (ctx) => {
    guard(ctx);
    pacer.catchUp();
    const which = String(ctx['params']?.['which'] ?? '');
    const stopped = isIncidentName(which)
      ? world.incidents.stopAll(which)
      : Number(world.incidents.stop(Number(which)) !== undefined);
    if (stopped === 0) {
      const names = [...new Set(world.incidents.active.map(({ incident }) => incident.name))];
      const there = names.length === 0 ? 'nothing does' : `these do: ${names.join(', ')}`;
      throw new RequestError(404, `No incident ${JSON.stringify(which)} goes on; ${there}.`);
    }
    ctx.body = { stopped };
  });

  router.post('/api/speed', async (ctx) => {
    guard(ctx);
    const { speed } = await readJson(ctx, ['speed']);
    if (typeof speed !== 'number' || !(speed >= 0 && speed <= 1000)) {
      throw new RequestError(400, 'speed: expected a number from 0 to 1000');
    }
    pacer.setSpeed(speed);
    ctx.body = { speed };
  });

  router.post('/api/advance', async (ctx) => {
    guard(ctx);
    const { seconds } = await readJson(ctx, ['seconds']);
    if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= MAX_ADVANCE_SECONDS)) {
      throw new RequestError(400, `seconds: expected a number above 0, and ${MAX_ADVANCE_SECONDS} at most`);
    }
    pacer.advance(seconds);
    ctx.body = { now: world.now };
  });

  router.post('/api/load', async (ctx) => {
    guard(ctx);
    const { traffic, factor } = await readJson(ctx, ['traffic', 'factor']);
    if (typeof factor !== 'number' || !(factor >= 0 && factor <= 1000)) {
      throw new RequestError(400, 'factor: expected a number from 0 to 1000');
    }
    const chosen = world.traffics.filter(({ state }) => traffic === undefined || state.name === traffic);
    if (chosen.length === 0) {
      const names = world.traffics.map(({ state }) => state.name).join(', ');
      throw new RequestError(404, `No traffic is called ${JSON.stringify(traffic)}; there are ${names}.`);
    }
    pacer.catchUp();
    for (const source of chosen) source.setLoadFactor(factor);
    ctx.body = { traffic: chosen.map(({ state }) => state.name), factor };
  });
}

function activeView({ id, incident, startedSeconds, endsSeconds }: ActiveIncident): object {
  return { id, incident: incident.name, target: targetText(incident), startedSeconds, endsSeconds };
}

/**
 * @param known fields; one that is misspelled must not be left out unseen
 * @throws RequestError where the body is no JSON object, or has other fields
 */
async function readJson(
  ctx: HttpContext,
  known: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const value = parsed((await readBody(ctx, MAX_BODY_BYTES)).toString('utf8'));
  if (!isRecord(value)) throw new RequestError(400, 'The body of this request is no JSON object.');
  const problems = Object.keys(value)
    .filter((field) => !known.includes(field))
    .map(
      (field) =>
        `there is no field ${JSON.stringify(field)}${didYouMean(field, known, `known are ${known.join(', ')}`)}`,
    );
  if (problems.length > 0) throw new RequestError(400, problems.join('; '), { facts: { problems } });
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // JSON has no such value.
  }
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && Number.isFinite(value);
}

/** A GPU may be named by a number. */
function wordOf(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
