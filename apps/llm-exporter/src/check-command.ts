import { printableText } from '@llm-monitor/config';
import type { MetricFamily } from '@llm-monitor/metrics-core';
import { adapterOf, isEngineName, type TargetBook } from '@llm-monitor/engines';

import { discoverySentence, traits } from './targets-page.ts';
import { targetsView, type TargetsView, type TargetView } from './targets-report.ts';

/** What `check` found, as text, and the code to end with: 0 when there is a target and all of them are up. */
export interface CheckResult {
  readonly text: string;
  readonly exitCode: 0 | 1;
}

/** One look at this host, one reading of each target: the same that the exporter does all the time. */
export async function checkTargets(
  book: TargetBook,
  collect: () => Promise<readonly MetricFamily[]>,
): Promise<CheckResult> {
  await book.discover();
  await collect();
  const view = targetsView(book.report());
  const healthy = view.targets.length > 0 && view.targets.every(({ up }) => up === true);
  return { text: renderCheck(view), exitCode: healthy ? 0 : 1 };
}

/** The table of targets, what is wrong with each, and what was left alone, fit for a terminal. */
function renderCheck(view: TargetsView): string {
  const lines = view.targets.length === 0 ? nothingFound(view) : targetLines(view.targets);
  for (const { url, why } of view.strangers) lines.push(`left alone: ${url}: ${why}`);
  for (const { address, port, why } of view.passedOver)
    lines.push(`passed over: ${address} port ${port}: ${why}`);
  return `${lines.map(printableText).join('\n')}\n`;
}

function nothingFound(view: TargetsView): string[] {
  return [
    'No LLM server found.',
    discoverySentence(view),
    ...view.discovery.looksFor.map(({ title, programs, ports }) => `  ${title}: ${traits(programs, ports)}`),
    'Start one, or name it: LLM_EXPORTER_TARGETS=chat=http://HOST:PORT',
  ];
}

const COLUMNS = ['SERVER', 'ENGINE', 'STATE', 'VERSION', 'MODELS', 'METRICS'] as const;

function targetLines(targets: readonly TargetView[]): string[] {
  const rows = [COLUMNS, ...targets.map(rowOf)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [...table, ...targets.flatMap(remarksOf)];
}

function rowOf(target: TargetView): string[] {
  return [
    target.server,
    target.engine,
    target.state ?? 'not read',
    target.version ?? '-',
    target.models.join(',') || '-',
    String(Object.keys(target.sources).length),
  ];
}

/** What is to be known of a target beyond its row: why it is down, what it lacks, and the mend of each. */
function remarksOf({ server, engine, state, lastError, missing, unavailable }: TargetView): string[] {
  const lines: string[] = [];
  if (state === undefined && lastError === undefined) {
    lines.push(
      `${server}: did not answer in time: is the engine hung, or is it http:// where https:// was given?`,
    );
  }
  if (lastError !== undefined) lines.push(`${server}: ${lastError.message}`);
  if (missing.length > 0) {
    lines.push(
      `${server}: missing ${missing.join(', ')}: a version of ${engine} that names them otherwise, or a feature switched off`,
    );
  }
  for (const reason of new Set(unavailable.map((each) => each.reason))) {
    const metrics = unavailable.filter((each) => each.reason === reason);
    const names = metrics.map(({ metric }) => metric).join(', ');
    lines.push(`${server}: without ${names}: ${metrics[0]?.meaning ?? reason}${mendOf(engine, reason)}`);
  }
  return lines;
}

function mendOf(engine: string, reason: string): string {
  const enable = isEngineName(engine) ? adapterOf(engine).enable : undefined;
  if (reason === 'metrics_disabled' && enable !== undefined) return ` (${enable})`;
  return reason === 'unauthorized'
    ? ' (LLM_EXPORTER_TARGET_TOKEN_FILE, or LLM_EXPORTER_DISCOVERED_TOKEN_FILE)'
    : '';
}
