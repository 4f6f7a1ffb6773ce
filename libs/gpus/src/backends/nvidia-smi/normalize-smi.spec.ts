import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { normalizeSmi, sysfsPciAddress, type BadGpu } from './normalize-smi.ts';
import { parseSmiXml } from './parse-smi-xml.ts';
import { fixturesDirectory, fixtureText, readSmi, smiLines } from './test-smi-lines.ts';

const fixtures = readdirSync(fixturesDirectory).filter((name) => name.endsWith('.xml'));

describe('normalizeSmi', () => {
  it.each(fixtures)('reads %s as reviewed', (name) => {
    const golden = path.join(fixturesDirectory, name.replace(/\.xml$/, '.golden'));
    const lines = smiLines(readSmi(fixtureText(name)));
    if (process.env['UPDATE_GOLDENS'] === '1') writeFileSync(golden, lines);
    expect(lines).toBe(readFileSync(golden, 'utf8'));
  });
});

describe('what a GPU of that name and state is', () => {
  const gpu = (body: string): string =>
    `<nvidia_smi_log><gpu id="00000000:01:00.0">${body}</gpu></nvidia_smi_log>`;
  const unified = (xml: string): number | undefined =>
    readSmi(xml).gpus[0]?.points.find(({ metric }) => metric === 'gpu_memory_unified')?.value;
  const noMemory = '<fb_memory_usage><total>Not Supported</total></fb_memory_usage>';

  it.each([
    ['NVIDIA GB10', noMemory, 1],
    ['Orin (nvgpu)', noMemory, 1],
    ['NVIDIA H100 80GB HBM3', noMemory, undefined],
    ['NVIDIA GB100', noMemory, undefined],
    ['NVIDIA GB10', '<fb_memory_usage><total>5 MiB</total></fb_memory_usage>', undefined],
  ])('%s with %s: memory of the host %s', (name, memory, expected) => {
    expect(unified(gpu(`<product_name>${name}</product_name>${memory}`))).toBe(expected);
  });

  it.each([
    ['No', 'No', 0],
    ['No', 'N/A', 0],
    ['Yes', 'No', 1],
    ['Yes', 'N/A', 1],
    ['No', 'Yes', 4],
    ['Yes', 'Yes', 4],
    ['N/A', 'N/A', undefined],
    ['Requested functionality has been deprecated', 'Requested functionality has been deprecated', undefined],
  ])('reset required %s, drain and reset recommended %s: recovery action %s', (reset, drain, expected) => {
    const status = `<gpu_reset_status><reset_required>${reset}</reset_required><drain_and_reset_recommended>${drain}</drain_and_reset_recommended></gpu_reset_status>`;
    const found = readSmi(gpu(`<performance_state>P0</performance_state>${status}`)).gpus[0];
    expect(found?.condition).toBe('up');
    expect(found?.points.find(({ metric }) => metric === 'gpu_recovery_action')?.value).toBe(expected);
  });

  const nothing = '<utilization><gpu_util>N/A</gpu_util></utilization>';
  it.each([
    ['says nothing at all', nothing, 'up'],
    [
      'asks for a reset and gives nothing',
      `${nothing}<gpu_recovery_action>Reset</gpu_recovery_action>`,
      'reset_required',
    ],
    [
      'asks for nothing and gives nothing',
      `${nothing}<gpu_recovery_action>None</gpu_recovery_action>`,
      'unknown_error',
    ],
    [
      'asks for a reset and works',
      '<fan_speed>N/A</fan_speed><performance_state>P0</performance_state><gpu_recovery_action>Reset</gpu_recovery_action>',
      'up',
    ],
    ['fails at its core', '<temperature><gpu_temp>ERR!</gpu_temp></temperature>', 'unknown_error'],
    [
      'fails at one field only',
      '<fan_speed>[Unknown Error]</fan_speed><performance_state>P0</performance_state>',
      'up',
    ],
    [
      'is lost in one field',
      '<performance_state>P0</performance_state><fan_speed>GPU is lost</fan_speed>',
      'lost',
    ],
    [
      'has a process of that name',
      `<performance_state>P0</performance_state><processes><process_info><pid>1</pid><type>C</type>
      <process_name>GPU is lost</process_name></process_info></processes>`,
      'up',
    ],
  ])('a GPU that %s', (_what, body, condition) => {
    expect(readSmi(gpu(body)).gpus[0]?.condition).toBe(condition);
  });

  const loads = '<utilization><gpu_util>0 %</gpu_util><encoder_util>0 %</encoder_util></utilization>';
  const mig = (mode: string): string => `<mig_mode><current_mig>${mode}</current_mig></mig_mode>`;
  const memory = (total: string): string =>
    `<fb_memory_usage><total>${total}</total><used>0 MiB</used><free>0 MiB</free></fb_memory_usage>`;
  const power = (watts: string): string =>
    `<gpu_power_readings><instant_power_draw>${watts}</instant_power_draw><power_draw>20.00 W</power_draw></gpu_power_readings>`;
  it.each([
    ['load, where it is split', `${mig('Enabled')}${loads}`, ['gpu_mig_enabled 1']],
    [
      'load, where it is not',
      `${mig('Disabled')}${loads}`,
      ['gpu_utilization_ratio 0', 'gpu_encoder_utilization_ratio 0', 'gpu_mig_enabled 0'],
    ],
    ['memory of no bytes', memory('0 MiB'), []],
    [
      'memory of which none is in use',
      memory('5 MiB'),
      ['gpu_memory_size_bytes 5242880', 'gpu_memory_used_bytes 0', 'gpu_memory_free_bytes 0'],
    ],
    ['power, for which there is another element', power('0.00 W'), ['gpu_power_watts 20']],
    ['power that is nearly nothing', power('0.01 W'), ['gpu_power_watts 0.01']],
    ['memory temperature, without a sensor', '<temperature><memory_temp>0 C</memory_temp></temperature>', []],
    [
      'core temperature',
      '<temperature><gpu_temp>0 C</gpu_temp></temperature>',
      ['gpu_temperature_celsius 0'],
    ],
    ['speed of a fan that stands', '<fan_speed>0 %</fan_speed>', ['gpu_fan_speed_ratio 0']],
  ])('takes a zero of %s for what it is', (_what, body, expected) => {
    const { points } = readSmi(gpu(body)).gpus[0] ?? { points: [] };
    expect(points.map(({ metric, value }) => `${metric} ${String(value)}`)).toEqual(expected);
  });

  it('keeps GPUs apart that claim one UUID', () => {
    const body = '<uuid>GPU-1</uuid>';
    const xml = `<nvidia_smi_log><gpu id="00000000:01:00.0">${body}</gpu><gpu id="00000000:02:00.0">${body}</gpu></nvidia_smi_log>`;
    expect(readSmi(xml).gpus.map(({ uuid }) => uuid)).toEqual(['GPU-1', '0000:02:00.0']);
  });
});

describe('a GPU that is not in the XML', () => {
  const log = parseSmiXml(fixtureText('r470.xml'));
  const places = (badGpus: readonly BadGpu[]): unknown[] =>
    normalizeSmi(log, { meminfo: () => undefined, badGpus }).gpus.map(({ gpu, uuid, condition }) => [
      gpu,
      uuid,
      condition,
    ]);
  const [first, second] = [
    'GPU-00000003-1111-2222-3333-444444444444',
    'GPU-00000004-1111-2222-3333-444444444444',
  ];

  it('has its place in the order of PCI addresses', () => {
    expect(places([{ pciBusId: '0000:5e:00.0', condition: 'lost' }])).toEqual([
      ['0', first, 'up'],
      ['1', '0000:5e:00.0', 'lost'],
      ['2', second, 'up'],
    ]);
  });

  it('is not told of twice where it is there after all', () => {
    expect(places([{ pciBusId: '0000:3b:00.0', condition: 'lost' }])).toEqual([
      ['0', first, 'up'],
      ['1', second, 'up'],
    ]);
  });
});

describe('sysfsPciAddress', () => {
  it.each([
    ['00000000:8F:00.0', '0000:8f:00.0'],
    ['0000:03:00.0', '0000:03:00.0'],
    ['0000000F:01:00.0', '000f:01:00.0'],
    ['00010000:01:00.1', '10000:01:00.1'],
    ['000:BA:00.0', '0000:ba:00.0'],
    ['00000000:8F:00', undefined],
    ['N/A', undefined],
    [undefined, undefined],
  ])('%s is %s', (text, address) => {
    expect(sysfsPciAddress(text)).toBe(address);
  });
});
