/** A JSON object as it was posted. */
export type Body = Readonly<Record<string, unknown>>;

/** Reads a posted body; undefined where it is no JSON object. */
export function readBody(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object below, empty where there is none. */
export function objectAt(body: Body, key: string): Body {
  const value = body[key];
  return isObject(value) ? value : {};
}

export function textAt(body: Body, key: string): string | undefined {
  const value = body[key];
  return typeof value === 'string' ? value : undefined;
}

/** A whole number above zero: engines read anything else as a wish for no limit, or refuse it. */
export function countAt(body: Body, key: string): number | undefined {
  const value = body[key];
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;
}
