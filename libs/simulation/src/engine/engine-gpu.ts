import type { Board } from '../gpu/board.ts';
import type { GpuSpeed, GpuWork } from '../gpu/gpu.ts';

/** Memory that one process wants of a GPU. */
export interface GpuAllocation {
  readonly pid: number;
  readonly program: string;
  /** Whole command line, as /proc has it. */
  readonly command: readonly string[];
  /** All that the process holds on this GPU: a second allocation of the same pid takes the first one's place. */
  readonly memoryBytes: number;
}

/** What an engine needs of a GPU. */
export interface EngineGpu {
  readonly board: Board;
  /** How fast it is at its clocks of now. */
  speed(): GpuSpeed;
  /** Told what ran on it, when it has run. */
  work(work: GpuWork): void;
  /** @returns false, and nothing is taken, when so much is not free or the GPU is lost */
  allocate(allocation: GpuAllocation): boolean;
  /** Gives back what that process holds; a pid that holds nothing is no error. */
  release(pid: number): void;
  /** It has fallen off the bus (an XID such as 79) and does no more work. */
  isLost(): boolean;
}
