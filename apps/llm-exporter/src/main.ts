import { setFlagsFromString } from 'node:v8';
import { readFileSync } from 'node:fs';

import { AuthSettingsError, ListenError, stopOnSignals, TlsSettingsError } from '@llm-monitor/exporter-http';

import { runExporterCommandLine } from './command-line.ts';
import { exporterLogger, startExporter } from './exporter.ts';

/** Time for running scrapes to end after a signal; a service manager kills after 10 s or more. */
const STOP_GRACE_SECONDS = 8;

/**
 * A scrape of many targets makes garbage faster than V8 thinks worth collecting: with 200 targets the heap grew to five
 * times what was alive. Collecting sooner costs 1 % of a core and saves 60 MiB (tools/bench/targets.mjs).
 */
function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=20');
}

async function main(): Promise<void> {
  keepHeapSmall();
  const decision = await runExporterCommandLine({
    env: process.env,
    argv: process.argv.slice(2),
    readFile: (path) => readFileSync(path, 'utf8'),
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
  });
  if (!decision.serve) {
    // Not process.exit: what was written to a pipe may still be on its way.
    process.exitCode = decision.exitCode;
    return;
  }
  const log = exporterLogger(decision.settings);
  for (const warning of decision.warnings) log.warn(warning);
  try {
    const exporter = await startExporter({ ...decision, log });
    stopOnSignals(process, () => exporter.stop(STOP_GRACE_SECONDS), log);
    log.info({ url: exporter.listening.url, targets: decision.configured.length }, 'listening');
  } catch (error) {
    if (!isSettingsFailure(error)) throw error;
    log.fatal(error.message);
    process.exitCode = 1;
  }
}

/** What the user can mend, told without a stack. */
function isSettingsFailure(error: unknown): error is Error {
  return [ListenError, TlsSettingsError, AuthSettingsError].some((kind) => error instanceof kind);
}

void main();
