export {
  exporterMetrics,
  SCOPE_LABELS,
  type ExporterMetric,
  type ExporterMetricName,
  type MetricScope,
} from './exporter-metrics.ts';
export {
  CLOCK_EVENT_REASONS,
  gpuMetrics,
  RANGES,
  type ClockEventReason,
  type GpuMetric,
  type GpuMetricName,
} from './gpu-metrics.ts';
export {
  BACKEND_FAILURES,
  BACKEND_VENDORS,
  BackendError,
  BACKENDS,
  DOWN_REASONS,
  GPU_VENDORS,
  SAMPLE_KINDS,
  type BackendFailureReason,
  type BackendName,
  type BackendReading,
  type DownReason,
  type GpuBackend,
  type GpuCondition,
  type GpuFacts,
  type GpuPoint,
  type GpuProcess,
  type GpuReading,
  type GpuSample,
  type GpuVendor,
  type PciGpu,
  type SampleKind,
  type UnparsedValue,
  type UnsupportedReading,
  type XidEvent,
} from './reading.ts';
export type {
  BackendFailure,
  BackendState,
  GpuSnapshot,
  OwnedProcess,
  ProcessOwner,
  WatchedGpu,
  WindowStatistics,
  XidCount,
} from './snapshot.ts';
export { GpuExposition } from './gpu-exposition.ts';
export {
  gpuSnapshotFamilies,
  processName,
  readingFamilies,
  type GpuSnapshotOptions,
} from './snapshot-families.ts';
export { backendMend, downMend, unsupportedMeanings, type Mend } from './mends.ts';
export { FATAL_XIDS, xidCatalogue, type XidMeaning } from './watch/xid-catalogue.ts';
export { NotRecognizedError, readSavedGpuFolder, readSavedGpus, type SavedGpus } from './read-saved.ts';
export {
  startGpuWatch,
  type GpuWatch,
  type GpuWatchParts,
  type GpuWatchSettings,
  type WatchLog,
} from './watch/gpu-watch.ts';
export { gpuReaderBeside } from './watch/reader-process.ts';
