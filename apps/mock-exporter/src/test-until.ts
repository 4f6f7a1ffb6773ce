const DEADLINE_MILLISECONDS = 20_000;

/**
 * Waits until a condition holds; it is looked at again and again.
 * @throws Error where it does not hold for long
 */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + DEADLINE_MILLISECONDS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('what was waited for did not come in 20 s');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
