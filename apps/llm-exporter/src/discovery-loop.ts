import type { TargetBook } from '@llm-monitor/engines';
import type { Logger } from 'pino';

/** Discovery at a steady pace. */
export interface DiscoveryLoop {
  /** Whether the first look has ended, however it did. */
  readonly hasLooked: () => boolean;
  /** The look that runs now, or the last one. */
  readonly current: () => Promise<void>;
  readonly stop: () => void;
}

/**
 * Looks for servers now and then every `intervalSeconds`. A look that fails is logged, once for each message, and
 * costs nothing but itself. Its timer keeps no process alive.
 */
export function startDiscovery(
  book: Pick<TargetBook, 'discover'>,
  intervalSeconds: number,
  log: Logger,
): DiscoveryLoop {
  let looked = false;
  let toldMessage: string | undefined;
  const look = async (): Promise<void> => {
    try {
      await book.discover();
      toldMessage = undefined;
    } catch (err) {
      const message = err instanceof Error ? err.message : String(err);
      if (message !== toldMessage) log.error({ err }, 'discovery failed');
      toldMessage = message;
    }
    looked = true;
  };
  let current = look();
  const timer = setInterval(() => {
    current = look();
  }, intervalSeconds * 1000).unref();
  return { hasLooked: () => looked, current: () => current, stop: () => clearInterval(timer) };
}
