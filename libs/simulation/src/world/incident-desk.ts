import { incidentOf, type IncidentName, type PlannedIncident } from '../scenario/incidents.ts';
import type { IncidentStage } from './world-parts.ts';
import { playedIncidents } from './play-incidents.ts';

/** An incident that is going on. */
export interface ActiveIncident {
  /** For `stop`; unique in a world. */
  readonly id: number;
  readonly incident: PlannedIncident;
  /** Seconds of the world. */
  readonly startedSeconds: number;
  /** When it ends by itself; undefined for one that is ended by hand. */
  readonly endsSeconds: number | undefined;
}

interface Active extends ActiveIncident {
  readonly end: () => void;
  readonly forgetEnd: () => void;
}

/** Starts and stops incidents in a world. */
export class IncidentDesk {
  private readonly stage: IncidentStage;
  private readonly going = new Map<number, Active>();
  private started = 0;

  constructor(stage: IncidentStage) {
    this.stage = stage;
  }

  get active(): readonly ActiveIncident[] {
    return [...this.going.values()];
  }

  /**
   * @param forSeconds until it ends by itself; until `stop` when undefined
   * @returns undefined where the same incident already happens to the same target
   */
  start(incident: PlannedIncident, forSeconds?: number): ActiveIncident | undefined {
    const isGoing = this.active.some(
      (other) => other.incident.name === incident.name && other.incident.target === incident.target,
    );
    if (isGoing) return undefined;
    const { scheduler } = this.stage;
    const id = (this.started += 1);
    const endsSeconds = forSeconds === undefined ? undefined : scheduler.now + forSeconds;
    const active: Active = {
      id,
      incident,
      startedSeconds: scheduler.now,
      endsSeconds,
      end: play(this.stage, incident),
      forgetEnd:
        endsSeconds === undefined ? () => undefined : scheduler.at(endsSeconds, () => void this.stop(id)),
    };
    this.going.set(id, active);
    return active;
  }

  /** @returns undefined where no such incident is going on */
  stop(id: number): ActiveIncident | undefined {
    const active = this.going.get(id);
    if (active === undefined) return undefined;
    this.going.delete(id);
    active.forgetEnd();
    active.end();
    return active;
  }

  /** Ends each one of that name, on every target. @returns how many there were */
  stopAll(name: IncidentName): number {
    const ids = this.active.filter(({ incident }) => incident.name === name).map(({ id }) => id);
    for (const id of ids) this.stop(id);
    return ids.length;
  }
}

/** A name, a target and parameters of one entry belong together, which the compiler cannot see of a union. */
function play(stage: IncidentStage, { name, target, parameters }: PlannedIncident): () => void {
  const incident = playedIncidents[name] as (
    stage: IncidentStage,
    target: PlannedIncident['target'],
    parameters: PlannedIncident['parameters'],
  ) => () => void;
  return incident(stage, target, parameters);
}

/** What it happens to, in words: `gpu 0`, `engine chat`. */
export function targetText({ name, target }: PlannedIncident): string {
  const kind = incidentOf(name).target;
  return kind === 'host' ? 'the host' : `${kind} ${target}`;
}
