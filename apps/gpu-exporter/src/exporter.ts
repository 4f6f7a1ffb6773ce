import {
  authOf,
  createLogger,
  hostsOf,
  listen,
  tlsOf,
  type HttpApp,
  type Listening,
} from '@llm-monitor/exporter-http';
import {
  gpuReaderBeside,
  startGpuWatch,
  type GpuWatch,
  type GpuWatchParts,
  type GpuWatchSettings,
} from '@llm-monitor/gpus';
import { createSelfMetrics, systemClock, type Clock } from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import { createApp } from './app.ts';
import { overviewSentence } from './gpus-view.ts';
import { whenFailingFor } from './persistent-failure.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';

/** What the exporter gets from the process it runs in. */
export interface ProcessFacts {
  /** The script that is running; the gpu-reader lies beside it. */
  readonly script: string;
  /** `PATH`, for nvidia-smi. */
  readonly searchPath: string | undefined;
  /** `LD_LIBRARY_PATH`, for NVML. */
  readonly libraryPath?: string | undefined;
  /** Where systemd lets the service keep what is to last (`STATE_DIRECTORY`); several are separated by colons. */
  readonly stateDirectory: string | undefined;
}

export interface ExporterParts {
  readonly settings: Settings;
  readonly processFacts: ProcessFacts;
  readonly log: Logger;
  readonly clock?: Clock;
  /** The real one unless a test gives another. */
  readonly startWatch?: (parts: GpuWatchParts) => GpuWatch;
}

/** What runs: stop it to end. */
export interface RunningExporter {
  readonly listening: Listening;
  /** Resolves when each backend gave a reading or a reason why not. */
  readonly firstReading: Promise<void>;
  /** Resolves, with the reasons, once every backend has failed for as long as the settings allow; never without that setting. */
  readonly persistentFailure: Promise<readonly string[]>;
  /** What is seen, for the log. */
  overview(): { readonly gpus: number; readonly seen: string };
  stop(graceSeconds: number): Promise<void>;
}

/** The part of the watch's needs that comes from the settings and the process, shared with `check`. */
export function watchPartsOf(
  settings: Settings,
  { script, searchPath, libraryPath, stateDirectory }: ProcessFacts,
): Pick<GpuWatchParts, 'settings' | 'readerCommand' | 'searchPath' | 'libraryPath'> {
  const [firstStateDirectory] = stateDirectory?.split(':') ?? [];
  const stateFile =
    settings.stateFile ?? (firstStateDirectory ? `${firstStateDirectory}/energy.json` : undefined);
  return {
    settings: {
      backend: settings.backend,
      intervalSeconds: settings.interval,
      nvidiaSmiIntervalSeconds: settings.nvidiaSmiInterval,
      sampleHertz: settings.sampleRate,
      deadlineSeconds: settings.deadline,
      staleAfterSeconds: settings.staleAfter,
      nvmlLibrary: settings.nvmlLibrary,
      nvidiaSmi: settings.nvidiaSmi,
      sysfsRoot: settings.sysfsRoot,
      procRoot: settings.procRoot,
      kernelLogFile: settings.kernelLog ? settings.kernelLogFile : undefined,
      stateFile,
      processes: settings.processes,
    } satisfies GpuWatchSettings,
    readerCommand: gpuReaderBeside(script),
    searchPath,
    libraryPath,
  };
}

/**
 * Listens, and watches the GPUs from then on.
 * @throws ListenError, TlsSettingsError, AuthSettingsError; no driver was touched then.
 */
export async function startExporter({
  settings,
  processFacts,
  log,
  clock = systemClock,
  startWatch = startGpuWatch,
}: ExporterParts): Promise<RunningExporter> {
  const selfMetrics = createSelfMetrics({ app: 'gpu-exporter', version: VERSION });
  const state: { watch?: GpuWatch; hasRead: boolean } = { hasRead: false };
  const app: HttpApp = createApp({
    settings,
    auth: authOf(settings),
    watch: () => state.watch,
    selfMetrics,
    ready: () =>
      state.hasRead
        ? { ready: true }
        : { ready: false, reason: 'the first reading of the GPUs is under way' },
    log,
    clock,
  });
  const listening = await listen(app, {
    host: settings.host,
    port: settings.port,
    ...tlsOf(settings),
    ...hostsOf(settings),
    limits: { requestTimeoutSeconds: settings.requestTimeout },
  });
  const started = startWatch({
    ...watchPartsOf(settings, processFacts),
    collectors: selfMetrics.collectors,
    log,
    clock,
  });
  state.watch = started;
  const failing = whenFailingFor(settings.exitOnPersistentFailure, () => started.peek(0).backends, clock);
  return {
    listening,
    firstReading: started.firstReading.then(() => {
      state.hasRead = true;
    }),
    persistentFailure: failing.reasons,
    overview: () => {
      const snapshot = started.peek(0);
      return { gpus: snapshot.gpus.length, seen: overviewSentence(snapshot) };
    },
    stop: async (graceSeconds) => {
      failing.cancel();
      await Promise.all([listening.stop(graceSeconds), started.stop()]);
    },
  };
}

/** The exporter's logger. */
export function exporterLogger({ logLevel }: Pick<Settings, 'logLevel'>): Logger {
  return createLogger({ app: 'gpu-exporter', level: logLevel });
}
