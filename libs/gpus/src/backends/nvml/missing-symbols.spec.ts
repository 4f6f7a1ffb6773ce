import { BackendError, type BackendReading } from '../../reading.ts';
import { NVML_FUNCTIONS } from './nvml-library.ts';
import { driverTests, pointLines, read, variedHost, type FakeDriver } from './test-nvml.ts';

const withDriver = driverTests({ describe, it, afterAll });

/** Metrics that lose a figure, or get another one, without the function. Without one that is not here none does. */
const COSTS: Readonly<Record<string, readonly string[]>> = {
  // A MIG device's UUID is a label.
  nvmlDeviceGetUUID: ['gpu_mig_info'],
  nvmlDeviceGetUtilizationRates: ['gpu_utilization_ratio', 'gpu_memory_utilization_ratio'],
  nvmlDeviceGetEncoderUtilization: ['gpu_encoder_utilization_ratio'],
  nvmlDeviceGetDecoderUtilization: ['gpu_decoder_utilization_ratio'],
  nvmlDeviceGetJpgUtilization: ['gpu_jpeg_utilization_ratio'],
  nvmlDeviceGetOfaUtilization: ['gpu_ofa_utilization_ratio'],
  nvmlDeviceGetMemoryInfo_v2: ['gpu_memory_used_bytes', 'gpu_memory_reserved_bytes'],
  nvmlDeviceGetBAR1MemoryInfo: ['gpu_bar1_size_bytes', 'gpu_bar1_used_bytes'],
  nvmlDeviceGetMarginTemperature: ['gpu_temperature_headroom_celsius'],
  nvmlDeviceGetEnforcedPowerLimit: ['gpu_power_limit_watts'],
  nvmlDeviceGetPowerManagementLimit: ['gpu_power_limit_watts'],
  nvmlDeviceGetPowerManagementDefaultLimit: ['gpu_power_limit_watts'],
  nvmlDeviceGetPowerManagementLimitConstraints: ['gpu_power_limit_watts'],
  nvmlDeviceGetTotalEnergyConsumption: ['gpu_energy_joules_total'],
  nvmlDeviceGetClockInfo: ['gpu_clock_hertz'],
  nvmlDeviceGetMaxClockInfo: ['gpu_clock_max_hertz'],
  nvmlDeviceGetPerformanceState: ['gpu_performance_state'],
  nvmlDeviceGetNumFans: ['gpu_fan_speed_ratio', 'gpu_fan_speed_rpm'],
  nvmlDeviceGetFanSpeed_v2: ['gpu_fan_speed_ratio'],
  nvmlDeviceGetFanSpeedRPM: ['gpu_fan_speed_rpm'],
  nvmlDeviceGetEccMode: ['gpu_ecc_enabled'],
  nvmlDeviceGetMemoryErrorCounter: ['gpu_ecc_errors_total'],
  nvmlDeviceGetRemappedRows: ['gpu_remapped_rows', 'gpu_remapped_rows_pending', 'gpu_remapped_rows_failure'],
  nvmlDeviceGetCurrPcieLinkGeneration: ['gpu_pcie_link_generation'],
  nvmlDeviceGetMaxPcieLinkGeneration: ['gpu_pcie_link_generation_max'],
  nvmlDeviceGetCurrPcieLinkWidth: ['gpu_pcie_link_width'],
  nvmlDeviceGetMaxPcieLinkWidth: ['gpu_pcie_link_width_max'],
  nvmlDeviceGetPcieThroughput: ['gpu_pcie_throughput_bytes_per_second'],
  nvmlDeviceGetPcieReplayCounter: ['gpu_pcie_replay_total'],
  nvmlDeviceGetNvLinkState: ['gpu_nvlink_up'],
  nvmlDeviceGetNvLinkErrorCounter: ['gpu_nvlink_errors_total'],
  nvmlDeviceGetFieldValues: [
    'gpu_temperature_celsius',
    'gpu_power_watts',
    'gpu_power_average_watts',
    'gpu_clock_event_seconds_total',
    'gpu_pcie_transmit_bytes_total',
    'gpu_pcie_receive_bytes_total',
    'gpu_nvlink_transmit_bytes_total',
    'gpu_nvlink_receive_bytes_total',
    'gpu_recovery_action',
    'gpu_pcie_throughput_bytes_per_second',
  ],
  nvmlDeviceGetGpuFabricInfoV: ['gpu_fabric_state', 'gpu_fabric_healthy'],
  nvmlDeviceGetMigMode: [
    'gpu_mig_enabled',
    'gpu_mig_info',
    'gpu_mig_memory_size_bytes',
    'gpu_mig_memory_used_bytes',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlDeviceGetMaxMigDeviceCount: [
    'gpu_mig_info',
    'gpu_mig_memory_size_bytes',
    'gpu_mig_memory_used_bytes',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlDeviceGetMigDeviceHandleByIndex: [
    'gpu_mig_info',
    'gpu_mig_memory_size_bytes',
    'gpu_mig_memory_used_bytes',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlDeviceGetGpuInstanceId: [
    'gpu_mig_info',
    'gpu_mig_memory_size_bytes',
    'gpu_mig_memory_used_bytes',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlDeviceGetComputeInstanceId: [
    'gpu_mig_info',
    'gpu_mig_memory_size_bytes',
    'gpu_mig_memory_used_bytes',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlGpmQueryDeviceSupport: [
    'gpu_sm_active_ratio',
    'gpu_sm_occupancy_ratio',
    'gpu_tensor_active_ratio',
    'gpu_dram_active_ratio',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlGpmSampleAlloc: [
    'gpu_sm_active_ratio',
    'gpu_sm_occupancy_ratio',
    'gpu_tensor_active_ratio',
    'gpu_dram_active_ratio',
    'gpu_mig_sm_active_ratio',
  ],
  nvmlGpmSampleGet: [
    'gpu_sm_active_ratio',
    'gpu_sm_occupancy_ratio',
    'gpu_tensor_active_ratio',
    'gpu_dram_active_ratio',
  ],
  nvmlGpmMigSampleGet: ['gpu_mig_sm_active_ratio'],
  nvmlGpmMetricsGet: [
    'gpu_sm_active_ratio',
    'gpu_sm_occupancy_ratio',
    'gpu_tensor_active_ratio',
    'gpu_dram_active_ratio',
    'gpu_mig_sm_active_ratio',
  ],
};

/** Without these there is nothing to read at all. */
const ESSENTIAL: Readonly<Record<string, string>> = {
  nvmlInit_v2: 'library_missing',
  nvmlDeviceGetCount_v2: 'library_missing',
};

/** The second reading: some figures are the difference of two. */
async function readTwice(driver: FakeDriver, library?: string): Promise<BackendReading> {
  const backend = driver.backend(library);
  await read(backend);
  driver.clock.seconds += 1;
  backend.sample?.();
  backend.events?.();
  const reading = await read(backend);
  backend.close();
  return reading;
}

function figures({ gpus }: BackendReading): Set<string> {
  return new Set(gpus.flatMap((gpu) => pointLines(gpu).map((line) => `${gpu.gpu} ${line}`)));
}

withDriver('a driver without one function', (driver) => {
  let whole: BackendReading;

  beforeAll(async () => {
    driver.host(variedHost());
    whole = await readTwice(driver);
  });

  const names = Object.keys(NVML_FUNCTIONS).filter(
    (name) => !(name in ESSENTIAL) && name !== 'nvmlDeviceGetHandleByIndex_v2',
  );

  it.each(names)('%s costs its own figures only', async (name) => {
    const reading = await readTwice(driver, driver.without(name));
    const [before, after] = [figures(whole), figures(reading)];
    const differing = [...before].filter((line) => !after.has(line));
    const metrics = new Set(differing.map((line) => line.replace(/^\d+ (\w+).*$/, '$1')));
    expect([...metrics].sort()).toEqual([...(COSTS[name] ?? [])].sort());
    expect(reading.gpus.map(({ condition }) => condition)).toEqual(['up', 'up', 'up']);
    expect(reading.unparsed).toEqual([]);
  });

  it('knows only functions that there are', () => {
    expect(Object.keys(COSTS).filter((name) => !(name in NVML_FUNCTIONS))).toEqual([]);
  });

  it.each(Object.entries(ESSENTIAL))('%s is told of as %s', async (name, reason) => {
    const reading = read(driver.backend(driver.without(name)));
    await expect(reading).rejects.toBeInstanceOf(BackendError);
    await expect(reading).rejects.toMatchObject({ reason });
  });

  it('has GPUs that answer nothing where there are no handles', async () => {
    const { gpus } = await readTwice(driver, driver.without('nvmlDeviceGetHandleByIndex_v2'));
    expect(gpus.map(({ uuid, condition, points }) => [uuid, condition, points])).toEqual([
      ['nvidia-0', 'unknown_error', []],
      ['nvidia-1', 'unknown_error', []],
      ['nvidia-2', 'unknown_error', []],
    ]);
  });

  it('tells which symbol it lacks, unless an older one gave the same', async () => {
    const lacking = async (name: string): Promise<unknown> =>
      (await readTwice(driver, driver.without(name))).unsupported.filter(
        ({ why }) => why === 'missing_symbol',
      );
    expect(await lacking('nvmlDeviceGetMarginTemperature')).toEqual([
      { field: 'nvmlDeviceGetMarginTemperature', why: 'missing_symbol' },
    ]);
    expect(await lacking('nvmlDeviceGetTemperatureV')).toEqual([]);
  });
});
