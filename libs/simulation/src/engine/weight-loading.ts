import type { Scheduler } from '../scheduler.ts';
import type { EngineGpu } from './engine-gpu.ts';

/** How often the GPUs hear of what came in, so that their PCIe rates show it as it happens. */
const REPORT_SECONDS = 0.25;

/**
 * Brings weights from the disk to the GPUs, evenly over that time.
 * @param bytes for each GPU
 * @returns a function that breaks it off
 */
export function loadWeights(
  scheduler: Scheduler,
  gpus: readonly EngineGpu[],
  bytes: number,
  seconds: number,
  then: () => void,
): () => void {
  const begin = scheduler.now;
  const reports = Math.max(Math.ceil(seconds / REPORT_SECONDS), 1);
  let takeBack = (): void => {};
  const plan = (report: number): void => {
    const [from, to] = [begin + ((report - 1) / reports) * seconds, begin + (report / reports) * seconds];
    takeBack = scheduler.at(to, () => {
      const part = bytes / reports;
      for (const gpu of gpus) {
        gpu.work({
          fromSeconds: from,
          toSeconds: to,
          flops: 0,
          precision: 'fp16',
          memoryBytes: part,
          pcieReceivedBytes: part,
        });
      }
      if (report < reports) plan(report + 1);
      else then();
    });
  };
  plan(1);
  return () => takeBack();
}
