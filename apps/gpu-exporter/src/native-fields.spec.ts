import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import {
  buildFakeNvml,
  gb10,
  gt730,
  h100,
  h100Mig,
  hostOf,
  noCompilerReason,
  rtx4090,
  writeFakeHost,
  type FakeBoard,
} from '@llm-monitor/fake-nvml';
import { seriesOfField, shownSeries, tells, type SeriesName } from './native-fields.ts';
import { APU, LOST_GPU, VLLM_GPU } from './test-gpus.ts';
import { bundleProgram, runProgram } from './test-program.ts';

describe('the metrics of a native reading', () => {
  it.each<[string, readonly SeriesName[] | undefined]>([
    ['nvmlDeviceGetFanSpeed_v2', ['gpu_fan_speed_ratio']],
    ['nvmlDeviceGetFieldValues(82)', ['gpu_temperature_celsius{sensor="memory"}']],
    ['hwmon/temp3_crit', ['gpu_temperature_threshold_celsius']],
    ['nvmlDeviceGetSamples', []],
    ['nvmlDeviceGetFanSpeed_v3', undefined],
    ['toString', undefined],
  ])('%s are %j', (field, series) => {
    expect(seriesOfField(field)).toEqual(series);
  });

  it.each<[SeriesName, boolean]>([
    ['gpu_utilization_ratio', true],
    ['gpu_temperature_celsius', true],
    ['gpu_temperature_celsius{sensor="memory"}', true],
    ['gpu_temperature_celsius{sensor="junction"}', false],
    ['gpu_fan_speed_ratio', false],
    ['gpu_info{serial="*"}', true],
    ['gpu_info{vbios_version="*"}', false],
    ['gpu_process_info', true],
    ['gpu_process_sm_utilization_ratio', false],
    ['gpu_xid_errors_total', true],
  ])('%s are told by a GPU: %j', (series, isTold) => {
    expect(tells(VLLM_GPU, series)).toBe(isTold);
  });

  it('are shown as a person would ask for them', () => {
    expect(shownSeries('gpu_info{serial="*"}')).toBe('gpu_info{serial}');
    expect(shownSeries('gpu_clock_hertz')).toBe('gpu_clock_hertz');
  });

  it('of processes are missing where there is no list of them, not where it is empty', () => {
    expect(tells(APU, 'gpu_process_info')).toBe(false);
    expect(tells({ ...VLLM_GPU, processes: [] }, 'gpu_process_sm_utilization_ratio')).toBe(true);
    expect(tells(LOST_GPU, 'gpu_utilization_ratio')).toBe(false);
  });
});

interface Report {
  readonly backends: readonly { readonly unsupported: readonly { readonly field: string }[] }[];
  readonly gpus: readonly object[];
}

const library = buildFakeNvml();
const withLibrary = library === undefined ? it.skip : it;
const why = library === undefined ? ` (${noCompilerReason})` : '';

describe('boards that lack much', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'native-fields-'));
  let script: string;
  beforeAll(() => (script = bundleProgram('native-fields')), 60_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  withLibrary.each<[string, FakeBoard]>([
    ['GT 730', gt730()],
    ['GB10', gb10()],
    ['RTX 4090', rtx4090()],
    ['H100', h100()],
    ['split H100', h100Mig()],
  ])(
    `lack nothing that is not known to cost a metric: %s${why}`,
    async (_, board) => {
      const file = path.join(folder, `${board.uuid}.json`);
      writeFakeHost(file, hostOf([board]));
      const { stdout } = await runProgram(script, ['check', '--report'], {
        NVIDIA_FAKE_CONFIG: file,
        GPU_EXPORTER_BACKEND: 'nvml',
        GPU_EXPORTER_NVML_LIBRARY: library ?? '',
      }).end;
      const { backends, gpus } = JSON.parse(stdout) as Report;
      const fields = backends.flatMap(({ unsupported }) => unsupported.map(({ field }) => field));
      expect(gpus).toHaveLength(1);
      expect(fields.filter((field) => seriesOfField(field) === undefined)).toEqual([]);
    },
    20_000,
  );
});
