import { allEngines } from './all-engines.ts';
import { amd } from './amd.ts';
import { demo } from './demo.ts';
import { rack } from './rack.ts';

/** Scenarios that come with the mock, as YAML by name: the only list. */
export const BUILT_IN_SCENARIOS: Readonly<Record<string, string>> = {
  demo,
  'all-engines': allEngines,
  rack,
  amd,
};
