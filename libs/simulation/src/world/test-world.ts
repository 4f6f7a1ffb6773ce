import { MODELS } from '../engine/models.ts';
import { boards } from '../gpu/boards.ts';
import { parseScenario } from '../scenario/scenario.ts';
import { SimulatedWorld } from './simulated-world.ts';

/** A world of a scenario's text, for tests. @throws Error with the scenario's problems */
export function worldOf(text: string): SimulatedWorld {
  const read = parseScenario(text, { boards: Object.values(boards), models: Object.values(MODELS) });
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return new SimulatedWorld(read.scenario);
}
