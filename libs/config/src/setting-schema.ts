import { z } from 'zod';

/** What help, documentation and error messages know of a kind of value. */
export interface ValueKind {
  /** What is accepted, as the end of "expected …": `a port number from 0 to 65535`. */
  readonly expected: string;
  /** One accepted value as an environment variable would give it. */
  readonly example: string;
  /** A flag of this kind may stand without a value (`--name`, `--no-name`). */
  readonly isSwitch?: true;
  /** The value is the path of a folder, which the loader looks for. */
  readonly isFolder?: true;
  /** The parsed value as text that the same schema accepts again. */
  readonly format: (value: unknown) => string;
}

interface SchemaParts<Value> {
  readonly expected: string;
  readonly example: string;
  readonly isSwitch?: true;
  readonly isFolder?: true;
  /** Reads text (environment, flags) or a native YAML value. `refuse` takes what is wrong, without the value: it may be secret. */
  readonly parse: (input: unknown, refuse: (detail?: string) => never) => Value;
  readonly format?: (value: Value) => string;
}

const kinds = z.registry<ValueKind>();

/**
 * A Zod schema for one kind of setting, which keeps `.default()`, `.optional()` and `.refine()`.
 * Its messages never contain the refused value; the loader adds that where the setting is no secret.
 */
export function settingSchema<Value>(parts: SchemaParts<Value>): z.ZodType<Value> {
  const { expected, example, isSwitch, isFolder, parse, format = String } = parts;
  const schema = z.unknown().transform((input, context): Value => {
    const refuse = (detail?: string): never => {
      const message = detail === undefined ? `expected ${expected}` : `expected ${expected}: ${detail}`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    return parse(input, refuse);
  });
  kinds.add(schema, {
    expected,
    example,
    ...(isSwitch && { isSwitch }),
    ...(isFolder && { isFolder }),
    format: (value) => format(value as Value), // a kind formats only what its own schema has parsed
  });
  return schema;
}

/** The kind of a schema made by `settingSchema`, also below `.default()`, `.optional()` and the like. */
export function kindOf(schema: z.ZodType): ValueKind | undefined {
  const kind = kinds.get(schema);
  if (kind !== undefined) return kind;
  const wraps =
    schema instanceof z.ZodDefault || schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault;
  const inner: unknown = wraps ? schema.unwrap() : undefined;
  return inner instanceof z.ZodType ? kindOf(inner) : undefined;
}

/** A parsed value as text for help, `--check` and documentation. */
export function formatValue(schema: z.ZodType, value: unknown): string {
  const kind = kindOf(schema);
  if (kind !== undefined) return kind.format(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Text of what the environment, a flag or a YAML scalar gives; undefined for anything else. */
export function textOf(input: unknown): string | undefined {
  if (typeof input === 'string') return input.trim();
  return typeof input === 'number' && Number.isFinite(input) ? String(input) : undefined;
}
