import { figure } from '../../test-reading.ts';
import { removeTrees, spiedFiles, writeTree } from '../../test-sysfs.ts';
import { AmdgpuProcesses } from './amdgpu-processes.ts';
import { createAmdgpuBackend } from './amdgpu-backend.ts';
import { cardFiles } from './test-cards.ts';

afterEach(removeTrees);

const CARD = '0000:03:00.0';
const APU = '0000:64:00.0';

function fdinfo(pciBusId: string, client: number, memory: string): string {
  return `pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-pdev:\t${pciBusId}\ndrm-client-id:\t${client}\n${memory}\n`;
}

const HOST = {
  // A server with ROCm: two open files of one client, and the KFD.
  'proc/100/comm': 'llama-server\n',
  'proc/100/fd/3': '->/dev/kfd',
  'proc/100/fd/4': '->/dev/dri/renderD128',
  'proc/100/fd/5': '->/dev/dri/renderD128',
  'proc/100/fdinfo/4': fdinfo(CARD, 7, 'drm-memory-vram:\t1024 KiB\ndrm-memory-gtt:\t512 KiB'),
  'proc/100/fdinfo/5': fdinfo(CARD, 7, 'drm-memory-vram:\t1024 KiB\ndrm-memory-gtt:\t512 KiB'),
  // A compositor with two clients on two GPUs, newer keys.
  'proc/200/comm': 'Xorg\n',
  'proc/200/fd/8': '->/dev/dri/card1',
  'proc/200/fd/9': '->/dev/dri/renderD129',
  'proc/200/fdinfo/8': fdinfo(CARD, 1, 'drm-resident-vram:\t2 MiB'),
  'proc/200/fdinfo/9': fdinfo(APU, 2, 'drm-memory-vram:\t64 KiB\ndrm-memory-gtt:\t4096 KiB'),
  // Not on a GPU of AMD's, or not on a GPU.
  'proc/300/fd/3': '->/dev/dri/renderD130',
  'proc/300/fdinfo/3': 'drm-driver:\ti915\ndrm-pdev:\t0000:00:02.0\ndrm-client-id:\t9\n',
  'proc/400/fd/0': '->/dev/null',
  'proc/400/fdinfo/0': fdinfo(CARD, 99, 'drm-memory-vram:\t9 KiB'),
  'proc/self/fd/0': '->/dev/dri/renderD128',
};

describe('processes', () => {
  it('are those with an open render node, each client once', () => {
    const tree = writeTree(HOST);
    const view = new AmdgpuProcesses({
      files: spiedFiles(),
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      nowSeconds: () => 0,
    }).look(
      new Map([
        [CARD, false],
        [APU, true],
      ]),
    );
    expect(view.complete).toBe(true);
    expect(Object.fromEntries(view.processes)).toEqual({
      [CARD]: [
        { pid: 100, type: 'compute', name: 'llama-server', memoryBytes: 1024 * 1024 },
        { pid: 200, type: 'graphics', name: 'Xorg', memoryBytes: 2 * 1024 * 1024 },
      ],
      // On an APU the memory is the host's: GTT counts.
      [APU]: [{ pid: 200, type: 'graphics', name: 'Xorg', memoryBytes: 4160 * 1024 }],
    });
  });

  it('of other users show by the KFD, and the larger of the two figures counts', () => {
    const kfd = 'sys/class/kfd/kfd';
    const tree = writeTree({
      ...HOST,
      [`${kfd}/topology/nodes/0/gpu_id`]: '0\n',
      [`${kfd}/topology/nodes/0/properties`]: 'cpu_cores_count 16\nlocation_id 0\ndomain 0\n',
      [`${kfd}/topology/nodes/1/gpu_id`]: '51234\n',
      [`${kfd}/topology/nodes/1/properties`]: 'simd_count 192\nlocation_id 768\ndomain 0\n',
      [`${kfd}/proc/100/vram_51234`]: '5242880\n',
      [`${kfd}/proc/500/vram_51234`]: '1073741824\n',
      [`${kfd}/proc/500/sdma_51234`]: '7\n',
      'proc/500/comm': 'vllm\n',
    });
    const view = new AmdgpuProcesses({
      files: spiedFiles({ '/500/fd': 'EACCES' }),
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      nowSeconds: () => 0,
    }).look(new Map());
    expect(view.complete).toBe(false);
    expect(view.processes.get(CARD)).toEqual([
      { pid: 100, type: 'compute', name: 'llama-server', memoryBytes: 5_242_880 },
      { pid: 200, type: 'graphics', name: 'Xorg', memoryBytes: 2 * 1024 * 1024 },
      { pid: 500, type: 'compute', name: 'vllm', memoryBytes: 1_073_741_824 },
    ]);
  });

  it.each([
    ['of the function they are on', '0000:03:00.1', '0000:03:00.1'],
    ['of function 0 for a part of a GPU', CARD, CARD],
  ])('of the KFD are %s', (_, known, expected) => {
    const kfd = 'sys/class/kfd/kfd';
    const tree = writeTree({
      [`${kfd}/topology/nodes/1/gpu_id`]: '51235\n',
      [`${kfd}/topology/nodes/1/properties`]: 'location_id 769\ndomain 0\n',
      [`${kfd}/proc/500/vram_51235`]: '4096\n',
    });
    const { sysfs: sysfsRoot, proc: procRoot } = tree;
    const view = new AmdgpuProcesses({ files: spiedFiles(), sysfsRoot, procRoot, nowSeconds: () => 0 }).look(
      new Map([[known, false]]),
    );
    expect([...view.processes.keys()]).toEqual([expected]);
  });

  it('are looked up at most every 10 s', () => {
    const tree = writeTree(HOST);
    const files = spiedFiles();
    let nowSeconds = 0;
    const processes = new AmdgpuProcesses({
      files,
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      nowSeconds: () => nowSeconds,
    });
    const first = processes.look(new Map());
    files.opened.splice(0);
    nowSeconds = 9.9;
    expect(processes.look(new Map())).toBe(first);
    expect(files.opened).toEqual([]);
    nowSeconds = 10;
    processes.look(new Map());
    expect(files.opened).not.toEqual([]);
  });

  describe('over time', () => {
    const GPU_OF = (pid: number): Record<string, string> => ({
      [`proc/${pid}/fd/7`]: '->/dev/dri/renderD128',
      [`proc/${pid}/fdinfo/7`]: fdinfo(CARD, pid, 'drm-memory-vram:\t8 KiB'),
    });

    function looks(errors: Readonly<Record<string, string>> = {}) {
      const tree = writeTree(HOST);
      const files = spiedFiles(errors);
      let nowSeconds = 0;
      const processes = new AmdgpuProcesses({
        files,
        sysfsRoot: tree.sysfs,
        procRoot: tree.proc,
        nowSeconds: () => nowSeconds,
      });
      return {
        tree,
        /** Looks, ten seconds on: whose open files were looked at, and who is on the GPU. */
        next: () => {
          files.opened.splice(0);
          const { complete, processes: byGpu } = processes.look(new Map());
          nowSeconds += 10;
          const lookedAt = files.opened.flatMap((file) => /\/(\d+)\/fd$/.exec(file)?.[1] ?? []).map(Number);
          return { lookedAt, complete, onGpu: byGpu.get(CARD)?.map(({ pid }) => pid) };
        },
      };
    }

    it('those with a GPU open are looked at each time, the others once in a minute', () => {
      const { next } = looks();
      expect(next().lookedAt).toEqual([100, 200, 300, 400]);
      const minute = [1, 2, 3, 4, 5, 6].map(() => next());
      // One that has only the render node of another driver open may open ours as well.
      expect(minute.map(({ lookedAt }) => lookedAt.filter((pid) => pid !== 400))).toEqual(
        Array.from({ length: 6 }, () => [100, 200, 300]),
      );
      expect(minute.filter(({ lookedAt }) => lookedAt.includes(400))).toHaveLength(1);
      expect(minute.map(({ onGpu }) => onGpu)).toEqual(Array.from({ length: 6 }, () => [100, 200]));
    });

    it('one that opens a GPU long after it began shows within a minute', () => {
      const { tree, next } = looks();
      next();
      tree.write(GPU_OF(400));
      const minute = [1, 2, 3, 4, 5, 6].map(() => next().onGpu);
      expect(minute.at(-1)).toEqual([100, 200, 400]);
    });

    it('one that is new is looked at each time for a minute', () => {
      const { tree, next } = looks();
      next();
      tree.write({ 'proc/500/fd/0': '->/dev/null' });
      const minute = [1, 2, 3, 4, 5].map(() => next().lookedAt.includes(500));
      expect(minute).toEqual([true, true, true, true, true]);
      tree.write(GPU_OF(500));
      expect(next().onGpu).toEqual([100, 200, 500]);
    });

    it('one that cannot be looked at is not forgotten when it is passed over', () => {
      const { next } = looks({ '/400/fd': 'EACCES' });
      expect([1, 2, 3, 4, 5, 6, 7].map(() => next().complete)).toEqual(
        Array.from({ length: 7 }, () => false),
      );
    });

    it('one that is gone, and its GPU, are gone', () => {
      const { tree, next } = looks();
      next();
      tree.remove('proc/200');
      expect(next().onGpu).toEqual([100]);
    });
  });

  it.each([
    ['all processes can be seen', {}, [], 0],
    ['those of others cannot', { '/400/fd': 'EACCES' }, undefined, undefined],
    ['one went meanwhile', { '/400/fd': 'ENOENT' }, [], 0],
  ])('of a GPU without any, where %s: %j', async (_, errors, processes, count) => {
    const tree = writeTree({
      ...cardFiles(0, CARD, { gpu_busy_percent: '0' }),
      'proc/400/fd/0': '->/dev/null',
    });
    const files = spiedFiles(errors);
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files });
    const { gpus } = await backend.read([], new AbortController().signal);
    expect(gpus[0]?.processes).toEqual(processes);
    expect(figure(gpus[0], 'gpu_processes{type="compute"}')).toBe(count);
  });

  it('of an APU count the host memory in', async () => {
    const tree = writeTree({
      ...HOST,
      ...cardFiles(0, APU, {
        'hwmon/hwmon6/in1_label': 'vddnb',
        'hwmon/hwmon6/temp1_label': 'edge',
        'hwmon/hwmon6/temp1_input': '40000',
        mem_info_vram_total: '536870912',
        mem_info_gtt_total: '31433977856',
        mem_info_gtt_used: '30000000000',
      }),
    });
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc });
    const { gpus } = await backend.read([], new AbortController().signal);
    expect(figure(gpus[0], 'gpu_memory_gtt_used_bytes')).toBe(30_000_000_000);
    expect(gpus[0]?.processes).toMatchObject([{ pid: 200, memoryBytes: 4160 * 1024 }]);
    expect(figure(gpus[0], 'gpu_processes{type="graphics"}')).toBe(1);
  });
});
