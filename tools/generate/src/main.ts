import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { renderEnvExample, renderSettingsDocs } from '@llm-monitor/config';
import { settings as gpuExporterSettings } from '@llm-monitor/gpu-exporter/settings';
import { settings as llmExporterSettings } from '@llm-monitor/llm-exporter/settings';
import { settings as mockExporterSettings } from '@llm-monitor/mock-exporter/settings';
import { settings as monitorSettings } from '@llm-monitor/monitor/settings';
import { dashboardFiles, ruleFiles } from '@llm-monitor/observability';

import { enginesPage } from './engines-page.ts';
import { metricsPage } from './metrics-page.ts';
import { stackSection } from './stack-variables.ts';
import { xidsPage } from './xids-page.ts';

const definitions = [monitorSettings, gpuExporterSettings, llmExporterSettings, mockExporterSettings];

/** Every generated file and its text. */
const FILES: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/engines.md': enginesPage,
  'docs/metrics.md': metricsPage,
  'docs/settings.md': () => renderSettingsDocs(definitions),
  'docs/xids.md': xidsPage,
  ...Object.fromEntries(
    Object.entries(ruleFiles()).map(([file, text]) => [`compose/prometheus/${file}`, () => text]),
  ),
  ...Object.fromEntries(
    Object.entries(dashboardFiles()).map(([file, text]) => [`compose/grafana/${file}`, () => text]),
  ),
  '.env.example': () => `${renderEnvExample(definitions)}\n${stackSection(definitions)}`,
};

/** Writes the generated files, or with `--check` says which are out of date and exits with 1. */
async function main(argv: readonly string[]): Promise<void> {
  const check = argv.includes('--check');
  const stale: string[] = [];
  for (const [file, render] of Object.entries(FILES)) {
    const text = `${(await render()).trimEnd()}\n`;
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    stale.push(file);
    if (check) continue;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  if (stale.length === 0) return;
  process.stderr.write(
    check ? `Out of date: ${stale.join(', ')}. Run make generate.\n` : `Written: ${stale.join(', ')}\n`,
  );
  if (check) process.exitCode = 1;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
