import { types } from 'node:util';

import { pino, type DestinationStream, type Level, type Logger } from 'pino';

export type LogLevel = Level | 'silent';

/** Field names that hold a secret wherever they stand, in lower case and without `-` and `_`. */
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'proxyauthorization',
  'cookie',
  'setcookie',
  'token',
  'accesstoken',
  'bearertoken',
  'bearertokens',
  'password',
  'passwordhash',
  'secret',
  'apikey',
  'xapikey',
]);

/**
 * The one logger of a process: a JSON line per record on standard output, `level` as a word, `time` in ISO 8601.
 * Fields that hold secrets are replaced by `[redacted]` however deep they stand, those of errors too; only what `child`
 * binds is not looked at, since pino formats it apart.
 *
 * Standard output is written synchronously, so that the last lines before an exit are not lost.
 */
export function createLogger({
  app,
  level,
  destination = pino.destination({ fd: 1, sync: true }),
}: {
  app: string;
  level: LogLevel;
  destination?: DestinationStream;
}): Logger {
  return pino(
    {
      level,
      base: { app },
      timestamp: pino.stdTimeFunctions.isoTime,
      // pino's own `redact` names paths, not fields: these names at four depths took it 0.1 ms a line.
      formatters: { level: (label) => ({ level: label }), log: redactFields },
      serializers: { err: (err: unknown) => err }, // `redactFields` has made it a plain object already
    },
    destination,
  );
}

function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  return copyFields(fields, new Map());
}

function copyFields(source: object, copies: Map<object, unknown>): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  copies.set(source, copy);
  for (const [name, value] of Object.entries(source)) {
    copy[name] = isSecret(name) ? '[redacted]' : copyValue(value, copies);
  }
  return copy;
}

/** A copy without secrets; what refers back to itself still does, for the serializer to notice. */
function copyValue(value: unknown, copies: Map<object, unknown>): unknown {
  if (typeof value !== 'object' || value === null || 'toJSON' in value) return value;
  if (copies.has(value)) return copies.get(value);
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    copies.set(value, copy);
    for (const item of value) copy.push(copyValue(item, copies));
    return copy;
  }
  if (value instanceof Error || types.isNativeError(value)) {
    const copy = copyFields(pino.stdSerializers.err(value), copies);
    copies.set(value, copy);
    return copy;
  }
  return copyFields(value, copies);
}

function isSecret(name: string): boolean {
  return SECRET_FIELDS.has(name.toLowerCase().replaceAll('-', '').replaceAll('_', ''));
}
