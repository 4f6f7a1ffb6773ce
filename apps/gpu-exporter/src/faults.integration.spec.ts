import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';

import {
  buildFakeNvml,
  h100,
  h100Host,
  hostOf,
  installFakeSmi,
  noCompilerReason,
  writeFakeHost,
  type FakeBoard,
  type FakeHost,
} from '@llm-monitor/fake-nvml';

import {
  bundleProgram,
  descendantsOf,
  runProgram,
  startExporterProgram,
  until,
  untilEnded,
  type ExporterProgram,
  type RunningProgram,
  type Scrape,
} from './test-program.ts';

const library = buildFakeNvml();
const describeBuilt = library === undefined ? describe.skip : describe;
const title = `over a fake driver${library === undefined ? ` (${noCompilerReason})` : ''}, the exporter`;

// Each starts processes and waits for deadlines of whole seconds; on a busy machine that takes a while.
jest.setTimeout(30_000);

const NVML = { backend: 'nvml' };
const HUNG: Pick<FakeHost, 'hang'> = { hang: { functions: 'all' } };
/** Five intervals without a reading: the driver is stuck, and the deadline is far. */
const isStuck = (scrape: Scrape): boolean =>
  (scrape.value('gpu_exporter_reading_age_seconds', NVML) ?? 0) > 0.5;
const LATE = { GPU_EXPORTER_DEADLINE: '60s', GPU_EXPORTER_STALE_AFTER: '60s' };

/** The shipped program over a driver that fails as real ones do, seen through its processes and over HTTP. */
describeBuilt(title, () => {
  let script: string;
  let folder: string;
  let hostFile: string;
  let started: RunningProgram[] = [];

  beforeAll(() => {
    script = bundleProgram('faults');
  }, 60_000);

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'gpu-exporter-faults-'));
    hostFile = path.join(folder, 'host.json');
    mkdirSync(path.join(folder, 'sys'));
  });

  afterEach(async () => {
    const pids = started.flatMap(({ pid }) => [pid, ...descendantsOf(pid).map((child) => child.pid)]);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    await Promise.all(started.map(({ end }) => end));
    started = [];
    rmSync(folder, { recursive: true, force: true });
  });

  const environment = (settings: Readonly<Record<string, string>>): Record<string, string> => ({
    PATH: folder,
    NVIDIA_FAKE_CONFIG: hostFile,
    GPU_EXPORTER_BACKEND: 'nvml',
    GPU_EXPORTER_NVML_LIBRARY: library ?? '',
    GPU_EXPORTER_SYSFS_ROOT: path.join(folder, 'sys'),
    GPU_EXPORTER_KERNEL_LOG: 'false',
    GPU_EXPORTER_INTERVAL: '100ms',
    ...settings,
  });

  async function start(
    host: FakeHost,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<ExporterProgram> {
    writeFakeHost(hostFile, host);
    const exporter = await startExporterProgram(script, environment(settings));
    started.push(exporter);
    return exporter;
  }

  /** Started, and its GPUs read. */
  async function startReading(
    host: FakeHost,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<ExporterProgram> {
    const exporter = await start(host, settings);
    await exporter.scrapeUntil(isReading);
    return exporter;
  }

  function run(
    host: FakeHost,
    argv: readonly string[],
    settings: Readonly<Record<string, string>> = {},
  ): RunningProgram {
    writeFakeHost(hostFile, host);
    const program = runProgram(script, argv, environment(settings));
    started.push(program);
    return program;
  }

  const isReading = (scrape: Scrape): boolean =>
    scrape.value('gpu_exporter_backend_up') === 1 && scrape.value('gpu_up') === 1;

  const readerOf = ({ pid }: RunningProgram): number => {
    const readers = descendantsOf(pid).filter(({ parent, state }) => parent === pid && state !== 'Z');
    expect(readers).toHaveLength(1);
    return readers[0]?.pid ?? NaN;
  };

  const nvidiaSmi = (): Record<string, string> => ({
    ...LATE,
    GPU_EXPORTER_BACKEND: 'nvidia-smi',
    GPU_EXPORTER_NVIDIA_SMI: installFakeSmi(folder, hostFile, { callLog: path.join(folder, 'calls.log') }),
  });

  /** Once it is at work: the reader, nvidia-smi, and the shell between them. */
  async function untilNvidiaSmi({ pid }: ExporterProgram): Promise<number[]> {
    const callLog = path.join(folder, 'calls.log');
    await until('a run of nvidia-smi', () => (existsSync(callLog) ? true : undefined));
    const seen = descendantsOf(pid);
    expect(seen.map(({ commandLine }) => commandLine)).toContainEqual(
      expect.stringContaining('nvidia-smi.mjs'),
    );
    return seen.map((child) => child.pid);
  }

  describe('while the driver hangs', () => {
    it('goes on answering and says so, and recovers by itself', async () => {
      const host = h100Host(2);
      const exporter = await startReading(host, {
        // The least that the settings allow.
        GPU_EXPORTER_DEADLINE: '1s',
        GPU_EXPORTER_STALE_AFTER: '1s',
      });
      expect((await exporter.scrape()).value('gpu_utilization_ratio', { gpu: '1' })).toBe(0.87);

      writeFakeHost(hostFile, { ...host, ...HUNG });
      const hung = { ...NVML, reason: 'hung' };
      const unreachable = { gpu: '1', reason: 'driver_unreachable' };
      const stuck = await exporter.scrapeUntil(
        ({ value }) =>
          value('gpu_exporter_backend_failure_info', hung) === 1 && value('gpu_up', { gpu: '1' }) === 0,
      );
      expect(stuck.value('gpu_exporter_backend_up', NVML)).toBe(0);
      expect(stuck.value('llm_monitor_collector_success', { collector: 'nvml' })).toBe(0);
      expect(stuck.value('gpu_down_info', unreachable)).toBe(1);
      expect(stuck.value('gpu_info', { uuid: h100(1).uuid })).toBe(1);
      expect(stuck.text).not.toMatch(/^gpu_(utilization|power|memory|temperature)_/m);

      writeFakeHost(hostFile, host);
      const back = await exporter.scrapeUntil(isReading);
      expect(back.value('gpu_up', { gpu: '1' })).toBe(1);
      expect(back.value('gpu_utilization_ratio', { gpu: '1' })).toBe(0.87);
      expect(back.value('llm_monitor_collector_success', { collector: 'nvml' })).toBe(1);
      expect(back.text).not.toMatch(/^gpu_(exporter_backend_failure|down)_info\{/m);
    });

    it.each([
      ['a reader that is stuck in a call', () => undefined],
      // As one in uninterruptible sleep, of which only SIGKILL can be the end.
      ['a reader that heeds no SIGTERM', (reader: number) => process.kill(reader, 'SIGSTOP')],
    ])('ends within 2 s of SIGTERM, with 0, and leaves no child: %s', async (_title, afflict) => {
      const host = h100Host(1);
      const exporter = await startReading(host, LATE);
      writeFakeHost(hostFile, { ...host, ...HUNG });
      await exporter.scrapeUntil(isStuck);
      const reader = readerOf(exporter);
      afflict(reader);
      exporter.child.kill('SIGTERM');
      // Past the promised time it gets another end than the one that is expected.
      const harness = setTimeout(() => exporter.child.kill('SIGKILL'), 2000);
      const { code, signal, stdout } = await exporter.end;
      clearTimeout(harness);
      expect({ code, signal }).toEqual({ code: 0, signal: null });
      expect(stdout).toContain('"msg":"stopped"');
      await untilEnded([reader]);
    });
  });

  it('ends a nvidia-smi that heeds no SIGTERM when it is stopped', async () => {
    const exporter = await start({ ...h100Host(1), smi: { hang: true } }, nvidiaSmi());
    const processes = await untilNvidiaSmi(exporter);
    exporter.child.kill('SIGTERM');
    expect((await exporter.end).code).toBe(0);
    await untilEnded(processes);
  });

  it('shows a spike of 200 ms in the window of each client, once, and not in the point', async () => {
    const idle = afterSamplesOf(3);
    const exporter = await startReading(idle);
    const window = { stat: 'max' };
    for (const client of ['a', 'b']) {
      const before = await exporter.scrapeUntil(
        ({ value }) => value('gpu_utilization_window_ratio', window) !== undefined,
        client,
      );
      expect(before.value('gpu_utilization_window_ratio', window)).toBe(0.03);
    }

    // It is over when the file is written: no reading ever sees more than 3 %.
    writeFakeHost(hostFile, afterSamplesOf(100));
    await exporter.scrapeUntil(
      ({ value }) => value('gpu_utilization_window_ratio', window) === 1,
      'someone else',
    );
    for (const client of ['a', 'b']) {
      const { value } = await exporter.scrape(client);
      expect(value('gpu_utilization_window_ratio', window)).toBe(1);
      expect(value('gpu_utilization_ratio')).toBe(0.03);
    }

    writeFakeHost(hostFile, idle);
    const third = await exporter.scrapeUntil(
      ({ value }) => value('gpu_utilization_window_ratio', window) !== undefined,
      'a',
    );
    expect(third.value('gpu_utilization_window_ratio', window)).toBe(0.03);
  });

  describe('after kill -9', () => {
    it('of its reader, reads again by itself, counts it, and leaves no zombie', async () => {
      const exporter = await startReading(h100Host(1));
      expect((await exporter.scrape()).value('gpu_exporter_reader_restarts_total', NVML)).toBe(0);
      const reader = readerOf(exporter);
      process.kill(reader, 'SIGKILL');
      await exporter.scrapeUntil(
        ({ value }) => value('gpu_exporter_backend_failure_info', { ...NVML, reason: 'crashed' }) === 1,
      );
      const back = await exporter.scrapeUntil(isReading);
      expect(back.value('gpu_exporter_reader_restarts_total', NVML)).toBe(1);
      expect(descendantsOf(exporter.pid).filter(({ state }) => state === 'Z')).toEqual([]);
      expect(readerOf(exporter)).not.toBe(reader);
    });

    it.each([
      ['the driver answers', {}, isReading],
      ['the driver hangs', HUNG, isStuck],
    ])('of itself while %s, leaves no reader behind', async (_title, change, isSo) => {
      const host = h100Host(1);
      const exporter = await startReading(host, LATE);
      writeFakeHost(hostFile, { ...host, ...change });
      await exporter.scrapeUntil(isSo);
      const reader = readerOf(exporter);
      exporter.child.kill('SIGKILL');
      await untilEnded([reader]);
    });

    it.each(['itself', 'its reader'])('of %s, leaves no nvidia-smi behind', async (victim) => {
      const exporter = await start({ ...h100Host(1), smi: { delaySeconds: 60 } }, nvidiaSmi());
      const processes = await untilNvidiaSmi(exporter);
      process.kill(victim === 'itself' ? exporter.pid : readerOf(exporter), 'SIGKILL');
      await untilEnded(processes);
    });

    it('and a new start, does not go back with the energy of a GPU without a meter', async () => {
      const settings = { GPU_EXPORTER_STATE_FILE: path.join(folder, 'state', 'energy.json') };
      const joules = ({ value }: Scrape): number =>
        value('gpu_energy_integrated_joules_total', { source: 'integrated' }) ?? NaN;
      const draws = (watts: number): FakeHost => hostOf([unmetered(watts)]);
      const runUntil = async (watts: number): Promise<[ExporterProgram, Scrape]> => {
        const exporter = await startReading(draws(watts), settings);
        const first = await exporter.scrape();
        // A change that is seen: time has gone by, and power was drawn in it.
        writeFakeHost(hostFile, draws(watts + 1));
        await exporter.scrapeUntil(({ value }) => value('gpu_power_watts') === watts + 1);
        return [exporter, first];
      };

      const [stopped] = await runUntil(400);
      stopped.child.kill('SIGTERM');
      expect((await stopped.end).code).toBe(0);

      const [killed, afterStop] = await runUntil(500);
      expect(joules(afterStop)).toBeGreaterThan(0);
      const last = joules(await killed.scrape());
      expect(last).toBeGreaterThanOrEqual(joules(afterStop));
      killed.child.kill('SIGKILL');
      await killed.end;

      const [, afterKill] = await runUntil(600);
      expect(joules(afterKill)).toBeGreaterThanOrEqual(last);
    });
  });

  it('counts an XID that NVML tells of, on a counter that was there with 0', async () => {
    const host = h100Host(1);
    const exporter = await start(host);
    const ofBoard = { uuid: h100(0).uuid, xid: '79' };
    const before = await exporter.scrapeUntil(
      ({ value }) => value('gpu_xid_errors_total', ofBoard) !== undefined,
    );
    expect(before.value('gpu_xid_errors_total', ofBoard)).toBe(0);
    writeFakeHost(hostFile, { ...host, events: [{ id: 1, board: h100(0).uuid, xid: 79 }] });
    const after = await exporter.scrapeUntil(({ value }) => value('gpu_xid_errors_total', ofBoard) !== 0);
    expect(after.value('gpu_xid_errors_total', ofBoard)).toBe(1);
  });

  it('tells of GPUs that are no longer listed, beside how many there should be', async () => {
    const host = h100Host(2);
    const exporter = await startReading(host, { GPU_EXPORTER_EXPECTED_DEVICES: '2' });
    writeFakeHost(hostFile, { ...host, boards: [] });
    const none = await exporter.scrapeUntil(({ value }) => value('gpu_up') === 0);
    for (const gpu of ['0', '1']) {
      expect(none.value('gpu_up', { gpu })).toBe(0);
      expect(none.value('gpu_down_info', { gpu, reason: 'vanished' })).toBe(1);
    }
    expect(none.value('gpu_expected_devices')).toBe(2);
    expect(none.value('gpu_exporter_backend_failure_info', { ...NVML, reason: 'no_gpus' })).toBe(1);
  });

  it('says that it has no permission for the driver, and in check how to mend it', async () => {
    const refused: FakeHost = { ...h100Host(1), init: 4 };
    const check = run(refused, ['check']);
    const exporter = await start(refused);
    const { value } = await exporter.scrapeUntil(
      (scrape) => scrape.value('gpu_exporter_backend_up', NVML) !== undefined,
    );
    expect(value('gpu_exporter_backend_up', NVML)).toBe(0);
    expect(value('gpu_exporter_backend_failure_info', { ...NVML, reason: 'no_permission' })).toBe(1);
    expect(value('gpu_up')).toBeUndefined();

    const { code, stdout } = await check.end;
    expect(stdout).toMatch(/nvml: no_permission: .*\n {2}This user may not use the device files/);
    expect(stdout).toContain('  $ ls -l /dev/nvidia*');
    expect(code).toBe(1);
  });

  it('says in check that the driver hangs, and leaves no reader behind', async () => {
    const least = { GPU_EXPORTER_DEADLINE: '1s', GPU_EXPORTER_STALE_AFTER: '1s' };
    const program = run({ ...h100Host(1), ...HUNG }, ['check'], least);
    const readers = await until('a reader', () => {
      const seen = descendantsOf(program.pid);
      return seen.length === 0 ? undefined : seen.map(({ pid }) => pid);
    });
    const { code, stdout } = await program.end;
    expect(stdout).toContain('nvml: hung: the driver has not answered for 1 s');
    expect(code).toBe(1);
    await untilEnded(readers);
  });

  describe('in its report', () => {
    const host = h100Host(8);

    it('has eight GPUs without UUID, serial and host', async () => {
      const { code, stdout } = await run(host, ['check', '--report']).end;
      expect(code).toBe(0);
      expect((JSON.parse(stdout) as { gpus: object[] }).gpus).toHaveLength(8);
      const names = host.boards.flatMap(({ uuid, serial = '' }) => [uuid, uuid.replace('GPU-', ''), serial]);
      for (const name of names) expect(stdout).not.toContain(name);
      // The host's may be so short that it is a part of other words.
      expect(stdout.split(/[^\w.-]+/)).not.toContain(hostname());
    });

    it('makes no fuss when its reader has seen enough', async () => {
      // Without processes there are no owners to wait for.
      const boards = host.boards.map((board) => ({ ...board, processes: [] }));
      const program = run({ ...host, boards }, ['check', '--report']);
      program.child.stdout?.destroy();
      expect(await program.end).toMatchObject({ code: 0, stderr: '' });
    });
  });

  /** At 3 %, with samples of the last 220 ms: so much for 200 of them, and 3 % again. */
  function afterSamplesOf(percent: number): FakeHost {
    const board = h100(0);
    const utilization = { ...board.utilization, gpu: 3 };
    const ages = [220, 170, 120, 70];
    const gpu = [...ages.map((age) => [age, percent] as const), [20, 3] as const];
    return hostOf([{ ...board, utilization, samples: { ...board.samples, gpu } }]);
  }

  function unmetered(watts: number): FakeBoard {
    const { energyMillijoules: _meter, ...board } = h100(0);
    const milliwatts = watts * 1000;
    return {
      ...board,
      power: {
        ...board.power,
        usageMilliwatts: milliwatts,
        averageMilliwatts: milliwatts,
        instantMilliwatts: milliwatts,
      },
    };
  }
});
