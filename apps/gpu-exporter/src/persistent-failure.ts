import type { BackendState } from '@llm-monitor/gpus';
import type { Clock } from '@llm-monitor/metrics-core';

export interface PersistentFailure {
  /** Resolves once, with the reason of each backend. */
  readonly reasons: Promise<readonly string[]>;
  cancel(): void;
}

const LOOK_MILLISECONDS = 1000;

/**
 * Waits until every backend has failed without a break for `seconds`, whatever the reasons; a host without a backend
 * does not fail.
 * @param seconds undefined to wait for nothing
 */
export function whenFailingFor(
  seconds: number | undefined,
  backends: () => readonly Pick<BackendState, 'backend' | 'failure'>[],
  clock: Pick<Clock, 'monotonicSeconds' | 'after'>,
): PersistentFailure {
  let cancel = (): void => undefined;
  const reasons = new Promise<readonly string[]>((resolve) => {
    if (seconds === undefined) return;
    let sinceSeconds: number | undefined;
    const look = (): void => {
      const failures = backends().map(({ backend, failure }) =>
        failure === undefined ? undefined : `${backend}: ${failure.reason}`,
      );
      const now = clock.monotonicSeconds();
      const allFail = failures.length > 0 && !failures.includes(undefined);
      sinceSeconds = allFail ? (sinceSeconds ?? now) : undefined;
      if (sinceSeconds !== undefined && now - sinceSeconds >= seconds) {
        resolve(failures.flatMap((failure) => failure ?? []));
        return;
      }
      cancel = clock.after(LOOK_MILLISECONDS, look);
    };
    look();
  });
  return { reasons, cancel: () => cancel() };
}
