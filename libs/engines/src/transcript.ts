import type { Answer } from './answers.ts';

/**
 * A transcript holds several answers of one engine in one file, as a person would write them down:
 *
 *     GET /version
 *     200 application/json
 *
 *     {"version":"0.11.0"}
 *
 * Further headers stand on lines after the status. The body ends where the next `GET ` line begins.
 */
export function parseTranscript(text: string): Answer[] {
  const answers: Answer[] = [];
  for (const part of `\n${text}`.split(/\nGET (?=\/)/).slice(1)) {
    const [head = '', ...rest] = part.split('\n\n');
    const [path = '', statusLine = '', ...headerLines] = head.split('\n');
    const [status = '', contentType] = statusLine.split(' ');
    const headers: Record<string, string> = contentType === undefined ? {} : { 'content-type': contentType };
    for (const line of headerLines) {
      const colon = line.indexOf(':');
      if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
    }
    answers.push({ path: path.trim(), status: Number(status) || 200, headers, body: rest.join('\n\n') });
  }
  return answers;
}

export function isTranscript(text: string): boolean {
  return /^GET \/\S*\n\d{3}/.test(text);
}
