import { isTranscript, parseTranscript, TranscriptError } from './transcript.ts';

const transcript = `GET /props
200 application/json
Server: llama.cpp
X-Two: a: b

{"total_slots":2}

GET /metrics?model=a%2Fb&autoload=false
200 text/plain;version=0.0.4

# HELP llamacpp:requests_processing Busy slots.

llamacpp:requests_processing 1

GET /slots
501

GET /health
503 application/json

`;

it('splits the answers, each with its path, status, headers and body', () => {
  const [props, metrics, slots, health, ...more] = parseTranscript(transcript);
  expect(props).toEqual({
    path: '/props',
    status: 200,
    headers: { 'content-type': 'application/json', server: 'llama.cpp', 'x-two': 'a: b' },
    body: '{"total_slots":2}\n',
  });
  expect(metrics?.path).toBe('/metrics?model=a%2Fb&autoload=false');
  expect(metrics?.body.trim().split('\n').at(-1)).toBe('llamacpp:requests_processing 1');
  expect(slots).toMatchObject({ path: '/slots', status: 501, headers: {} });
  expect(health).toMatchObject({ path: '/health', status: 503 });
  expect(health?.body.trim()).toBe('');
  expect(more).toEqual([]);
});

it('keeps blank lines within a body', () => {
  expect(parseTranscript(transcript)[1]?.body).toContain('Busy slots.\n\nllamacpp');
});

it.each([
  ['a status that is none', 'GET /a\nOK\n\n{}', 'GET /a: the line below it is no status, as 200 is: "OK"'],
  [
    'a body without an empty line before it',
    'GET /a\n200 text/plain\n# HELP x X.\nx 1\n',
    'GET /a: this line is no header: "# HELP x X."; is the empty line missing between the status and the body?',
  ],
])('refuses %s', (_, text, message) => {
  expect(() => parseTranscript(text)).toThrow(new TranscriptError(message));
});

it.each([
  ['a request line and a status', 'GET /version\n200 application/json\n\n{}', true],
  ['an exposition', '# HELP a A.\n# TYPE a gauge\na 1\n', false],
  ['JSON', '{"version":"0.11.0"}', false],
  ['a raw HTTP answer', 'HTTP/1.1 200 OK\nServer: llama.cpp\n\n{}', false],
  ['a request without an answer', 'GET /version HTTP/1.1\nHost: a\n', false],
  ['a request further down', '# comment\nGET /version\n200\n\n{}', false],
  ['nothing', '', false],
])('%s: %s', (_, text, expected) => {
  expect(isTranscript(text)).toBe(expected);
});
