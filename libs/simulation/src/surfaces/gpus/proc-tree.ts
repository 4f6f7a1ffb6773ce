import type { GpuProcessState, GpuState } from '../../gpu/gpu.ts';
import { filesIn, type FileTree, type TreeEntry } from './file-tree.ts';
import { renderNode } from './amdgpu-tree.ts';
import { amdGpus, sysfsAddress, type GpuHost } from './gpu-host.ts';

/** What a process has beside what its GPU knows of it. */
export interface ProcessFacts {
  /** Port on which it listens. */
  readonly port?: number;
  /** Id of its container, 64 hexadecimal digits. */
  readonly container?: string;
}

const CLOCK_TICKS_PER_SECOND = 100;
/** PROC_PID_INIT_INO, include/linux/proc_ns.h: these PIDs are those of the host. */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';
/** Ahead of the descriptors of GPUs. */
const SOCKET_DESCRIPTOR = 3;
const FIRST_GPU_DESCRIPTOR = 4;
const LISTENING = '0A';
const SOCKET_HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

/**
 * The `proc` of a host with the processes on its GPUs, as far as readers of GPUs look at it: command lines, names, parents,
 * containers, listening ports, and of AMD's GPUs the memory that each process has there (drm-usage-stats.rst). With the
 * boot time, by which the kernel log is dated.
 *
 * @param facts by PID
 */
export function procTree(host: GpuHost, facts: ReadonlyMap<number, ProcessFacts> = new Map()): FileTree {
  const processes = new Map(
    host.gpus.flatMap((gpu) => gpu.processes.map((process) => [process.pid, process])),
  );
  const sockets = listeningSockets([...processes.keys()], facts);
  return new Map([
    ...filesIn('proc', {
      stat: `btime ${Math.floor(host.startUnixSeconds)}`,
      'sys/kernel/osrelease': '6.8.0-60-generic',
      'self/ns/pid': { linkTo: INITIAL_PID_NAMESPACE },
    }),
    ...[...processes.values()].flatMap((process) =>
      processFiles(process, facts.get(process.pid) ?? {}, sockets, host),
    ),
  ]);
}

/** All of a network namespace, which every process in it has for its own `net/tcp`; here all are in one. */
function listeningSockets(pids: readonly number[], facts: ReadonlyMap<number, ProcessFacts>): string {
  const rows = pids.flatMap((pid) => {
    const port = facts.get(pid)?.port;
    return port === undefined ? [] : [{ pid, port }];
  });
  return (
    SOCKET_HEAD +
    rows
      .map(({ pid, port }, row) => {
        const address = `00000000:${port.toString(16).toUpperCase().padStart(4, '0')}`;
        return `${String(row).padStart(4)}: ${address} 00000000:0000 ${LISTENING} 00000000:00000000 00:00000000 00000000     0        0 ${socketOf(pid)} 1 0 100 0 0 10 0\n`;
      })
      .join('')
  );
}

/** The inode of the socket on which a process listens. */
function socketOf(pid: number): number {
  return 100_000 + pid;
}

function processFiles(
  process: GpuProcessState,
  { port, container }: ProcessFacts,
  sockets: string,
  host: GpuHost,
): [string, TreeEntry][] {
  const { pid, program, command } = process;
  const folder = `proc/${pid}`;
  // As the kernel cuts it (TASK_COMM_LEN).
  const name = program.split('/').at(-1)?.slice(0, 15) ?? '';
  return [
    ...filesIn(folder, {
      stat: `${pid} (${name}) S 1 0 0 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 ${CLOCK_TICKS_PER_SECOND} 0 0`,
      comm: name,
      cgroup: container === undefined ? '0::/user.slice' : `0::/system.slice/docker-${container}.scope`,
      [`task/${pid}/children`]: '',
      'ns/net': { linkTo: 'net:[4026531840]' },
      'fd/0': { linkTo: '/dev/null' },
      [`fd/${SOCKET_DESCRIPTOR}`]: port === undefined ? undefined : { linkTo: `socket:[${socketOf(pid)}]` },
    }),
    [`${folder}/cmdline`, command.map((word) => `${word}\0`).join('')],
    [`${folder}/net/tcp`, sockets],
    ...amdGpus(host).flatMap((gpu, index) => openGpu(gpu, index, pid)),
  ];
}

/** The open files by which a process uses an AMD GPU, if it does. */
function openGpu(gpu: GpuState, index: number, pid: number): [string, TreeEntry][] {
  const process = gpu.processes.find((each) => each.pid === pid);
  if (process === undefined || gpu.lostByXid !== undefined) return [];
  const descriptor = FIRST_GPU_DESCRIPTOR + 2 * index;
  const region = gpu.board.unifiedMemory ? 'gtt' : 'vram';
  const lines = [
    'drm-driver:\tamdgpu',
    `drm-client-id:\t${pid}`,
    `drm-pdev:\t${sysfsAddress(gpu.pciBusId)}`,
    `drm-memory-${region}:\t${Math.round(process.memoryBytes / 1024)} KiB`,
  ];
  return filesIn(`proc/${pid}`, {
    [`fd/${descriptor}`]: { linkTo: `/dev/dri/${renderNode(index)}` },
    [`fdinfo/${descriptor}`]: lines.join('\n'),
    [`fd/${descriptor + 1}`]: { linkTo: '/dev/kfd' },
  });
}
