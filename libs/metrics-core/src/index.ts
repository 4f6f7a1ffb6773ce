export type {
  HistogramFamily,
  HistogramPoint,
  HistogramType,
  Labels,
  MetricFamily,
  MetricType,
  ScalarFamily,
  ScalarPoint,
  ScalarType,
  SummaryFamily,
  SummaryPoint,
} from './families.ts';
export { labelValue } from './labels.ts';
export {
  parseExposition,
  type ExpositionFormat,
  type ParsedExposition,
  type ParseOptions,
} from './parse-exposition.ts';
export { parseIssueKinds, type ParseIssue, type ParseIssueKind } from './parse-issues.ts';
export {
  isLabelName,
  isMetricName,
  lowerFamilies,
  renderDropReasons,
  type LoweredFamilies,
  type LowerOptions,
  type RenderDropReason,
} from './lower-families.ts';
export { negotiateFormat } from './negotiate-format.ts';
export { contentTypes, formatNumber, renderExposition, renderPieces } from './render-exposition.ts';
export {
  guardCardinality,
  seriesCount,
  type CountDroppedSeries,
  type DroppedFamily,
  type GuardedFamilies,
} from './cardinality-guard.ts';
export { systemClock, type Clock } from './clock.ts';
export {
  createCollectorRunner,
  type Collector,
  type CollectorFailure,
  type CollectorMetrics,
  type CollectorOutcome,
  type CollectorRunner,
  type CollectorRunnerParts,
} from './collector-runner.ts';
export {
  differenceOfHistograms,
  meanOf,
  mergeHistograms,
  observationCount,
  quantile,
  shareBelow,
} from './histogram.ts';
export { scrapeDeadlineMilliseconds } from './scrape-deadline.ts';
export {
  createSelfMetrics,
  renderWith,
  selfFamilies,
  type SelfFamily,
  type SelfMetrics,
} from './self-metrics.ts';
