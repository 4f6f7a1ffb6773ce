export type { Alert, Rehearsal, Severity } from './alert.ts';
export { alertGroups } from './alerts.ts';
export { dashboardFiles } from './dashboard-files.ts';
export { ruleFiles } from './rule-files.ts';
export { bucketsOf, countOf, series, seriesOfAny, type HistogramName, type MetricName } from './series.ts';
