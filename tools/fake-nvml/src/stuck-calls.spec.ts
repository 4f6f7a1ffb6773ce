import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { buildFakeNvml, noCompilerReason } from './build-fake-nvml.ts';
import { h100, hostOf } from './fake-boards.ts';
import type { FakeHost } from './fake-host.ts';
import { writeFakeHost } from './write-fake-host.ts';

const library = buildFakeNvml();
const describeBuilt = library === undefined ? describe.skip : describe;
const DEADLINE_MILLISECONDS = 20_000;

/** Initializes, and asks both boards for their power; prints the codes. */
const PROGRAM = `
  const library = require(${JSON.stringify(require.resolve('koffi'))}).load(${JSON.stringify(library)});
  const init = library.func('int nvmlInit_v2()');
  const handle = library.func('int nvmlDeviceGetHandleByIndex_v2(uint32_t index, void *device)');
  const power = library.func('int nvmlDeviceGetPowerUsage(uint64_t device, void *power)');
  const codes = [init()];
  for (const index of [0, 1]) {
    const device = Buffer.alloc(8);
    codes.push(handle(index, device), power(device.readBigUInt64LE(), Buffer.alloc(4)));
  }
  console.log(codes.join(' '));
`;

describeBuilt(`a call that is stuck${library === undefined ? ` (${noCompilerReason})` : ''}`, () => {
  let folder: string;
  let hostFile: string;
  let callLog: string;
  let child: ChildProcess | undefined;
  const healthy = hostOf([h100(0), h100(1)]);

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'fake-nvml-stuck-'));
    hostFile = path.join(folder, 'host.json');
    callLog = path.join(folder, 'calls.log');
  });

  afterEach(() => {
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  function start(host: FakeHost) {
    writeFakeHost(hostFile, host);
    const env = { ...process.env, NVIDIA_FAKE_CONFIG: hostFile, NVIDIA_FAKE_CALL_LOG: callLog };
    const started = spawn(process.execPath, ['-e', PROGRAM], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    child = started;
    let printed = '';
    started.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    const ended = once(started, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      printed: printed.trim(),
    }));
    return { process: started, ended };
  }

  async function untilCalled(line: string): Promise<void> {
    for (const deadline = Date.now() + DEADLINE_MILLISECONDS; Date.now() < deadline;) {
      if (existsSync(callLog) && readFileSync(callLog, 'utf8').includes(line)) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`no call of ${line}`);
  }

  it('ends when the JSON no longer says so', async () => {
    const { process, ended } = start({ ...healthy, hang: { functions: ['nvmlDeviceGetPowerUsage'] } });
    await untilCalled(`nvmlDeviceGetPowerUsage ${h100(0).uuid}`);
    expect(process.exitCode).toBeNull();
    writeFakeHost(hostFile, healthy);
    expect(await ended).toEqual({ code: 0, signal: null, printed: '0 0 0 0 0' });
  });

  it('tells what has become of the board meanwhile', async () => {
    const sick = { ...h100(1), hang: { functions: 'all' as const } };
    const { process, ended } = start(hostOf([h100(0), sick]));
    await untilCalled(`nvmlDeviceGetHandleByIndex_v2 ${h100(1).uuid}`);
    expect(process.exitCode).toBeNull();
    writeFakeHost(hostFile, hostOf([h100(0), { ...h100(1), lost: true }]));
    expect(await ended).toMatchObject({ code: 0, printed: expect.stringMatching(/^0 0 0 15 /) as string });
  });

  it('ends after the time that the JSON gives it', async () => {
    const { ended } = start({ ...healthy, hang: { functions: ['nvmlInit_v2'], seconds: 0.05 } });
    expect(await ended).toEqual({ code: 0, signal: null, printed: '0 0 0 0 0' });
  });

  it('keeps its process from its own work, and not from a signal that it does not handle', async () => {
    const { process, ended } = start({ ...healthy, hang: { functions: 'all' } });
    await untilCalled('nvmlInit_v2');
    process.kill('SIGTERM');
    expect(await ended).toEqual({ code: null, signal: 'SIGTERM', printed: '' });
  });

  it('may take the process down instead', async () => {
    const { ended } = start({ ...healthy, crash: ['nvmlDeviceGetPowerUsage'] });
    expect(await ended).toEqual({ code: null, signal: 'SIGSEGV', printed: '' });
  });
});
