import type { Labels } from './families.ts';

/** The label set of a series without labels. */
export const NO_LABELS: Labels = Object.freeze({});

/** Sets one label on a set being built. A label called `__proto__` is legal and becomes an own property like any other. */
export function setLabel(labels: Record<string, string>, name: string, value: string): void {
  if (name === '__proto__') {
    Object.defineProperty(labels, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    labels[name] = value;
  }
}

/** The value of one label, or undefined; unlike plain indexing it never finds `toString` and its kin. */
export function labelValue(labels: Labels, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined;
}

/** The same labels without one of them. */
export function withoutLabel(labels: Labels, without: string): Labels {
  const rest: Record<string, string> = {};
  for (const name of Object.keys(labels)) {
    if (name !== without) setLabel(rest, name, labels[name] ?? '');
  }
  return rest;
}

/** A text that two label sets share exactly when Prometheus takes them for one: order and empty values do not count. */
export function labelsKey(labels: Labels): string {
  let key = '';
  for (const name of sorted(Object.keys(labels))) {
    const value = labels[name] ?? '';
    if (value !== '') key += `${name.length}:${name}${value.length}:${value}`;
  }
  return key;
}

/** The names in order: mostly they are, and a look is cheaper than a sort. */
function sorted(names: string[]): string[] {
  for (let index = 1; index < names.length; index++) {
    if ((names[index - 1] ?? '') > (names[index] ?? '')) return names.sort();
  }
  return names;
}
