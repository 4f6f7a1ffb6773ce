import type { Answer } from './answers.ts';

/** A transcript that is not written as it should be: which answer and line, and what may be wrong with it. */
export class TranscriptError extends Error {}

/**
 * A transcript holds several answers of one engine in one file, as a person would write them down:
 *
 *     GET /version
 *     200 application/json
 *
 *     {"version":"0.11.0"}
 *
 * Further headers stand on lines after the status. The body ends where the next `GET ` line begins.
 * @throws TranscriptError for a status or a header that is none
 */
export function parseTranscript(text: string): Answer[] {
  const answers: Answer[] = [];
  for (const part of `\n${text}`.split(/\nGET (?=\/)/).slice(1)) {
    const [head = '', ...rest] = part.split('\n\n');
    const [path = '', statusLine = '', ...headerLines] = head.trimEnd().split('\n');
    const [status = '', contentType] = statusLine.split(' ');
    if (!/^[1-5]\d\d$/.test(status)) {
      throw new TranscriptError(
        `GET ${path}: the line below it is no status, as 200 is: ${quoted(statusLine)}`,
      );
    }
    const headers: Record<string, string> = contentType === undefined ? {} : { 'content-type': contentType };
    for (const line of headerLines) {
      const colon = line.indexOf(':');
      if (!/^[\w-]+:/.test(line)) {
        throw new TranscriptError(
          `GET ${path}: this line is no header: ${quoted(line)}; is the empty line missing between the status and the body?`,
        );
      }
      headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
    }
    answers.push({ path: path.trim(), status: Number(status), headers, body: rest.join('\n\n') });
  }
  return answers;
}

function quoted(line: string): string {
  return JSON.stringify(line.length > 60 ? `${line.slice(0, 60)}...` : line);
}

export function isTranscript(text: string): boolean {
  return /^GET \/\S*\n\d{3}/.test(text);
}
