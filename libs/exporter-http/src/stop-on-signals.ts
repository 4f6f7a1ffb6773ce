import type { Logger } from 'pino';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof EXIT_CODES;

/** The part of `process` that stopping needs. */
export interface SignalSource {
  on(signal: StopSignal, listener: () => void): unknown;
  exit(code: number): unknown;
}

/**
 * On the first SIGTERM or SIGINT runs `stop` and exits with 0, or with 1 when it fails; on the second exits at once
 * with the code that shells give a process ended by that signal.
 */
export function stopOnSignals(source: SignalSource, stop: () => Promise<void>, log: Logger): void {
  let isStopping = false;

  const end = async (signal: StopSignal): Promise<void> => {
    log.info({ signal }, 'stopping');
    try {
      await stop();
    } catch (err) {
      log.error({ err }, 'could not stop cleanly');
      source.exit(1);
      return;
    }
    log.info('stopped');
    source.exit(0);
  };

  const onSignal = (signal: StopSignal, exitCode: number) => () => {
    if (isStopping) {
      log.warn({ signal }, 'second signal, exiting at once');
      source.exit(exitCode);
      return;
    }
    isStopping = true;
    void end(signal);
  };

  source.on('SIGTERM', onSignal('SIGTERM', EXIT_CODES.SIGTERM));
  source.on('SIGINT', onSignal('SIGINT', EXIT_CODES.SIGINT));
}
