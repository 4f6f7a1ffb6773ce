/**
 * Compares dotted versions by their leading numbers (`0.11.1rc2` is 0.11.1): negative when `one` is older.
 * Undefined when either has no number in front, as a commit hash.
 */
export function compareVersions(one: string, other: string): number | undefined {
  const left = numbersOf(one);
  const right = numbersOf(other);
  if (left === undefined || right === undefined) return undefined;
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function numbersOf(version: string): number[] | undefined {
  const found = /^v?(\d+(?:\.\d+)*)/.exec(version)?.[1];
  return found?.split('.').map(Number);
}

/** Whether a version is at least `since` and below `until`; undefined when that cannot be told. */
export function versionIsIn(
  version: string | undefined,
  range: { readonly since?: string; readonly until?: string },
): boolean | undefined {
  if (range.since === undefined && range.until === undefined) return true;
  if (version === undefined) return undefined;
  const fromSince = range.since === undefined ? 0 : compareVersions(version, range.since);
  const fromUntil = range.until === undefined ? -1 : compareVersions(version, range.until);
  if (fromSince === undefined || fromUntil === undefined) return undefined;
  return fromSince >= 0 && fromUntil < 0;
}
