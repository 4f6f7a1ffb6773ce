/**
 * Calls `act` once, a little after the first of the calls that come together.
 * @param onFault told of what `act` throws, once for as long as it goes on: nobody else could catch it
 */
export function gather(act: () => void, milliseconds: number, onFault: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let isFaulty = false;
  const attempt = (): void => {
    timer = undefined;
    try {
      act();
      isFaulty = false;
    } catch (error) {
      if (!isFaulty) onFault(error);
      isFaulty = true;
    }
  };
  return () => {
    timer ??= setTimeout(attempt, milliseconds).unref();
  };
}
