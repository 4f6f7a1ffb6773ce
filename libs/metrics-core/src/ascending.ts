/** Whether each number is greater than the one before; never true of a NaN. */
export function isAscending(numbers: readonly number[]): boolean {
  let previous: number | undefined;
  for (const number of numbers) {
    if (Number.isNaN(number) || (previous !== undefined && number <= previous)) return false;
    previous = number;
  }
  return true;
}
