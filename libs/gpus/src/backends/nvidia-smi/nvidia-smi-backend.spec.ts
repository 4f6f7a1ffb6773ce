import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { runInThisContext } from 'node:vm';

import { BackendError, type GpuBackend, type PciGpu } from '../../reading.ts';
import { createNvidiaSmiBackend } from './nvidia-smi-backend.ts';
import { fixtureText } from './test-smi-lines.ts';

/** A fake nvidia-smi: a shell script that tells of each of its runs in a file. */
class FakeSmi {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'fake-smi-'));
  readonly program: string;
  private readonly runsFile = path.join(this.directory, 'runs');

  constructor(name: string) {
    mkdirSync(path.join(this.directory, 'bin'));
    this.program = path.join(this.directory, 'bin', name);
  }

  /** What it does from now on; `$OUT` is the folder in which `files` are. */
  becomes(script: string, files: Readonly<Record<string, string>> = {}): void {
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(this.directory, name), text);
    writeFileSync(
      this.program,
      `#!/bin/sh\nOUT='${this.directory}'\necho "$$ $*" >> "$OUT/runs"\n${script}\n`,
    );
    chmodSync(this.program, 0o755);
  }

  /** Process id and arguments of each run. */
  runs(): { readonly pid: number; readonly args: string }[] {
    if (!existsSync(this.runsFile)) return [];
    // The shell makes the file before it writes the line.
    const lines = readFileSync(this.runsFile, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => ({ pid: Number(line.split(' ')[0]), args: line.replace(/^\d+ /, '') }));
  }

  async started(): Promise<number> {
    await until(() => this.runs().length > 0);
    return this.runs().at(-1)?.pid ?? 0;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('the condition did not come true in 10 s');
    await wait(5);
  }
}

// Jest gives tests a copy of the environment, which programs that they start do not see; here they have to see PATH.
const environmentOfTests = process.env;
beforeAll(() => {
  process.env = runInThisContext('process.env') as NodeJS.ProcessEnv;
});
afterAll(() => {
  process.env = environmentOfTests;
});

const never = new AbortController().signal;
const good = { 'good.xml': fixtureText('r580.xml') };
/** Two GPUs, without the process whose name breaks the XML. */
const two = { 'two.xml': fixtureText('r470.xml').replace('a<b & c', 'plain') };

async function failure(reading: Promise<unknown>): Promise<BackendError> {
  const outcome = await reading.then(
    () => 'it was read',
    (error: unknown) => error,
  );
  if (outcome instanceof BackendError) return outcome;
  throw new Error(`no BackendError: ${String(outcome)}`);
}

describe('createNvidiaSmiBackend', () => {
  let fake: FakeSmi;
  let backend: GpuBackend;

  beforeEach(() => {
    fake = new FakeSmi('nvidia-smi');
    backend = createNvidiaSmiBackend({ program: fake.program, graceSeconds: 5 });
  });
  afterEach(() => {
    backend.close();
    fake.remove();
  });

  it('reads what nvidia-smi prints, in one run, and leaves PATH as it was', async () => {
    fake.becomes('cat "$OUT/good.xml"', good);
    const pathBefore = process.env['PATH'];
    const reading = await backend.read([], never);
    expect(reading).toMatchObject({ backend: 'nvidia-smi', driverVersion: '580.105.08' });
    expect(reading.gpus.map(({ facts, gpu }) => [gpu, facts.pciBusId])).toEqual([['0', '0008:01:00.0']]);
    expect(fake.runs().map(({ args }) => args)).toEqual(['-q -x']);
    expect(process.env['PATH']).toBe(pathBefore);
  });

  it('reads all GPUs where there are several', async () => {
    fake.becomes('cat "$OUT/two.xml"', two);
    const { gpus } = await backend.read([], never);
    expect(gpus.map(({ gpu }) => gpu)).toEqual(['0', '1']);
    expect(fake.runs()).toHaveLength(1);
  });

  it('reads one in which the name of a process breaks the XML', async () => {
    fake.becomes('cat "$OUT/odd.xml"', { 'odd.xml': fixtureText('r470.xml') });
    const { gpus } = await backend.read([], never);
    expect(gpus[0]?.processes?.map(({ name }) => name)).toContain('a<b & c');
  });

  it.each([
    ['ends with code 2 for one bad GPU', 'cat "$OUT/good.xml"; exit 2'],
    ['warns on stderr', 'echo "Warning: infoROM is corrupted" >&2; cat "$OUT/good.xml"'],
    ['warns before its XML', 'echo "Warning: infoROM is corrupted"; cat "$OUT/good.xml"'],
  ])('reads one that %s, and from then on runs it once', async (_what, script) => {
    fake.becomes(script, good);
    expect((await backend.read([], never)).gpus).toHaveLength(1);
    expect(fake.runs()).toHaveLength(2);
    expect((await backend.read([], never)).gpus).toHaveLength(1);
    expect(fake.runs()).toHaveLength(3);
  });

  it('reads one that warns after its XML', async () => {
    fake.becomes('cat "$OUT/good.xml"; echo "WARNING: infoROM is corrupted at gpu 0000:3B:00.0"', good);
    expect((await backend.read([], never)).gpus).toHaveLength(1);
  });

  it('reads an output of 1.5 MB', async () => {
    const gpu = fixtureText('r580.xml').replace(/^[\s\S]*?(?=\t<gpu )|\s*<\/nvidia_smi_log>\s*$/g, '');
    const clocks = `<supported_clocks>${'<value>2619 MHz</value>'.repeat(8000)}</supported_clocks></gpu>`;
    const many = Array.from({ length: 8 }, (_, index) =>
      gpu.replace('</gpu>', clocks).replaceAll('00000008:01', `00000008:0${index}`),
    );
    const text = `<nvidia_smi_log>${many.join('')}</nvidia_smi_log>`;
    expect(text.length).toBeGreaterThan(1.4e6);
    fake.becomes('cat "$OUT/large.xml"', { 'large.xml': text });
    expect((await backend.read([], never)).gpus).toHaveLength(8);
  });

  it.each([
    ['Failed to initialize NVML: Driver/library version mismatch', 18, 'driver_mismatch'],
    [
      "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.",
      9,
      'driver_not_loaded',
    ],
    ['No devices were found', 6, 'no_gpus'],
    ['Failed to initialize NVML: Unknown Error', 255, 'init_unknown_error'],
    ['Failed to initialize NVML: Insufficient Permissions', 4, 'no_permission'],
    ["NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", 12, 'library_missing'],
    ['Something that nobody has seen', 1, 'unreadable_output'],
    ['', 0, 'unreadable_output'],
  ])('says why when it prints %j and ends with code %i', async (text, code, reason) => {
    fake.becomes(`cat "$OUT/said"; exit ${code}`, { said: text });
    const error = await failure(backend.read([], never));
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(fake.program);
    expect(error.message).toContain(text.slice(0, 60));
  });

  it('says the same when that stands on stderr', async () => {
    fake.becomes('echo "Failed to initialize NVML: Driver/library version mismatch" >&2; exit 18');
    expect((await failure(backend.read([], never))).reason).toBe('driver_mismatch');
  });

  it('reads again when the driver is mended', async () => {
    fake.becomes('echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18');
    await failure(backend.read([], never));
    fake.becomes('cat "$OUT/good.xml"', good);
    expect((await backend.read([], never)).gpus).toHaveLength(1);
  });

  it('says that there are no GPUs where the XML has none', async () => {
    fake.becomes('cat "$OUT/none.xml"', { 'none.xml': fixtureText('no-gpus.xml') });
    expect((await failure(backend.read([], never))).reason).toBe('no_gpus');
  });

  it('says that the output is cut off', async () => {
    fake.becomes('head -c 3000 "$OUT/good.xml"', good);
    const error = await failure(backend.read([], never));
    expect(error.reason).toBe('unreadable_output');
    expect(error.message).toContain('is cut off after 3000 characters');
  });

  it('says that the output has no end', async () => {
    fake.becomes("yes '<nvidia_smi_log>'");
    const error = await failure(backend.read([], never));
    expect(error.reason).toBe('unreadable_output');
    expect(error.message).toContain('printed more than 16777216 bytes');
  });

  it('says that it crashed', async () => {
    fake.becomes('kill -SEGV $$');
    expect((await failure(backend.read([], never))).reason).toBe('crashed');
  });

  it('says that the program is missing, and runs no other one of that name', async () => {
    fake.becomes('cat "$OUT/good.xml"', good);
    const missing = createNvidiaSmiBackend({ program: path.join(fake.directory, 'nowhere/nvidia-smi') });
    const pathBefore = process.env['PATH'];
    process.env['PATH'] = `${path.dirname(fake.program)}:${pathBefore ?? ''}`;
    try {
      expect((await failure(missing.read([], never))).reason).toBe('program_missing');
    } finally {
      process.env['PATH'] = pathBefore;
    }
    expect(fake.runs()).toHaveLength(0);
  });

  it('says that it may not run the program', async () => {
    fake.becomes('cat "$OUT/good.xml"', good);
    chmodSync(fake.program, 0o644);
    expect((await failure(backend.read([], never))).reason).toBe('no_permission');
  });

  it('finds the program in PATH', async () => {
    fake.becomes('cat "$OUT/good.xml"', good);
    const pathBefore = process.env['PATH'];
    process.env['PATH'] = `${path.dirname(fake.program)}:${pathBefore ?? ''}`;
    try {
      expect((await createNvidiaSmiBackend().read([], never)).gpus).toHaveLength(1);
    } finally {
      process.env['PATH'] = pathBefore;
    }
  });

  it('tells of a GPU that nvidia-smi only complains of, under the name that it had', async () => {
    fake.becomes('cat "$OUT/two.xml"', two);
    const before = await backend.read([], never);
    fake.becomes(
      'echo "Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost.  Reboot the system" ; exit 15',
    );
    const { gpus } = await backend.read([], never);
    expect(gpus).toEqual([
      { gpu: '0', uuid: before.gpus[0]?.uuid, condition: 'lost', facts: before.gpus[0]?.facts, points: [] },
    ]);
  });
});

describe('a hanging nvidia-smi', () => {
  // The first is run through node-nvidia-smi, the second directly.
  describe.each(['nvidia-smi', 'other-smi'])('called %s', (name) => {
    let fake: FakeSmi;
    beforeEach(() => (fake = new FakeSmi(name)));
    afterEach(() => fake.remove());

    it('is ended by SIGTERM when its time is up, and read again the next time', async () => {
      const backend = createNvidiaSmiBackend({ program: fake.program, graceSeconds: 10 });
      fake.becomes('exec sleep 60');
      const deadline = new AbortController();
      const reading = failure(backend.read([], deadline.signal));
      const pid = await fake.started();
      deadline.abort();
      expect((await reading).reason).toBe('timeout');
      expect(isAlive(pid)).toBe(false);
      fake.becomes('cat "$OUT/good.xml"', good);
      expect((await backend.read([], never)).gpus).toHaveLength(1);
    });

    it('is abandoned when it does not die, and no second one is started while it lives', async () => {
      const backend = createNvidiaSmiBackend({ program: fake.program, graceSeconds: 0.05 });
      fake.becomes("trap '' TERM; exec sleep 60");
      const deadline = new AbortController();
      const reading = failure(backend.read([], deadline.signal));
      const pid = await fake.started();
      await until(() => ignoresTerm(pid));
      deadline.abort();
      expect((await reading).reason).toBe('hung');
      expect((await failure(backend.read([], never))).reason).toBe('hung');
      expect(fake.runs()).toHaveLength(1);

      fake.becomes('cat "$OUT/good.xml"', good);
      process.kill(pid, 'SIGKILL');
      await until(() =>
        backend.read([], never).then(
          () => true,
          () => false,
        ),
      );
      expect(isAlive(pid)).toBe(false);
    });

    it('is ended when the backend is closed', async () => {
      const backend = createNvidiaSmiBackend({ program: fake.program });
      fake.becomes('exec sleep 60');
      const reading = failure(backend.read([], never));
      const pid = await fake.started();
      backend.close();
      expect((await reading).reason).toBe('timeout');
      expect(isAlive(pid)).toBe(false);
      expect(fake.runs()).toHaveLength(1);
    });
  });

  it('is not started at all once the time is up', async () => {
    const fake = new FakeSmi('nvidia-smi');
    fake.becomes('cat "$OUT/good.xml"', good);
    const backend = createNvidiaSmiBackend({ program: fake.program });
    expect((await failure(backend.read([], AbortSignal.abort()))).reason).toBe('timeout');
    expect(fake.runs()).toHaveLength(0);
    fake.remove();
  });
});

describe('a GPU that sleeps', () => {
  const [first, second]: readonly [PciGpu, PciGpu] = [
    { pciBusId: '0000:3b:00.0', vendor: 'nvidia', suspended: false },
    { pciBusId: '0000:af:00.0', vendor: 'nvidia', suspended: false },
  ];
  const asleep = { ...second, suspended: true };
  let fake: FakeSmi;
  let backend: GpuBackend;
  beforeEach(() => {
    fake = new FakeSmi('nvidia-smi');
    fake.becomes('cat "$OUT/two.xml"', two);
    backend = createNvidiaSmiBackend({ program: fake.program });
  });
  afterEach(() => fake.remove());

  it('is not woken: nvidia-smi is not run, and the others have no figures', async () => {
    const reading = await backend.read([first, asleep], never);
    expect(fake.runs()).toHaveLength(0);
    expect(reading).toEqual({
      backend: 'nvidia-smi',
      gpus: [
        {
          gpu: '0',
          uuid: '0000:3b:00.0',
          condition: 'up',
          facts: { vendor: 'nvidia', pciBusId: '0000:3b:00.0' },
          points: [],
        },
        {
          gpu: '1',
          uuid: '0000:af:00.0',
          condition: 'suspended',
          facts: { vendor: 'nvidia', pciBusId: '0000:af:00.0' },
          points: [],
        },
      ],
      unparsed: [],
      unsupported: [{ field: 'nvidia-smi', why: 'not_supported' }],
    });
  });

  it('keeps the name that it had awake', async () => {
    const awake = (await backend.read([first, second], never)).gpus[1];
    const reading = await backend.read([{ ...first, suspended: true }, asleep], never);
    expect(reading.gpus[1]).toMatchObject({
      gpu: '1',
      uuid: awake?.uuid,
      condition: 'suspended',
      facts: awake?.facts,
    });
    expect(reading.unsupported).toEqual([]);
    expect(fake.runs()).toHaveLength(1);
  });

  it('does not matter where it is of another vendor', async () => {
    const amd: PciGpu = { pciBusId: '0000:01:00.0', vendor: 'amd', suspended: true };
    expect((await backend.read([first, second, amd], never)).gpus).toHaveLength(2);
  });
});

describe('GPUs that may sleep', () => {
  const REST_SECONDS = 60;
  const HOUR_SECONDS = 3600;
  const gpuXml = (bus: string, utilization: string, processes: string): string =>
    `<gpu id="00000000:${bus}:00.0"><uuid>GPU-${bus}</uuid><product_name>RTX</product_name><utilization><gpu_util>${utilization}</gpu_util></utilization>${processes}</gpu>`;
  const NO_PROCESSES = '<processes></processes>';
  const ONE_PROCESS =
    '<processes><process_info><pid>5</pid><type>C</type><used_memory>1 MiB</used_memory></process_info></processes>';
  const idle = gpuXml('3b', '0 %', NO_PROCESSES);
  const pci: PciGpu = { pciBusId: '0000:3b:00.0', vendor: 'nvidia', suspended: false, powerManaged: true };
  const asleep: PciGpu = { ...pci, suspended: true };
  const other: PciGpu = { ...pci, pciBusId: '0000:af:00.0' };

  let fake: FakeSmi;
  beforeEach(() => (fake = new FakeSmi('other-smi')));
  afterEach(() => fake.remove());

  function host(...gpus: readonly string[]) {
    fake.becomes('cat "$OUT/gpus.xml"', {
      'gpus.xml': `<nvidia_smi_log><driver_version>580.1</driver_version>${gpus.join('')}</nvidia_smi_log>`,
    });
    let nowSeconds = 0;
    const backend = createNvidiaSmiBackend({ program: fake.program, nowSeconds: () => nowSeconds });
    const at = async (seconds: number, ...bus: readonly PciGpu[]) => {
      nowSeconds = seconds;
      const runsBefore = fake.runs().length;
      const reading = await backend.read(bus, never);
      return { reading, isRun: fake.runs().length > runsBefore };
    };
    return { at, isRun: async (...call: Parameters<typeof at>) => (await at(...call)).isRun };
  }

  it('and are idle are left alone for a minute, up and without figures', async () => {
    const { at } = host(idle);
    const first = await at(0, pci);
    expect(first.reading.gpus[0]?.points).not.toEqual([]);
    for (const seconds of [5, REST_SECONDS - 1]) {
      expect(await at(seconds, pci)).toEqual({
        isRun: false,
        reading: {
          backend: 'nvidia-smi',
          driverVersion: '580.1',
          gpus: [
            { gpu: '0', uuid: 'GPU-3b', condition: 'up', facts: first.reading.gpus[0]?.facts, points: [] },
          ],
          unparsed: [],
          unsupported: [],
        },
      });
    }
    const again = await at(REST_SECONDS, pci);
    expect([again.isRun, again.reading.gpus[0]?.points.length]).toEqual([
      true,
      first.reading.gpus[0]?.points.length,
    ]);
  });

  it('and do not in that minute are not left alone again for an hour', async () => {
    const { isRun } = host(idle);
    expect([await isRun(0, pci), await isRun(5, pci), await isRun(60, pci)]).toEqual([true, false, true]);
    expect([await isRun(65, pci), await isRun(60 + HOUR_SECONDS - 1, pci)]).toEqual([true, true]);
    expect([await isRun(60 + HOUR_SECONDS, pci), await isRun(65 + HOUR_SECONDS, pci)]).toEqual([true, false]);
  });

  it('and did are read at once when somebody wakes them, and left alone again when they are idle', async () => {
    const { at, isRun } = host(idle);
    await at(0, pci);
    const sleeping = await at(10, asleep);
    expect([sleeping.isRun, sleeping.reading.gpus[0]?.condition]).toEqual([false, 'suspended']);
    expect([await isRun(15, pci), await isRun(20, pci)]).toEqual([true, false]);
  });

  it('and of which one did are left alone again without an hour between', async () => {
    const { isRun } = host(idle, gpuXml('af', '0 %', NO_PROCESSES));
    await isRun(0, pci, other);
    expect([await isRun(10, asleep, other), await isRun(100, asleep, other)]).toEqual([false, false]);
    expect([await isRun(105, pci, other), await isRun(110, pci, other)]).toEqual([true, false]);
  });

  it.each<[string, readonly string[], readonly PciGpu[]]>([
    ['works', [gpuXml('3b', '1 %', NO_PROCESSES)], [pci]],
    ['has a process', [gpuXml('3b', '0 %', ONE_PROCESS)], [pci]],
    ['does not tell its processes', [gpuXml('3b', '0 %', '<processes>N/A</processes>')], [pci]],
    ['may not sleep', [idle], [{ ...pci, powerManaged: false }]],
    ['is one of which nobody knows', [idle], []],
    ['has one beside it that works', [idle, gpuXml('af', '1 %', NO_PROCESSES)], [pci, other]],
    [
      'has one beside it that may not sleep',
      [idle, gpuXml('af', '0 %', NO_PROCESSES)],
      [pci, { ...other, powerManaged: false }],
    ],
    ['has one beside it that is lost', [idle, gpuXml('af', 'GPU is lost', NO_PROCESSES)], [pci, other]],
  ])('are read on when one %s', async (_what, gpus, bus) => {
    const { isRun } = host(...gpus);
    expect([await isRun(0, ...bus), await isRun(5, ...bus)]).toEqual([true, true]);
  });

  it.each<[string, readonly PciGpu[]]>([
    ['another is on the bus', [pci, other]],
    ['the leave to sleep is taken back', [{ ...pci, powerManaged: false }]],
    ['it is gone', []],
  ])('are read again as soon as %s', async (_what, bus) => {
    const { isRun } = host(idle);
    expect([await isRun(0, pci), await isRun(5, pci), await isRun(10, ...bus)]).toEqual([true, false, true]);
  });
});

describe('an nvidia-smi that an earlier gpu-reader left behind', () => {
  const stat = (name: string, state: string, startTicks = 100): string =>
    `700 (${name}) ${state} 1 650 650 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 0 0\n`;
  let fake: FakeSmi;
  let procRoot: string;
  const put = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(procRoot, file)), { recursive: true });
    writeFileSync(path.join(procRoot, file), text);
  };
  beforeEach(() => {
    fake = new FakeSmi('nvidia-smi');
    fake.becomes('cat "$OUT/good.xml"', good);
    procRoot = path.join(fake.directory, 'proc');
    put('meminfo', '');
    put('self/stat', stat('nvidia-smi', 'D'));
  });
  afterEach(() => fake.remove());

  it('stuck in the driver keeps another from being started, for as long as it lives', async () => {
    put('700/stat', stat('nvidia-smi', 'D'));
    const backend = createNvidiaSmiBackend({ program: fake.program, procRoot });
    const error = await failure(backend.read([], never));
    expect(error.reason).toBe('hung');
    expect(error.message).toContain('process 700');
    put('700/stat', stat('nvidia-smi', 'R'));
    expect((await failure(backend.read([], never))).reason).toBe('hung');
    expect(fake.runs()).toHaveLength(0);
    rmSync(path.join(procRoot, '700'), { recursive: true });
    expect((await backend.read([], never)).gpus).toHaveLength(1);
  });

  it.each([
    ['has ended, and is a zombie', stat('nvidia-smi', 'Z')],
    ['has ended, and another process has its number', stat('nvidia-smi', 'D', 200)],
  ])('and that %s keeps none from being started', async (_what, later) => {
    put('700/stat', stat('nvidia-smi', 'D'));
    const backend = createNvidiaSmiBackend({ program: fake.program, procRoot });
    await failure(backend.read([], never));
    put('700/stat', later);
    expect((await backend.read([], never)).gpus).toHaveLength(1);
  });

  it.each<[string, Readonly<Record<string, string>>]>([
    ['is not stuck', { '700/stat': stat('nvidia-smi', 'S') }],
    ['is another program', { '700/stat': stat('nvidia-smj', 'D') }],
    [
      'was started by somebody who is there',
      { '700/stat': stat('nvidia-smi', 'D'), '650/stat': '650 (bash) S' },
    ],
    ['cannot be read', { '700/stat': '700 (nvidia-smi' }],
  ])('and that %s keeps none from being started', async (_what, files) => {
    for (const [file, text] of Object.entries(files)) put(file, text);
    const backend = createNvidiaSmiBackend({ program: fake.program, procRoot });
    expect((await backend.read([], never)).gpus).toHaveLength(1);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether the process ignores SIGTERM (15) by now, as the kernel tells it. */
function ignoresTerm(pid: number): boolean {
  const mask = /^SigIgn:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${mask}`) & (1n << 14n)) !== 0n;
}
