import fc from 'fast-check';

import { misdeclaredPoints } from '../../test-declared.ts';
import { figure } from '../../test-reading.ts';
import { readRocmJson } from './rocm-smi-json.ts';

describe('rocm-smi --json', () => {
  it.each([
    ['GPU use (%)', '7', 'gpu_utilization_ratio', 0.07],
    ['GPU use (%)', '655', 'gpu_utilization_ratio', undefined],
    ['GPU memory use (%)', '55', 'gpu_memory_utilization_ratio', 0.55],
    ['GPU Memory Read/Write Activity (%)', '3', 'gpu_memory_utilization_ratio', 0.03],
    ['GPU Memory Allocated (VRAM%)', '90', 'gpu_memory_utilization_ratio', undefined],
    ['vram Total Memory (B)', '17163091968', 'gpu_memory_size_bytes', 17_163_091_968],
    ['Current Socket Graphics Package Power (W)', '12.1', 'gpu_power_watts', 12.1],
    ['Average Graphics Package Power (W)', '39.0', 'gpu_power_average_watts', 39],
    ['Average Graphics Package Power (W)', 'N/A (Secondary die)', 'gpu_power_watts', undefined],
    ['Average Graphics Package Power (W)', '0.0', 'gpu_power_watts', undefined],
    ['Temperature (Sensor mem) (C)', '32.0', 'gpu_temperature_celsius{sensor="memory"}', 32],
    ['sclk clock speed:', '(300Mhz)', 'gpu_clock_hertz{domain="graphics"}', 300e6],
    ['sclk clock speed', '808Mhz', 'gpu_clock_hertz{domain="graphics"}', 808e6],
    ['pcie clock level', '1 (16.0GT/s x16)', 'gpu_pcie_link_generation', 4],
    ['Fan Speed (%)', '20', 'gpu_fan_speed_ratio{fan="0"}', 0.2],
  ])('%s %s gives %s %d', (key, text, series, value) => {
    const read = readRocmJson({ card0: { [key]: text, '0': '8.0GT/s x16 *', '1': '495Mhz' } });
    expect(read?.readAs).toBe('rocm-smi --json');
    expect(figure(read?.reading.gpus[0], series)).toBe(value);
  });

  it.each([
    ['Card Series', 'Instinct MI210', 'Instinct MI210'],
    ['Card series', '0x1002', 'AMD Radeon RX 7900 XTX'],
    ['Device Name', 'N/A', 'AMD Radeon RX 7900 XTX'],
  ])('is named by %s %s: %s', (key, text, name) => {
    const card = { [key]: text, 'Device ID': '0x744c', 'Device Rev': '0xc8' };
    expect(readRocmJson({ card0: card })?.reading.gpus[0]?.facts.name).toBe(name);
  });

  it('says what it does not understand, and not what is absent by its own word', () => {
    const card = { 'GPU use (%)': 'much', 'PCIe Replay Count': 'N/A', 'Fan RPM': '' };
    expect(readRocmJson({ card0: card })?.reading.unparsed).toEqual([
      { field: 'GPU use (%)', value: 'much' },
    ]);
  });

  it('counts GPUs by address where it is told, else as the tool does', () => {
    const far = { 'PCI Bus': '0000:83:00.0' };
    const near = { 'PCI Bus': '0000:03:00.0' };
    const order = (json: unknown) => readRocmJson(json)?.reading.gpus.map(({ gpu, uuid }) => [gpu, uuid]);
    expect(order({ card1: far, card2: near })).toEqual([
      ['0', '0000:03:00.0'],
      ['1', '0000:83:00.0'],
    ]);
    expect(order({ card10: {}, card2: {} })).toEqual([
      ['0', 'amd-gpu-2'],
      ['1', 'amd-gpu-10'],
    ]);
  });
});

const watts = (value: number) => ({ value, unit: 'W' });
const METRIC = {
  gpu: 0,
  usage: {
    gfx_activity: { value: 91, unit: '%' },
    umc_activity: 'N/A',
    vcn_activity: [{ value: 4, unit: '%' }, 'N/A'],
  },
  power: { socket_power: watts(287), throttle_status: 'THROTTLED' },
  clock: {
    gfx_0: { clk: { value: 2774, unit: 'MHz' }, max_clk: { value: 0, unit: 'MHz' } },
    mem_0: { clk: { value: 1258, unit: 'MHz' }, max_clk: { value: 1259, unit: 'MHz' } },
  },
  temperature: { edge: 'N/A', hotspot: { value: 63, unit: 'C' }, mem: { value: 70, unit: 'C' } },
  pcie: { width: 8, speed: { value: 2.5, unit: 'GT/s' }, replay_count: 'N/A' },
  ecc: { total_correctable_count: 3, total_uncorrectable_count: 1 },
  ecc_blocks: { UMC: { correctable_count: 2, uncorrectable_count: 0 } },
  fan: { speed: 127, rpm: 2570, usage: { value: 49.8, unit: '%' } },
  energy: { total_energy_consumption: { value: 0, unit: 'J' } },
  mem_usage: { total_vram: { value: 30576, unit: 'MB' }, used_vram: { value: 20450, unit: 'MB' } },
};

describe('amd-smi --json', () => {
  it.each([
    ['a list, up to ROCm 6', [METRIC]],
    ['a list under gpu_data, of ROCm 7', { gpu_data: [METRIC] }],
    ['one GPU alone', METRIC],
  ])('%s', (_, json) => {
    const read = readRocmJson(json);
    const gpu = read?.reading.gpus[0];
    expect(read?.readAs).toBe('amd-smi --json');
    const series = [
      'gpu_utilization_ratio',
      'gpu_memory_utilization_ratio',
      'gpu_decoder_utilization_ratio',
      'gpu_power_watts',
      'gpu_clock_hertz{domain="graphics"}',
      'gpu_clock_max_hertz{domain="graphics"}',
      'gpu_clock_max_hertz{domain="memory"}',
      'gpu_temperature_celsius{sensor="core"}',
      'gpu_temperature_celsius{sensor="junction"}',
      'gpu_pcie_link_generation',
      'gpu_pcie_link_width',
      'gpu_ecc_errors_total{type="corrected",location="umc",lifetime="volatile"}',
      'gpu_ecc_errors_total{type="corrected",location="total",lifetime="volatile"}',
      'gpu_fan_speed_ratio{fan="0"}',
      'gpu_energy_joules_total',
      'gpu_memory_used_bytes',
    ];
    expect(series.map((each) => figure(gpu, each))).toEqual([
      0.91,
      undefined,
      0.04,
      287,
      2.774e9,
      undefined,
      1.259e9,
      undefined,
      63,
      1,
      8,
      2,
      undefined,
      0.498,
      undefined,
      20450 * 1024 ** 2,
    ]);
    expect(misdeclaredPoints(gpu?.points ?? [])).toEqual([]);
  });

  it('with bare numbers and older names', () => {
    const old = { gpu: 0, usage: { gfx_usage: 42 }, power: { average_socket_power: 120 } };
    const gpu = readRocmJson([old])?.reading.gpus[0];
    expect(figure(gpu, 'gpu_utilization_ratio')).toBe(0.42);
    expect(figure(gpu, 'gpu_power_watts')).toBe(120);
  });

  it('counts errors in all where no block is told', () => {
    const gpu = readRocmJson([{ ...METRIC, ecc_blocks: 'N/A' }])?.reading.gpus[0];
    expect(figure(gpu, 'gpu_ecc_errors_total{type="uncorrected",location="total",lifetime="volatile"}')).toBe(
      1,
    );
  });

  it('of a GPU that is not told where it is, and of one that is', () => {
    const asic = { market_name: 'AMD Instinct MI300X', asic_serial: '0x2F048617326B1EA' };
    const told = { gpu: 1, asic, bus: { bdf: '0000:05:00.0' }, vbios: { version: '022.040' } };
    expect(readRocmJson([METRIC, told])?.reading.gpus).toMatchObject([
      { gpu: '0', uuid: 'amd-gpu-0' },
      { gpu: '1', uuid: '02f048617326b1ea', facts: { name: 'AMD Instinct MI300X', vbiosVersion: '022.040' } },
    ]);
  });
});

describe('anything else', () => {
  it.each([
    [null],
    [1],
    ['card0'],
    [[]],
    [{}],
    [{ card0: 'N/A' }],
    [[{ gpu: 'all' }]],
    [{ gpu_data: 'N/A' }],
  ])('%j is not recognized', (json) => {
    expect(readRocmJson(json)).toBeUndefined();
  });

  it('throws nothing, and gives no figure outside of its range', () => {
    const keys = fc.constantFrom(
      'GPU use (%)',
      'Fan RPM',
      'usage',
      'gfx_activity',
      'value',
      'ecc_blocks',
      'gpu',
      '__proto__',
    );
    const { json } = fc.letrec((tie) => ({
      json: fc.oneof(
        { maxDepth: 4 },
        fc.jsonValue(),
        fc.dictionary(keys, tie('json')),
        fc.array(tie('json'), { maxLength: 3 }),
      ),
    }));
    fc.assert(
      fc.property(json, json, (one, other) => {
        for (const whole of [
          one,
          { card0: one, card1: other },
          { gpu_data: [{ gpu: 0, usage: one, fan: other }] },
        ]) {
          const points = readRocmJson(whole)?.reading.gpus.flatMap((gpu) => gpu.points) ?? [];
          if (points.some(({ value }) => !Number.isFinite(value) || value < -200)) return false;
        }
        return true;
      }),
      { seed: 3 },
    );
  });
});
