import { printableText } from '@llm-monitor/config';
import type { DestinationStream } from 'pino';

/** Where a person's lines go: `process.stdout` fits. */
export interface Terminal {
  write(text: string): unknown;
}

const PREFIXES: Readonly<Record<string, string>> = { warn: 'Warning: ', error: 'Error: ', fatal: 'Error: ' };

/** What records of GPUs are about. */
const GPU_FACTS = ['backend', 'names', 'uuid', 'condition', 'reason'];

/** A log destination for a person at a terminal: one plain line for each record, what it is about behind the sentence. */
export function terminalLog(terminal: Terminal): DestinationStream {
  return { write: (line) => void terminal.write(`${plainLine(line)}\n`) };
}

function plainLine(line: string): string {
  let record: Readonly<Record<string, unknown>>;
  try {
    record = JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return printableText(line.trimEnd());
  }
  const { level, msg, err, server, url, detail } = record;
  const facts =
    typeof server === 'string'
      ? [`${server} at ${String(url)}`, detail]
      : [url, ...GPU_FACTS.map((fact) => record[fact]), detail];
  const cause = typeof err === 'object' && err !== null && 'message' in err ? err.message : undefined;
  const details = [...facts, cause].filter((each) => typeof each === 'string' && each !== '').join(', ');
  const sentence = sentenceCase(typeof msg === 'string' ? msg : '');
  return printableText(`${PREFIXES[String(level)] ?? ''}${sentence}${details === '' ? '' : `: ${details}`}`);
}

function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
