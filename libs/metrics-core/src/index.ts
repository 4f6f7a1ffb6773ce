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
