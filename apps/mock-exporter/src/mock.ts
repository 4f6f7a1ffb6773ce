import { join } from 'node:path';

import { authOf, createHttpApp, hostsOf, listen, tlsOf, type Listening } from '@llm-monitor/exporter-http';
import { contentTypes, createSelfMetrics, negotiateFormat, renderWith } from '@llm-monitor/metrics-core';
import {
  answerNvidiaSmi,
  SimulatedWorld,
  truthFamilies,
  type GpuHost,
  type ProcessFacts,
  type Scenario,
} from '@llm-monitor/simulation';
import type { Logger } from 'pino';

import { controlRoutes, type ControlParts, type MockEngine } from './control-routes.ts';
import { EngineServer } from './engine-server.ts';
import { HostFolder } from './host-folder.ts';
import { Pacer } from './pacer.ts';
import type { Settings } from './settings.ts';
import { SMI_SOCKET } from './smi-protocol.ts';
import { HostFolderError, refuseIfAnswered, serveSmi, type SmiSocket } from './smi-socket.ts';
import { VERSION } from './version.ts';

const FOLDER_INTERVAL_MILLISECONDS = 1000;
/** As a host has it after an upgrade without a restart. */
const OLD_MODULE = '535.54.03';

export interface MockParts {
  readonly settings: Settings;
  readonly scenario: Scenario;
  /** The bundle that is to be nvidia-smi. */
  readonly smiScript: string;
  readonly log: Logger;
}

export interface RunningMock {
  readonly listening: Listening;
  readonly engines: readonly {
    readonly name: string;
    readonly kind: string;
    readonly url: string | undefined;
  }[];
  readonly world: SimulatedWorld;
  stop(graceSeconds: number): Promise<void>;
}

/**
 * Builds the world, lets it warm up, and serves it.
 * @throws ListenError, TlsSettingsError, AuthSettingsError, ModelTooLarge; nothing is left open then.
 */
export async function startMock({ settings, scenario, smiScript, log }: MockParts): Promise<RunningMock> {
  const world = new SimulatedWorld(scenario);
  world.runUntil(settings.warmUp);
  const epochSeconds = Date.now() / 1000 - world.now;
  const servers: EngineServer[] = [];
  const pacer = new Pacer({
    world,
    clock: { seconds: () => performance.now() / 1000 },
    speed: settings.speed,
    onTick: () => servers.forEach((server) => server.follow()),
  });
  const now = (): number => {
    pacer.catchUp();
    return world.now;
  };
  const closers: (() => Promise<void>)[] = [];
  try {
    for (const spec of scenario.engines) {
      const server = new EngineServer({
        engine: world.engine(spec.name),
        spec,
        host: settings.engineHost,
        seed: scenario.seed,
        epochSeconds,
        now,
        log,
      });
      await server.listen();
      servers.push(server);
      closers.push(() => server.close());
    }
    if (settings.hostFolder !== undefined) {
      closers.push(
        await serveFolder(settings.hostFolder, smiScript, log, () => ({
          host: hostOf(world, scenario, epochSeconds, now()),
          processes: processFacts(world, servers),
        })),
      );
    }
    const engines = (): MockEngine[] =>
      scenario.engines.map(({ name, kind }, index) => ({ name, kind, url: servers[index]?.url }));
    const listening = await listen(createApp({ settings, world, pacer, engines, log }), {
      host: settings.host,
      port: settings.port,
      ...tlsOf(settings),
      ...hostsOf(settings),
      limits: { requestTimeoutSeconds: settings.requestTimeout },
    });
    closers.push(() => listening.stop(0));
    pacer.start();
    return {
      listening,
      world,
      engines: engines(),
      stop: async (graceSeconds) => {
        pacer.stop();
        await listening.stop(graceSeconds);
        await Promise.all(closers.map((close) => close()));
      },
    };
  } catch (error) {
    await Promise.all(closers.map((close) => close()));
    throw error;
  }
}

function createApp({
  settings,
  world,
  pacer,
  engines,
  log,
}: Pick<MockParts, 'settings' | 'log'> & Pick<ControlParts, 'world' | 'pacer' | 'engines'>) {
  const selfMetrics = createSelfMetrics({ app: 'mock-exporter', version: VERSION });
  const auth = authOf(settings);
  return createHttpApp({
    name: 'mock-exporter',
    title: 'Mock exporter',
    description: 'A simulated host with GPUs and LLM engines. Its /metrics says what the world truly is.',
    version: VERSION,
    log,
    registry: selfMetrics.registry,
    ready: () => ({ ready: true }),
    auth,
    links: [{ path: '/api/incidents', label: 'Incidents', what: 'what can go wrong, and what does' }],
    maxConcurrentRequests: settings.maxConcurrentRequests,
    requestTimeoutSeconds: settings.requestTimeout,
    metrics: async ({ accept }) => {
      pacer.catchUp();
      const format = negotiateFormat(accept);
      const body = await renderWith(truthFamilies(world), selfMetrics, format);
      return { contentType: contentTypes[format], body };
    },
    routes: (router) =>
      controlRoutes(router, { world, pacer, engines, isGuarded: Object.keys(auth).length > 0 }),
  });
}

/** What the folder tells of. */
interface ToldHost {
  readonly host: GpuHost;
  readonly processes: ReadonlyMap<number, ProcessFacts>;
}

function openFolder(path: string, smiScript: string, { host, processes }: ToldHost): HostFolder {
  try {
    const folder = new HostFolder(path, smiScript);
    folder.write(host, processes);
    return folder;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HostFolderError(
      `the files of the simulated host cannot be written below ${path} (${why}); set MOCK_EXPORTER_HOST_FOLDER to a folder of yours`,
    );
  }
}

/** Keeps the files of the host as the world is, and answers its nvidia-smi. @returns what ends it */
async function serveFolder(
  path: string,
  smiScript: string,
  log: Logger,
  look: () => ToldHost,
): Promise<() => Promise<void>> {
  // First, for the files of a mock that runs are not to be touched.
  await refuseIfAnswered(join(path, 'bin', SMI_SOCKET));
  const folder = openFolder(path, smiScript, look());
  const socket: SmiSocket = await serveSmi(join(folder.socketFolder, SMI_SOCKET), (args) => {
    const { host } = look();
    return host.nvidiaDriverHangs === true ? undefined : answerNvidiaSmi(args, host);
  });
  let wasTold = false;
  const timer = setInterval(() => {
    socket.retry();
    try {
      const { host, processes } = look();
      folder.write(host, processes);
      wasTold = false;
    } catch (err) {
      // A full disk costs the files, not the engines.
      if (!wasTold) log.error({ err }, 'the files of the simulated host could not be written');
      wasTold = true;
    }
  }, FOLDER_INTERVAL_MILLISECONDS);
  return () => {
    clearInterval(timer);
    return socket.close();
  };
}

/** The process of an engine listens on the engine's port; Ollama's runners, which are others, do not. */
function processFacts(
  world: SimulatedWorld,
  servers: readonly EngineServer[],
): ReadonlyMap<number, ProcessFacts> {
  return new Map(
    world.engines.flatMap(({ now }, index) => {
      const url = servers[index]?.url;
      return url === undefined ? [] : [[now.state().pid, { port: Number(new URL(url).port) }] as const];
    }),
  );
}

function hostOf(
  world: SimulatedWorld,
  { host: { driver } }: Scenario,
  epochSeconds: number,
  nowSeconds: number,
): GpuHost {
  const { driverMismatch, driverFrozen } = world.host;
  return {
    gpus: world.gpus.map((gpu) => gpu.state()),
    ...(driver.nvidia === undefined
      ? {}
      : {
          nvidiaDriver: {
            version: driver.nvidia,
            cudaVersion: driver.cuda ?? '12.8',
            ...(driverMismatch ? { kernelModuleVersion: OLD_MODULE } : {}),
          },
        }),
    ...(driver.amd === undefined ? {} : { amdgpuVersion: driver.amd }),
    startUnixSeconds: epochSeconds,
    nowSeconds,
    nvidiaDriverHangs: driverFrozen,
  };
}
