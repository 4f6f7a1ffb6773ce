import { fork, type ForkOptions } from 'node:child_process';
import path from 'node:path';

import type { Clock } from '@llm-monitor/metrics-core';

import type { BackendFailureReason } from '../reading.ts';
import { LeftOutGpus } from './left-out-gpus.ts';
import { readerEnvironment } from './reader-environment.ts';
import type { ReaderMessage, ReaderOrder, ReaderOrders } from './reader-messages.ts';
import { touchedGpu } from './touched-gpu.ts';

/** How to start a gpu-reader. */
export interface ReaderCommand {
  /** The script that is forked. */
  readonly script: string;
  /** Options of node, for its memory. */
  readonly nodeOptions?: readonly string[];
}

/**
 * Bounds on the memory of a gpu-reader, whose garbage is the messages of the last second; one that leaks is ended by
 * them, and started anew.
 */
const READER_OPTIONS = ['--max-semi-space-size=1', '--max-old-space-size=128'];

/** The gpu-reader that is bundled beside a program. @param program path of the program's script */
export function gpuReaderBeside(program: string): ReaderCommand {
  return { script: path.join(path.dirname(program), 'gpu-reader.cjs'), nodeOptions: READER_OPTIONS };
}

export interface ReaderProcessParts {
  readonly command: ReaderCommand;
  readonly orders: Omit<ReaderOrders, 'leftOut'>;
  readonly clock: Clock;
  readonly timing: ReaderTiming;
  readonly onMessage: (message: ReaderMessage) => void;
  /** The reader gave no sign for the deadline (`hung`) or ended by itself (`crashed`). */
  readonly onFailure: (reason: Extract<BackendFailureReason, 'hung' | 'crashed'>, message: string) => void;
  /** The real ones unless a test gives others. */
  readonly fork?: (script: string, options: ForkOptions) => ReaderChild;
  readonly touchedGpu?: (pid: number) => string | undefined;
}

/** What is needed of the process that is forked. */
export interface ReaderChild extends NodeJS.EventEmitter {
  readonly pid?: number | undefined;
  readonly connected: boolean;
  send(order: ReaderOrder, sent: () => void): unknown;
  kill(signal: 'SIGTERM' | 'SIGKILL'): unknown;
  disconnect(): void;
  unref(): void;
}

export interface ReaderTiming {
  /** Silence after which the reader counts as stuck. */
  readonly deadlineSeconds: number;
  /** For its first sign, where that is longer: a program takes its time to start on a busy host. */
  readonly startSeconds: number;
  /** For the reader to end by itself, then by SIGTERM: to kill a client has wedged GPUs (dcgm-exporter#84). */
  readonly gentleSeconds: number;
  /** Pause before the first new start after a failure, doubled each time up to the longest. */
  readonly firstPauseSeconds: number;
  readonly longestPauseSeconds: number;
  /** For a GPU at which the reader was stuck to be left out, doubled each time up to the longest. */
  readonly firstLeftOutSeconds: number;
  readonly longestLeftOutSeconds: number;
}

export const defaultReaderTiming: ReaderTiming = {
  deadlineSeconds: 5,
  startSeconds: 10,
  gentleSeconds: 2,
  firstPauseSeconds: 1,
  longestPauseSeconds: 60,
  firstLeftOutSeconds: 60,
  longestLeftOutSeconds: 1800,
};

/** The whole of a stop takes less than 2 s: three and a half steps of this. */
const STOP_STEP_SECONDS = 0.4;
const NEVER = new Promise<void>(() => undefined);

/**
 * One gpu-reader, kept running: watched for silence, ended gently and then not, started anew after a pause. A process
 * that nothing can end (uninterruptible sleep in the driver) is abandoned: counted, and no other is started while it
 * lives, which could only get stuck beside it.
 */
export class ReaderProcess {
  private readonly parts: ReaderProcessParts;
  private child: ReaderChild | undefined;
  private cancelTimer: () => void = () => undefined;
  private pauseSeconds: number;
  private phase: 'idle' | 'running' | 'ending' | 'abandoned' | 'pausing' | 'stopped' = 'idle';
  private restartCount = 0;
  private toldFailure = false;
  private readonly leftOut: LeftOutGpus;
  /** The last reader that ended and left behind what it had started, until that is killed. */
  private leftover: ReaderChild | undefined;

  constructor(parts: ReaderProcessParts) {
    this.parts = parts;
    this.leftOut = new LeftOutGpus(parts.timing.firstLeftOutSeconds, parts.timing.longestLeftOutSeconds);
    this.pauseSeconds = parts.timing.firstPauseSeconds;
  }

  /** Starts after a failure. */
  get restarts(): number {
    return this.restartCount;
  }

  /** Whether a process lives that nothing could end. */
  get isAbandoned(): boolean {
    return this.phase === 'abandoned';
  }

  /** Process id of the reader that runs; undefined between two. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  start(): void {
    const { clock, command, orders, onMessage } = this.parts;
    this.phase = 'running';
    this.toldFailure = false;
    let child: ReaderChild;
    try {
      child = (this.parts.fork ?? fork)(command.script, {
        // A group of its own: what the reader starts is ended with it, and Ctrl-C in a terminal is not for it.
        detached: true,
        execArgv: [...(command.nodeOptions ?? [])],
        env: readerEnvironment(process.env),
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
    } catch (error) {
      // Most failures of a start come as an event; some, for want of memory for one, are thrown.
      this.failedToRun(error instanceof Error ? error.message : String(error));
      return;
    }
    this.child = child;
    child.on('message', (message: ReaderMessage) => {
      if (this.child !== child || this.phase !== 'running') return;
      this.expectSign(this.parts.timing.deadlineSeconds);
      if (message.type === 'reading') {
        this.pauseSeconds = this.parts.timing.firstPauseSeconds;
        this.leftOut.learn(message.reading.gpus, clock.monotonicSeconds());
      }
      if (message.type === 'failure') this.toldFailure = true;
      onMessage(message);
    });
    child.once('error', (error: Error) => this.ended(child, error.message));
    child.once('exit', (code, signal) =>
      this.ended(child, `exit code ${code ?? 'none'}, signal ${signal ?? 'none'}`),
    );
    const leftOut = this.leftOut.list(clock.monotonicSeconds());
    this.order({ type: 'start', orders: { ...orders, leftOut } });
    const { deadlineSeconds, startSeconds } = this.parts.timing;
    this.expectSign(Math.max(deadlineSeconds, startSeconds));
  }

  /** Ends the reader, within 2 s whatever it does. No new one is started. */
  async stop(): Promise<void> {
    const { child, isAbandoned, leftover } = this;
    this.cancelTimer();
    this.phase = 'stopped';
    // The clock's timers keep no process alive, and this one must not end before it has ended the others.
    const alive = setInterval(() => undefined, 1000);
    if (child !== undefined && !isAbandoned) await this.endChild(child);
    for (const leader of [child, leftover]) if (leader !== undefined) await this.endGroup(leader);
    clearInterval(alive);
    // One that is stuck for ever must not hold this process back.
    if (child?.connected === true) child.disconnect();
    child?.unref();
  }

  private async endChild(child: ReaderChild): Promise<void> {
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    for (const step of [
      (): void => this.order({ type: 'stop' }),
      (): void => void child.kill('SIGTERM'),
      (): void => void child.kill('SIGKILL'),
    ]) {
      step();
      if (await this.happens(gone, STOP_STEP_SECONDS)) break;
    }
  }

  private async endGroup(leader: ReaderChild): Promise<void> {
    if (signalGroup(leader, 'SIGTERM') && !(await this.happens(NEVER, STOP_STEP_SECONDS / 2))) {
      signalGroup(leader, 'SIGKILL');
    }
  }

  private expectSign(withinSeconds: number): void {
    this.after(withinSeconds, () => {
      const silent = `the driver has not answered for ${withinSeconds} s`;
      const pciBusId = this.blame();
      this.parts.onFailure('hung', pciBusId === undefined ? silent : `${silent}, asked for GPU ${pciBusId}`);
      this.end();
    });
  }

  /** Leaves the GPU out that the stuck reader touches. @returns its PCI address, where that is known */
  private blame(): string | undefined {
    const { clock, touchedGpu: touched = touchedGpu } = this.parts;
    const pciBusId = this.pid === undefined ? undefined : touched(this.pid);
    this.leftOut.blame(pciBusId, clock.monotonicSeconds());
    return pciBusId;
  }

  /** Gently first: by word, by SIGTERM, by SIGKILL, and then it is left alone. */
  private end(): void {
    const { child } = this;
    if (child === undefined) return;
    const { gentleSeconds } = this.parts.timing;
    this.phase = 'ending';
    this.order({ type: 'stop' });
    // A stuck reader does not hear the word, so it is not waited for.
    child.kill('SIGTERM');
    this.after(gentleSeconds, () => {
      child.kill('SIGKILL');
      this.after(gentleSeconds, () => {
        this.phase = 'abandoned';
      });
    });
  }

  private ended(child: ReaderChild, how: string): void {
    if (this.child !== child) return;
    this.child = undefined;
    this.endLeftovers(child);
    if (this.phase === 'stopped') return;
    this.failedToRun(`ended by itself: ${how}`);
  }

  /** A group in which somebody lives keeps its number; one that is empty may soon be somebody else's. */
  private endLeftovers(child: ReaderChild): void {
    if (!signalGroup(child, 'SIGTERM')) return;
    this.leftover = child;
    this.parts.clock.after(this.parts.timing.gentleSeconds * 1000, () => {
      if (this.leftover === child) this.leftover = undefined;
      signalGroup(child, 'SIGKILL');
    });
  }

  private failedToRun(how: string): void {
    if (this.phase === 'running' && !this.toldFailure) {
      this.parts.onFailure('crashed', `the gpu-reader does not run (${how})`);
    }
    this.phase = 'pausing';
    this.after(this.pauseSeconds, () => {
      this.restartCount++;
      this.start();
    });
    this.pauseSeconds = Math.min(this.pauseSeconds * 2, this.parts.timing.longestPauseSeconds);
  }

  private order(order: ReaderOrder): void {
    // A reader that is gone is told of by its exit.
    if (this.child?.connected === true) this.child.send(order, () => undefined);
  }

  private after(seconds: number, act: () => void): void {
    this.cancelTimer();
    this.cancelTimer = this.parts.clock.after(seconds * 1000, act);
  }

  private happens(event: Promise<void>, seconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.parts.clock.after(seconds * 1000, () => resolve(false));
      void event.then(() => {
        cancel();
        resolve(true);
      });
    });
  }
}

/** Sends a signal to what a reader started and left behind: it leads a process group of its own. */
function signalGroup({ pid }: ReaderChild, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(-pid, signal);
  } catch {
    return false; // Nobody is left in it.
  }
}
