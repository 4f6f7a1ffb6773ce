import { readFileSync } from 'node:fs';

import type { GpuTouches } from '../reading.ts';
import type { LeftOutGpu } from './reader-messages.ts';

const TITLE = 'gpu-reader';

/**
 * The gpu-reader's side: it bears the address of the GPU that it touches as its name, where the kernel shows it to others
 * also while this process is stuck in a call. A message would cost both sides 36 µs each time, this costs one of them 1 µs.
 * @param nowSeconds monotonic
 */
export function announcedTouches(
  leftOut: readonly LeftOutGpu[] | undefined,
  nowSeconds: () => number = () => performance.now() / 1000,
): GpuTouches {
  const startedSeconds = nowSeconds();
  const untilSeconds = new Map(leftOut?.map(({ pciBusId, seconds }) => [pciBusId, startedSeconds + seconds]));
  return {
    touching: (pciBusId) => {
      // The kernel shows 15 characters.
      process.title = pciBusId === undefined ? TITLE : `${pciBusId} ${TITLE}`;
    },
    isLeftOut: (pciBusId) => nowSeconds() < (untilSeconds.get(pciBusId) ?? -Infinity),
    afterHang: leftOut !== undefined,
  };
}

/**
 * The parent's side: the PCI address of the GPU that a gpu-reader touches now; undefined where it touches none, or the
 * system does not tell. Linux only. Not its command line is read but its name: the former lies in the memory of the
 * process, which may be locked while that is stuck.
 */
export function touchedGpu(pid: number): string | undefined {
  try {
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8');
    return /^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?: |$)/.exec(name.trim())?.[1];
  } catch {
    return undefined;
  }
}
