/**
 * The name that was most likely meant by `typed`, or undefined when none is near: at most one edit (insert,
 * delete, replace, swap of neighbors) for each three letters, and case, `-` and `_` do not count.
 * Of equally near names the first one wins.
 */
export function nearestName(typed: string, names: Iterable<string>): string | undefined {
  const wanted = comparable(typed.slice(0, 100));
  let nearest: string | undefined;
  let nearestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(wanted, comparable(name));
    if (distance < nearestDistance && distance < comparable(name).length) {
      nearest = name;
      nearestDistance = distance;
    }
  }
  return nearest;
}

/** `; did you mean NAME?`, or what to do instead when no name is near. */
export function didYouMean(typed: string, names: Iterable<string>, otherwise: string): string {
  const name = nearestName(typed, names);
  return name === undefined ? `; ${otherwise}` : `; did you mean ${name}?`;
}

function comparable(name: string): string {
  return name.toLowerCase().replace(/[-_]/g, '');
}

/** Optimal string alignment distance, row by row. */
function editDistance(left: string, right: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let distance = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && swapped)
        distance = Math.min(distance, (beforePrevious[column - 2] ?? 0) + 1);
      current.push(distance);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[right.length] ?? 0;
}
