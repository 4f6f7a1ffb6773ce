import {
  BackendError,
  type BackendReading,
  type GpuBackend,
  type GpuReading,
  type PciGpu,
} from '../../reading.ts';
import { readMemInfo } from '../../unified-memory.ts';
import { IdleRests } from '../idle-rests.ts';
import { normalizeSmi } from './normalize-smi.ts';
import { createSmiRun } from './run-nvidia-smi.ts';

export interface NvidiaSmiOptions {
  /** A name to look for in PATH, or a path. */
  readonly program?: string;
  /** For the memory of a host whose GPU has none of its own. */
  readonly procRoot?: string;
  /** For how long an nvidia-smi that was told to end may live before it is abandoned. */
  readonly graceSeconds?: number;
  /** Monotonic. */
  readonly nowSeconds?: () => number;
}

/** All GPUs are read by one run, and rest together. */
const ALL = 'all';

/**
 * NVIDIA GPUs through `nvidia-smi -q -x`. The program touches every GPU, whichever one it is asked for, and so wakes
 * those that sleep: it is not run while one does.
 *
 * Nor is it run for a minute when all GPUs may be put to sleep (`powerManaged`) and have neither process nor load, so that
 * they can fall asleep; see `IdleRests`. Meanwhile they are up, have their facts, and no figures. That ends early when one
 * of them slept meanwhile and is awake again, or there are other GPUs than those.
 */
export function createNvidiaSmiBackend({
  program = 'nvidia-smi',
  procRoot = '/proc',
  graceSeconds = 2,
  nowSeconds = () => performance.now() / 1000,
}: NvidiaSmiOptions = {}): GpuBackend {
  const run = createSmiRun({ program, procRoot, graceSeconds });
  const rests = new IdleRests(nowSeconds);
  /** As last read, without figures. */
  let idle: readonly GpuReading[] = [];
  /** By PCI address, as last read; also of those that are gone since, which may come back. */
  let known = new Map<string, GpuReading>();
  /** What a reading without a run says of the driver. */
  let unread: Omit<BackendReading, 'gpus'> = { backend: 'nvidia-smi', unparsed: [], unsupported: [] };

  return {
    name: 'nvidia-smi',
    async read(pci, signal) {
      const nvidia = pci.filter(({ vendor }) => vendor === 'nvidia');
      if (nvidia.some(({ suspended }) => suspended)) {
        rests.fellAsleep(ALL);
        return { ...unread, ...suspendedReading(nvidia, known) };
      }
      if (!maySleep(idle, nvidia)) rests.end(ALL);
      if (rests.isResting(ALL)) return { ...unread, gpus: idle };

      const { log, badGpus } = await run.read(signal);
      const reading = normalizeSmi(log, { meminfo: () => readMemInfo(procRoot), badGpus });
      if (reading.gpus.length === 0) {
        throw new BackendError(
          'no_gpus',
          `${program} lists no GPU: the driver is loaded and has none, see dmesg`,
        );
      }
      const gpus = reading.gpus.map((gpu) => recognize(gpu, known));
      known = new Map([...known, ...byAddress(gpus)]);
      idle = gpus.map(({ gpu, uuid, facts }) => ({ gpu, uuid, condition: 'up', facts, points: [] }));
      if (gpus.every(isIdle) && maySleep(idle, nvidia)) rests.begin(ALL);
      const { driverVersion } = reading;
      if (driverVersion !== undefined) unread = { ...unread, driverVersion };
      return { ...reading, gpus };
    },
    close: () => run.end(),
  };
}

/** No process and no load; one that is split has no load to tell. */
function isIdle({ condition, processes, points }: GpuReading): boolean {
  const utilization = points.find(({ metric }) => metric === 'gpu_utilization_ratio')?.value ?? 0;
  return condition === 'up' && processes?.length === 0 && utilization === 0;
}

/** Whether these GPUs are all that there are on the bus, and the kernel may put each to sleep. */
function maySleep(gpus: readonly GpuReading[], onBus: readonly PciGpu[]): boolean {
  const managed = onBus.filter(({ powerManaged }) => powerManaged === true).map(({ pciBusId }) => pciBusId);
  return (
    managed.length === onBus.length &&
    managed.length === gpus.length &&
    gpus.every(({ facts }) => facts.pciBusId !== undefined && managed.includes(facts.pciBusId))
  );
}

/** A GPU of which there is only the address keeps the identity that it had before. */
function recognize(gpu: GpuReading, known: ReadonlyMap<string, GpuReading>): GpuReading {
  const { pciBusId } = gpu.facts;
  const before = pciBusId === undefined || gpu.uuid !== pciBusId ? undefined : known.get(pciBusId);
  return before === undefined ? gpu : { ...gpu, gpu: before.gpu, uuid: before.uuid, facts: before.facts };
}

function byAddress(gpus: readonly GpuReading[]): Map<string, GpuReading> {
  return new Map(
    gpus.flatMap((gpu) => (gpu.facts.pciBusId === undefined ? [] : [[gpu.facts.pciBusId, gpu] as const])),
  );
}

/** Those that sleep, as such. The others are there by the kernel's word, and have no figures meanwhile. */
function suspendedReading(
  nvidia: readonly PciGpu[],
  known: ReadonlyMap<string, GpuReading>,
): Pick<BackendReading, 'gpus' | 'unsupported'> {
  const addresses = nvidia.map(({ pciBusId }) => pciBusId).sort();
  const gpus = nvidia.map(({ pciBusId, suspended }): GpuReading => {
    const before = known.get(pciBusId);
    return {
      gpu: before?.gpu ?? String(addresses.indexOf(pciBusId)),
      uuid: before?.uuid ?? pciBusId,
      condition: suspended ? 'suspended' : 'up',
      facts: before?.facts ?? { vendor: 'nvidia', pciBusId },
      points: [],
    };
  });
  const unread = nvidia.some(({ suspended }) => !suspended);
  return {
    gpus,
    unsupported: unread ? [{ field: 'nvidia-smi', why: 'not_supported' }] : [],
  };
}
