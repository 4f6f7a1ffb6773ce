import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { renderEnvExample, renderSettingsDocs } from '@llm-monitor/config';
import { settings as llmExporterSettings } from '@llm-monitor/llm-exporter/settings';
import { settings as monitorSettings } from '@llm-monitor/monitor/settings';

import { enginesPage } from './engines-page.ts';
import { metricsPage } from './metrics-page.ts';

const definitions = [monitorSettings, llmExporterSettings];

/** Every generated file and its text. */
const FILES: Readonly<Record<string, () => string>> = {
  'docs/engines.md': enginesPage,
  'docs/metrics.md': metricsPage,
  'docs/settings.md': () => renderSettingsDocs(definitions),
  '.env.example': () => renderEnvExample(definitions),
};

/** Writes the generated files, or with `--check` says which are out of date and exits with 1. */
function main(argv: readonly string[]): void {
  const check = argv.includes('--check');
  const stale = Object.entries(FILES).flatMap(([file, render]) => {
    const text = `${render().trimEnd()}\n`;
    if (existsSync(file) && readFileSync(file, 'utf8') === text) return [];
    if (!check) {
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    return [file];
  });
  if (stale.length === 0) return;
  process.stderr.write(
    check ? `Out of date: ${stale.join(', ')}. Run make generate.\n` : `Written: ${stale.join(', ')}\n`,
  );
  if (check) process.exitCode = 1;
}

main(process.argv.slice(2));
