import {
  boards,
  BUILT_IN_SCENARIOS,
  formatScenarioProblem,
  MODELS,
  parseScenario,
  type Scenario,
} from '@llm-monitor/simulation';

import type { Settings } from './settings.ts';

export type LoadedScenario =
  { readonly ok: true; readonly scenario: Scenario } | { readonly ok: false; readonly message: string };

/**
 * The scenario of a setting: one that comes with the mock, or a file.
 * @param readFile throws where there is none
 */
export function loadScenario(name: string, readFile: (path: string) => string): LoadedScenario {
  const builtIn = Object.hasOwn(BUILT_IN_SCENARIOS, name) ? BUILT_IN_SCENARIOS[name] : undefined;
  let text: string;
  try {
    text = builtIn ?? readFile(name);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const names = Object.keys(BUILT_IN_SCENARIOS).join(', ');
    return {
      ok: false,
      message: `scenario ${JSON.stringify(name)} is neither one of ${names} nor a file that can be read (${why}); set MOCK_EXPORTER_SCENARIO`,
    };
  }
  const read = parseScenario(text, { boards: Object.values(boards), models: MODELS });
  if (read.ok) return read;
  const problems = read.problems.map((problem) => `\n  ${formatScenarioProblem(problem, name)}`).join('');
  return { ok: false, message: `scenario ${name} has ${read.problems.length} problem(s):${problems}` };
}

/** What is wrong where an engine has the port of the mock itself, which the scenario knows nothing of. */
export function portClash(
  { engines }: Scenario,
  { scenario, host, engineHost, port }: Pick<Settings, 'scenario' | 'host' | 'engineHost' | 'port'>,
): string | undefined {
  const engine = engines.find((each) => each.port !== 0 && each.port === port);
  if (engine === undefined || host !== engineHost) return undefined;
  return `scenario ${scenario}: port ${port} of engine ${engine.name} is that of the mock itself; give the engine another, or set MOCK_EXPORTER_PORT`;
}
