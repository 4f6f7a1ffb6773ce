import type { GpuMetric } from './gpu-metrics.ts';

/** Labels that every series of a metric has, by what it is about. */
export const SCOPE_LABELS = {
  gpu: ['gpu', 'uuid'],
  backend: ['backend'],
  host: [],
} as const satisfies Record<string, readonly string[]>;
export type MetricScope = keyof typeof SCOPE_LABELS;

/** One metric that we tell beside what the driver says. */
export interface ExporterMetric extends Omit<GpuMetric, 'range'> {
  readonly of: MetricScope;
  /** Labels beyond those of its scope. */
  readonly labels: readonly string[];
}

/** Every `gpu_*` metric that is not read from a driver, once. docs/metrics.md is generated from this table. */
export const exporterMetrics = {
  gpu_up: {
    type: 'gauge',
    of: 'gpu',
    help: 'Whether the GPU answers, or sleeps by the word of the kernel (1), or not (0). There for as long as the GPU is known, also when it is lost.',
    labels: [],
    openTelemetry: 'hw.status {hw.state="ok"}',
  },
  gpu_suspended: {
    type: 'gauge',
    of: 'gpu',
    help: 'Whether the kernel has put the GPU to sleep (1) or not (0): a sleeping one is left alone and gives no readings. Absent while the GPU is down.',
    labels: [],
  },
  gpu_down_info: {
    type: 'info',
    of: 'gpu',
    help: 'Why the GPU is down: lost, reset_required, unknown_error, no_permission, vanished (no longer listed), driver_unreachable (no fresh reading), hung (the driver does not answer for it). Always 1, only while it is down.',
    labels: ['reason'],
  },
  gpu_info: {
    type: 'info',
    of: 'gpu',
    help: 'Facts of the GPU, each label where it is known. Always 1.',
    labels: [
      'name',
      'vendor',
      'driver_version',
      'cuda_version',
      'pci_bus_id',
      'serial',
      'architecture',
      'vbios_version',
      'compute_capability',
      'numa_node',
    ],
    openTelemetry: 'hw.name, hw.vendor, hw.serial_number, hw.firmware_version, hw.driver_version',
  },
  gpu_utilization_window_ratio: {
    type: 'gauge',
    unit: 'ratio',
    of: 'gpu',
    help: 'Statistics (max, avg, p95) of gpu_utilization_ratio over all samples since the last scrape of this client: up to 10 a second. Absent where there was none, as right after another scrape.',
    labels: ['stat'],
  },
  gpu_power_window_watts: {
    type: 'gauge',
    unit: 'watts',
    of: 'gpu',
    help: 'Statistics (max, avg, p95) of gpu_power_watts over all samples since the last scrape of this client: up to 10 a second. Absent where there was none.',
    labels: ['stat'],
  },
  gpu_energy_integrated_joules_total: {
    type: 'counter',
    unit: 'joules',
    of: 'gpu',
    help: 'Energy as the integral of the power readings, only for a GPU that has no meter (gpu_energy_joules_total) of its own. Less exact than a meter.',
    labels: ['source'],
    openTelemetry: 'hw.energy',
  },
  gpu_process_info: {
    type: 'info',
    of: 'gpu',
    help: 'A process on the GPU, its PID that of the host, and to which container, port, engine and model it belongs: unknown where that is not certain. Always 1.',
    labels: ['pid', 'process_name', 'type', 'container', 'port', 'engine', 'model'],
  },
  gpu_process_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    of: 'gpu',
    help: 'Memory of the GPU that the process holds.',
    labels: ['pid'],
  },
  gpu_process_sm_utilization_ratio: {
    type: 'gauge',
    unit: 'ratio',
    of: 'gpu',
    help: 'Share of time in which the streaming multiprocessors worked for the process.',
    labels: ['pid'],
  },
  gpu_expected_devices: {
    type: 'gauge',
    of: 'host',
    help: 'GPUs that this host should have, by the settings. Absent when not set.',
    labels: [],
  },
  gpu_exporter_gpus: {
    type: 'gauge',
    of: 'backend',
    help: 'GPUs that the backend knows: those that are down, asleep or no longer listed, too. Where there is no backend, backend is none and it is 0.',
    labels: [],
  },
  gpu_exporter_backend_up: {
    type: 'gauge',
    of: 'backend',
    help: 'Whether the backend gives readings (1) or not (0). Absent before it gave either.',
    labels: [],
  },
  gpu_exporter_backend_failure_info: {
    type: 'info',
    of: 'backend',
    help: 'Why the backend as a whole gives nothing: library_missing, program_missing, driver_not_loaded, driver_mismatch, init_unknown_error, no_permission, no_gpus, session_lost, timeout, hung, crashed, unreadable_output, internal. Always 1, only while it fails.',
    labels: ['reason'],
  },
  gpu_exporter_backend_info: {
    type: 'info',
    of: 'backend',
    help: 'Versions of the driver and of what it is read with, each label where it is known. Always 1.',
    labels: ['driver_version', 'library_version'],
  },
  gpu_exporter_reading_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    of: 'backend',
    help: 'Time since the last good reading. Absent before the first.',
    labels: [],
  },
  gpu_exporter_reader_restarts_total: {
    type: 'counter',
    of: 'backend',
    help: 'Starts of a new gpu-reader process after one failed.',
    labels: [],
  },
  gpu_exporter_readers_abandoned: {
    type: 'gauge',
    of: 'backend',
    help: 'Processes of the gpu-reader that nothing can end, because they are stuck in the driver.',
    labels: [],
  },
  gpu_exporter_unparsed_values_total: {
    type: 'counter',
    of: 'backend',
    help: 'Values that were there and made no sense, so that they were dropped, by native field.',
    labels: ['field'],
  },
  gpu_xid_errors_total: {
    type: 'counter',
    of: 'gpu',
    help: 'Errors that the NVIDIA driver told of since the exporter started, by XID; see docs/xids.md. The fatal ones are there with 0 from the start.',
    labels: ['xid'],
    openTelemetry: 'hw.errors {error.type=XID}',
  },
  gpu_xid_last_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    of: 'gpu',
    help: 'Unix time of the last error of this XID, also from before the start where the kernel log still has it.',
    labels: ['xid'],
  },
} as const satisfies Record<string, ExporterMetric>;

export type ExporterMetricName = keyof typeof exporterMetrics;
