import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { parseStringPromise } from 'xml2js';

import { gb10, gt730, h100, h100Mig, hostOf, rtx4090 } from './fake-boards.ts';
import { SMI_LAYOUTS, type FakeBoard, type FakeHost, type SmiLayout } from './fake-host.ts';
import { installFakeSmi } from './install-fake-smi.ts';
import { writeFakeHost } from './write-fake-host.ts';

const folder = mkdtempSync(path.join(tmpdir(), "fake smi's "));
const hostFile = path.join(folder, 'host.json');
const callLog = path.join(folder, 'calls.log');
const program = installFakeSmi(path.join(folder, 'bin'), hostFile, { callLog });

afterEach(() => rmSync(callLog, { force: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(host: FakeHost, ...args: readonly string[]): Promise<Run> {
  writeFakeHost(hostFile, host);
  try {
    const maxBuffer = 16 * 1024 ** 2;
    return { code: 0, ...(await promisify(execFile)(program, args, { maxBuffer })) };
  } catch (error) {
    const { code, stdout, stderr } = error as Run;
    return { code, stdout, stderr };
  }
}

/** Text of the elements at a path below the first GPU; undefined where there is none. */
async function cells(host: FakeHost, ...paths: readonly string[]): Promise<(string | undefined)[]> {
  const { stdout } = await run(host, '-q', '-x');
  const document: unknown = await parseStringPromise(stdout, { explicitArray: false });
  return paths.map((one) => at(document, `nvidia_smi_log/gpu/${one}`));
}

function at(node: unknown, name: string): string | undefined {
  let found = node;
  for (const part of name.split('/')) {
    if (Array.isArray(found)) found = found[0];
    found = typeof found === 'object' && found !== null ? Reflect.get(found, part) : undefined;
  }
  return typeof found === 'string' ? found : undefined;
}

describe('the fake nvidia-smi', () => {
  const COMMON: readonly (readonly [string, string])[] = [
    ['product_name', 'NVIDIA H100 80GB HBM3'],
    ['uuid', h100().uuid],
    ['serial', '1650000000001'],
    ['minor_number', '0'],
    ['pci/pci_bus_id', '00000000:10:00.0'],
    ['pci/pci_bus', '10'],
    ['pci/pci_gpu_link_info/pcie_gen/current_link_gen', '5'],
    ['pci/pci_gpu_link_info/link_widths/max_link_width', '16x'],
    ['pci/replay_counter', '150'],
    ['pci/tx_util', '502 KB/s'],
    ['fan_speed', 'N/A'],
    ['performance_state', 'P0'],
    ['fb_memory_usage/total', '81559 MiB'],
    ['fb_memory_usage/free', '9399 MiB'],
    ['bar1_memory_usage/used', '13 MiB'],
    ['utilization/gpu_util', '87 %'],
    ['utilization/memory_util', '42 %'],
    ['ecc_mode/current_ecc', 'Enabled'],
    ['ecc_errors/aggregate/dram_correctable', '7'],
    ['ecc_errors/aggregate/sram_correctable', '1'],
    ['remapped_rows/remapped_row_corr', '1'],
    ['remapped_rows/remapped_row_pending', 'No'],
    ['retired_pages/double_bit_retirement/retired_count', 'N/A'],
    ['temperature/gpu_temp', '61 C'],
    ['temperature/memory_temp', '72 C'],
    ['clocks/sm_clock', '1755 MHz'],
    ['max_clocks/mem_clock', '2619 MHz'],
    ['processes/process_info/pid', '41000'],
    ['processes/process_info/used_memory', '71000 MiB'],
    ['processes/process_info/gpu_instance_id', 'N/A'],
    ['mig_mode/current_mig', 'Disabled'],
  ];
  const OWN: Readonly<Record<SmiLayout, readonly (readonly [string, string | undefined])[]>> = {
    r470: [
      ['product_architecture', undefined],
      ['fb_memory_usage/used', '72160 MiB'], // what is reserved is not told apart
      ['fb_memory_usage/reserved', undefined],
      ['power_readings/power_draw', '612.34 W'],
      ['power_readings/enforced_power_limit', '700.00 W'],
      ['power_readings/power_limit', '700.00 W'],
      ['gpu_power_readings/power_draw', undefined],
      ['clocks_throttle_reasons/clocks_throttle_reason_sw_power_cap', 'Active'],
      ['utilization/jpeg_util', undefined],
      ['ecc_errors/aggregate/sram_uncorrectable', '0'],
      ['temperature/gpu_temp_max_threshold', 'N/A'],
      ['temperature/gpu_temp_tlimit', undefined],
      ['gpu_recovery_action', undefined],
    ],
    r535: [
      ['product_architecture', 'Hopper'],
      ['fb_memory_usage/used', '71680 MiB'],
      ['fb_memory_usage/reserved', '480 MiB'],
      ['gpu_power_readings/power_draw', '612.34 W'],
      ['gpu_power_readings/current_power_limit', '700.00 W'],
      ['module_power_readings/power_draw', 'N/A'],
      ['clocks_event_reasons/clocks_event_reason_sw_power_cap', 'Active'],
      ['clocks_event_reasons_counters/clocks_event_reasons_counters_sw_power_cap', undefined],
      ['utilization/jpeg_util', '0 %'],
      ['temperature/gpu_temp_tlimit', '26 C'],
      ['temperature/gpu_temp_max_tlimit_threshold', '-8 C'],
      ['gpu_reset_status/reset_required', 'No'],
      ['fabric/state', 'Completed'],
    ],
    r580: [
      ['gpu_power_readings/power_draw', undefined],
      ['gpu_power_readings/average_power_draw', '612.34 W'],
      ['gpu_power_readings/instant_power_draw', '640.11 W'],
      ['gpu_memory_power_readings/average_power_draw', '92.98 W'],
      ['clocks_event_reasons/clocks_event_reason_gpu_idle', 'Not Active'],
      ['clocks_event_reasons_counters/clocks_event_reasons_counters_sw_power_cap', '7015662857 us'],
      ['ecc_errors/aggregate/sram_uncorrectable_secded', '0'],
      ['ecc_errors/aggregate/sram_uncorrectable', undefined],
      ['gpu_recovery_action', 'None'],
      ['gpu_reset_status/reset_required', undefined],
      ['fabric/health/summary', 'Healthy'],
    ],
  };
  it.each(SMI_LAYOUTS)('prints a board in the elements and units of %s', async (smiLayout) => {
    const wanted = [...COMMON, ...OWN[smiLayout]];
    const host = { ...hostOf([h100()]), smiLayout };
    expect(await cells(host, ...wanted.map(([name]) => name))).toEqual(wanted.map(([, value]) => value));
  });

  it.each([
    ['r470', 11],
    ['r535', 12],
    ['r580', 13],
  ] as const)('names the DTD of %s: version %i', async (smiLayout, version) => {
    const { stdout, code } = await run({ ...hostOf([h100(), rtx4090()]), smiLayout }, '-q', '-x');
    expect(code).toBe(0);
    expect(stdout).toContain(`"nvsmi_device_v${version}.dtd"`);
    expect(stdout).toContain('<cuda_version>13.0</cuda_version>');
    expect(stdout).toContain('<attached_gpus>2</attached_gpus>');
    expect(stdout.match(/<gpu id=/g)).toHaveLength(2);
  });

  it('counts ECC errors of old GPUs by bits, whatever the driver', async () => {
    const board: FakeBoard = {
      ...gt730(),
      ecc: { enabled: true, corrected: { volatile: { dram: 3, l2: 1 } } },
    };
    expect(
      await cells(
        hostOf([board]),
        'ecc_errors/volatile/single_bit/device_memory',
        'ecc_errors/volatile/single_bit/total',
        'ecc_errors/volatile/single_bit/cbu',
        'ecc_errors/volatile/dram_correctable',
      ),
    ).toEqual(['3', '4', 'N/A', undefined]);
  });

  it('has whole blocks as text: what is not supported, none, idle', async () => {
    const names = ['remapped_rows', 'mig_devices', 'processes', 'fb_memory_usage/total'];
    expect(await cells(hostOf([gt730()]), ...names)).toEqual(['N/A', 'None', 'N/A', '2001 MiB']);
    const idle = { ...gb10(), processes: [] };
    expect(await cells(hostOf([idle]), ...names)).toEqual([
      'N/A',
      'None',
      expect.stringMatching(/^\s*$/),
      'N/A',
    ]);
  });

  it('prints the devices of a MIG board, and no utilization', async () => {
    expect(
      await cells(
        hostOf([h100Mig()]),
        'mig_mode/current_mig',
        'mig_devices/mig_device/gpu_instance_id',
        'mig_devices/mig_device/fb_memory_usage/total',
        'utilization/gpu_util',
        'processes/process_info/gpu_instance_id',
      ),
    ).toEqual(['Enabled', '1', '40960 MiB', 'N/A', '1']);
    const { stdout } = await run(hostOf([h100Mig()]), '-L');
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      `GPU 0: NVIDIA H100 80GB HBM3 (UUID: ${h100().uuid})`,
      '  MIG 3g.40gb    Device  0: (UUID: MIG-00001000-0000-4000-8000-000000000000)',
      '  MIG 2g.20gb    Device  2: (UUID: MIG-00001002-0000-4000-8000-000000000000)',
    ]);
  });

  it('prints why a value is not there as the library tells it', async () => {
    const board: FakeBoard = {
      ...h100(),
      returns: { nvmlDeviceGetTemperatureV: 999, nvmlDeviceGetFanSpeed_v2: 4, nvmlDeviceGetVbiosVersion: 3 },
      fields: { 186: { code: 4 } },
    };
    expect(
      await cells(
        hostOf([board]),
        'temperature/gpu_temp',
        'fan_speed',
        'vbios_version',
        'gpu_power_readings/instant_power_draw',
      ),
    ).toEqual(['Unknown Error', 'Insufficient Permissions', 'N/A', 'Insufficient Permissions']);
  });

  it('escapes what XML would take for its own', async () => {
    const board = { ...h100(), processes: [{ pid: 1, type: 'compute' as const, name: 'a <b> & c' }] };
    expect(
      await cells(
        hostOf([board]),
        'processes/process_info/process_name',
        'processes/process_info/used_memory',
      ),
    ).toEqual(['a <b> & c', 'N/A']);
  });

  it.each([
    [18, 'Failed to initialize NVML: Driver/library version mismatch\n', 18],
    [999, 'Failed to initialize NVML: Unknown Error\n', 231],
    [4, 'Failed to initialize NVML: Insufficient Permissions\n', 4],
  ])('prints nothing else when init fails with %i', async (init, stdout, code) => {
    expect(await run({ ...hostOf([h100()]), init }, '-q', '-x')).toMatchObject({ stdout, code });
  });

  it('says that there are no devices', async () => {
    const none = { stdout: 'No devices were found\n', code: 6 };
    expect(await run(hostOf([]), '-q', '-x')).toMatchObject(none);
    expect(await run(hostOf([h100()]), '-q', '-x', '-i', '1')).toMatchObject(none);
  });

  it('prints a lost board as such beside the good ones, or ends with a message', async () => {
    const boards = [{ ...h100(0), lost: true }, h100(1)];
    expect(await cells(hostOf(boards), 'uuid', 'utilization/gpu_util', 'performance_state')).toEqual([
      h100(0).uuid,
      'GPU is lost',
      'GPU is lost',
    ]);
    const ended = await run({ ...hostOf(boards), smi: { lostEndsRun: true } }, '-q', '-x');
    expect(ended).toMatchObject({
      code: 15,
      stdout: expect.stringMatching(/^Unable to .* GPU 0000:10:00\.0: GPU is lost\./) as string,
    });
    const reset = hostOf([{ ...h100(), resetRequired: true }]);
    expect(await cells(reset, 'utilization/gpu_util')).toEqual(['GPU requires reset']);
  });

  it('prints only the boards that are asked for', async () => {
    const host = hostOf([h100(0), h100(1), h100(2)]);
    for (const id of ['1', h100(1).uuid, '0000:11:00.0', '00000000:11:00.0']) {
      const { stdout } = await run(host, '-q', '-x', '-i', id);
      expect(stdout.match(/<uuid>.*<\/uuid>/g)).toEqual([`<uuid>${h100(1).uuid}</uuid>`]);
    }
  });

  it('ends with a code or talks on stderr though its output is good', async () => {
    const smi = { exitCode: 2, stderr: 'WARNING: infoROM is corrupted at gpu 0000:10:00.0' };
    const bad = await run({ ...hostOf([h100()]), smi }, '-q', '-x');
    expect(bad.code).toBe(2);
    expect(bad.stderr).toBe(`${smi.stderr}\n`);
    expect(bad.stdout).toBe((await run(hostOf([h100()]), '-q', '-x')).stdout);
  });

  it('can be longer than a pipe or a buffer of 1 MiB takes at once, and whole', async () => {
    const { stdout } = await run({ ...hostOf([h100()]), smi: { padBytes: 1_500_000 } }, '-q', '-x');
    expect(stdout.length).toBeGreaterThan(1_500_000);
    const document: unknown = await parseStringPromise(stdout, { explicitArray: false });
    expect(at(document, 'nvidia_smi_log/gpu/uuid')).toBe(h100().uuid);
  });

  it('hangs through SIGTERM until the JSON no longer says so', async () => {
    writeFakeHost(hostFile, { ...hostOf([h100()]), smi: { hang: true } });
    const child = spawn(program, ['-q', '-x'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    const ended = once(child, 'close');
    while (!existsSync(callLog)) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGTERM');
    writeFakeHost(hostFile, hostOf([h100()]));
    expect(await ended).toEqual([0, null]);
    expect(printed).toContain(h100().uuid);
  });

  it('writes each run down', async () => {
    await run(hostOf([h100()]), '-L');
    expect(readFileSync(callLog, 'utf8')).toBe('nvidia-smi -L\n');
  });

  it('refuses arguments that it does not know', async () => {
    expect(await run(hostOf([h100()]), '-q', '--nonsense')).toMatchObject({ code: 2 });
  });
});
