import {
  BackendError,
  type BackendReading,
  type GpuBackend,
  type GpuReading,
  type PciGpu,
} from '../../reading.ts';
import { readMemInfo } from '../../unified-memory.ts';
import { normalizeSmi } from './normalize-smi.ts';
import { createSmiRun } from './run-nvidia-smi.ts';

export interface NvidiaSmiOptions {
  /** A name to look for in PATH, or a path. */
  readonly program?: string;
  /** For the memory of a host whose GPU has none of its own. */
  readonly procRoot?: string;
  /** For how long an nvidia-smi that was told to end may live before it is abandoned. */
  readonly graceSeconds?: number;
}

/**
 * NVIDIA GPUs through `nvidia-smi -q -x`. The program touches every GPU, whichever one it is asked for, and so wakes
 * those that sleep: it is not run while one does.
 */
export function createNvidiaSmiBackend({
  program = 'nvidia-smi',
  procRoot = '/proc',
  graceSeconds = 2,
}: NvidiaSmiOptions = {}): GpuBackend {
  const run = createSmiRun({ program, graceSeconds });
  /** By PCI address, as last read; also of those that are gone since, which may come back. */
  let known = new Map<string, GpuReading>();

  return {
    name: 'nvidia-smi',
    async read(pci, signal) {
      const nvidia = pci.filter(({ vendor }) => vendor === 'nvidia');
      if (nvidia.some(({ suspended }) => suspended)) return suspendedReading(nvidia, known);

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
      return { ...reading, gpus };
    },
    close: () => run.end(),
  };
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
function suspendedReading(nvidia: readonly PciGpu[], known: ReadonlyMap<string, GpuReading>): BackendReading {
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
    backend: 'nvidia-smi',
    gpus,
    unparsed: [],
    unsupported: unread ? [{ field: 'nvidia-smi', why: 'not_supported' }] : [],
  };
}
