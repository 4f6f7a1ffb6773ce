import path from 'node:path';

import { errorCode, findEntries, findText, readText, type DeviceFiles } from '../../pci/device-files.ts';
import { normalizePciBusId } from '../../pci/pci-gpus.ts';
import type { GpuProcess } from '../../reading.ts';

/** Looking through the open files of all processes is not for every second. */
const LOOK_SECONDS = 10;
/**
 * A process that has no GPU open is looked at in one of so many looks: most never open one. One that is new is looked at
 * in as many in a row, for a server opens its GPU some time after it began.
 */
const TURNS = 6;

export interface AmdgpuProcessesParts {
  readonly files: DeviceFiles;
  readonly sysfsRoot: string;
  readonly procRoot: string;
  /** Monotonic. */
  readonly nowSeconds: () => number;
}

/** Processes by PCI address of their GPU. */
export interface ProcessView {
  /**
   * Whether the open files of every process could be looked at: without root those of other users cannot, and then the
   * list holds our own processes and, as far as the kernel tells them to all (`/sys/class/kfd`), those that use ROCm.
   */
  readonly complete: boolean;
  readonly processes: ReadonlyMap<string, readonly GpuProcess[]>;
}

/** The processes on AMD's GPUs, looked up at most every 10 s; those that open a GPU late in life show within a minute. */
export class AmdgpuProcesses {
  private readonly parts: AmdgpuProcessesParts;
  private view: ProcessView = { complete: false, processes: new Map() };
  private lookedSeconds: number | undefined;
  private seen: ReadonlyMap<string, SeenProcess> = new Map();
  private turn = 0;

  constructor(parts: AmdgpuProcessesParts) {
    this.parts = parts;
  }

  /** @param gpus whether each GPU, by address, is part of a processor, so that its processes live in the host's memory too */
  look(gpus: KnownApus): ProcessView {
    const now = this.parts.nowSeconds();
    if (this.lookedSeconds === undefined || now - this.lookedSeconds >= LOOK_SECONDS) {
      this.view = this.lookNow(gpus);
      this.lookedSeconds = now;
      this.turn = (this.turn + 1) % TURNS;
    }
    return this.view;
  }

  private lookNow(gpus: KnownApus): ProcessView {
    const { files, sysfsRoot, procRoot } = this.parts;
    const uses: Uses = new Map();
    const seen = new Map<string, SeenProcess>();
    for (const pid of findEntries(files, procRoot).filter(isNumber)) {
      const before = this.seen.get(pid);
      if (before !== undefined && this.isPassedOver(pid, before)) {
        seen.set(pid, before);
        continue;
      }
      // Who was there before us is not new.
      const looks = this.lookedSeconds === undefined ? TURNS : (before?.looks ?? 0) + 1;
      seen.set(pid, { looks, ...lookAtOpenFiles(files, `${procRoot}/${pid}`, Number(pid), uses, gpus) });
    }
    this.seen = seen;
    lookAtKfd(files, path.join(sysfsRoot, 'class/kfd/kfd'), uses, gpus);
    const complete = seen.size > 0 && [...seen.values()].every(({ isVisible }) => isVisible);
    return { complete, processes: listProcesses(this.parts, uses) };
  }

  private isPassedOver(pid: string, { looks, hasGpu }: SeenProcess): boolean {
    return !hasGpu && looks >= TURNS && Number(pid) % TURNS !== this.turn;
  }
}

interface SeenProcess {
  /** How often it was looked at. */
  readonly looks: number;
  /** Whether its open files could be looked at, or it is gone. */
  readonly isVisible: boolean;
  /** Whether it had a render node or the KFD open. */
  readonly hasGpu: boolean;
}

/** Addresses of the GPUs there are, and whether each is an APU. */
export type KnownApus = ReadonlyMap<string, boolean>;

interface Use {
  compute: boolean;
  /** Bytes by DRM client: several open files may be one client (drm-usage-stats.rst). */
  readonly clients: Map<string, number>;
  kfdBytes: number;
}

type Uses = Map<string, Map<number, Use>>;

function listProcesses(
  { files, procRoot }: AmdgpuProcessesParts,
  uses: Uses,
): Map<string, readonly GpuProcess[]> {
  const processes = [...uses].map(([pciBusId, byPid]) => {
    const list = [...byPid].map(([pid, use]): GpuProcess => {
      const name = findText(files, `${procRoot}/${String(pid)}/comm`);
      // Memory of ROCm shows in both places; neither is known to hold all of it on every kernel.
      const clientBytes = [...use.clients.values()].reduce((sum, bytes) => sum + bytes, 0);
      return {
        pid,
        type: use.compute ? 'compute' : 'graphics',
        ...(name === undefined ? {} : { name }),
        memoryBytes: Math.max(clientBytes, use.kfdBytes),
      };
    });
    return [pciBusId, list.sort((one, other) => one.pid - other.pid)] as const;
  });
  return new Map(processes);
}

function isNumber(name: string): boolean {
  return /^\d+$/.test(name);
}

function lookAtOpenFiles(
  files: DeviceFiles,
  folder: string,
  pid: number,
  uses: Uses,
  gpus: KnownApus,
): Pick<SeenProcess, 'isVisible' | 'hasGpu'> {
  let descriptors: readonly string[];
  try {
    descriptors = files.list(`${folder}/fd`);
  } catch (error) {
    return { isVisible: errorCode(error) === 'ENOENT' || errorCode(error) === 'ESRCH', hasGpu: false };
  }
  const targets = descriptors.map((descriptor) => [descriptor, target(files, folder, descriptor)] as const);
  const compute = targets.some(([, file]) => file === '/dev/kfd');
  const nodes = targets.filter(([, file]) => /^\/dev\/dri\/(renderD|card)\d+$/.test(file));
  for (const [descriptor] of nodes) {
    const client = readClient(findText(files, `${folder}/fdinfo/${descriptor}`) ?? '', gpus);
    if (client === undefined) continue;
    const use = useOf(uses, client.pciBusId, pid);
    use.compute ||= compute;
    use.clients.set(client.id, client.bytes);
  }
  return { isVisible: true, hasGpu: compute || nodes.length > 0 };
}

function target(files: DeviceFiles, folder: string, descriptor: string): string {
  try {
    return files.linkTarget(`${folder}/fd/${descriptor}`);
  } catch {
    return ''; // Closed meanwhile.
  }
}

/** What a file of fdinfo says of a client of amdgpu: `drm-memory-vram: 12 KiB`. */
function readClient(
  fdinfo: string,
  gpus: KnownApus,
): { readonly pciBusId: string; readonly id: string; readonly bytes: number } | undefined {
  const lines = new Map(fdinfo.split('\n').flatMap((line) => keyAndValue(line)));
  const pciBusId = normalizePciBusId(lines.get('drm-pdev') ?? '');
  const id = lines.get('drm-client-id');
  if (lines.get('drm-driver') !== 'amdgpu' || pciBusId === undefined || id === undefined) return undefined;
  const gttBytes = gpus.get(pciBusId) === true ? memoryBytes(lines, 'gtt') : 0;
  return { pciBusId, id, bytes: memoryBytes(lines, 'vram') + gttBytes };
}

function keyAndValue(line: string): [string, string][] {
  const at = line.indexOf(':');
  return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1).trim()]];
}

/** amdgpu's own key, else the one of all drivers that took its place (drm-usage-stats.rst). */
function memoryBytes(lines: ReadonlyMap<string, string>, region: 'vram' | 'gtt'): number {
  const text = lines.get(`drm-memory-${region}`) ?? lines.get(`drm-resident-${region}`) ?? '';
  const [, digits = '0', unit = ''] = /^(\d+)\s*(KiB|MiB)?$/.exec(text) ?? [];
  return Number(digits) * (unit === 'MiB' ? 1024 ** 2 : unit === 'KiB' ? 1024 : 1);
}

/** `proc/<pid>/vram_<gpu id>` in bytes, for all users to read. */
function lookAtKfd(files: DeviceFiles, folder: string, uses: Uses, gpus: KnownApus): void {
  const pids = findEntries(files, path.join(folder, 'proc')).filter(isNumber);
  if (pids.length === 0) return;
  const addresses = kfdAddresses(files, path.join(folder, 'topology/nodes'), gpus);
  for (const pid of pids) {
    for (const name of findEntries(files, path.join(folder, 'proc', pid))) {
      const pciBusId = addresses.get(/^vram_(\d+)$/.exec(name)?.[1] ?? '');
      if (pciBusId === undefined) continue;
      const use = useOf(uses, pciBusId, Number(pid));
      use.compute = true;
      use.kfdBytes += bytesOf(files, path.join(folder, 'proc', pid, name));
    }
  }
}

function bytesOf(files: DeviceFiles, file: string): number {
  try {
    const text = readText(files, file);
    return /^\d+$/.test(text) ? Number(text) : 0;
  } catch {
    return 0; // The process is gone.
  }
}

/** PCI addresses by the id that the KFD gives its GPUs; processors have id 0. */
function kfdAddresses(files: DeviceFiles, folder: string, gpus: KnownApus): Map<string, string> {
  return new Map(
    findEntries(files, folder).flatMap((node): [string, string][] => {
      const id = findText(files, path.join(folder, node, 'gpu_id'));
      const properties = findText(files, path.join(folder, node, 'properties')) ?? '';
      const location = Number(/^location_id (\d+)$/m.exec(properties)?.[1] ?? Number.NaN);
      const domain = Number(/^domain (\d+)$/m.exec(properties)?.[1] ?? 0);
      if (id === undefined || id === '0' || Number.isNaN(location)) return [];
      const hexadecimal = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
      const bus = hexadecimal((location >> 8) & 0xff, 2);
      const device = `${hexadecimal(domain, 4)}:${bus}:${hexadecimal((location >> 3) & 0x1f, 2)}`;
      // The lowest bits are a function of its own, or number the parts of one GPU: those are all on its function 0.
      const own = `${device}.${location & 7}`;
      return [[id, gpus.has(own) ? own : `${device}.0`]];
    }),
  );
}

function useOf(uses: Uses, pciBusId: string, pid: number): Use {
  const byPid = uses.get(pciBusId) ?? new Map<number, Use>();
  uses.set(pciBusId, byPid);
  const use = byPid.get(pid) ?? { compute: false, clients: new Map<string, number>(), kfdBytes: 0 };
  byPid.set(pid, use);
  return use;
}
