export type {
  EngineAdapter,
  EngineCommandLine,
  Fingerprint,
  ModelPlace,
  ProcessFiles,
  Rule,
} from './adapter.ts';
export type { Answer } from './answers.ts';
export {
  createEngineCollection,
  type CollectedEngine,
  type EngineCollection,
  type EngineCollectionParts,
} from './collect-engines.ts';
export { detectEngine, recognize, type Detection } from './detect.ts';
export {
  chooseCandidates,
  type Candidate,
  type Candidates,
  type PassedOver,
} from './discovery/candidates.ts';
export { listeningSockets, parseSocketTable, type ListeningSocket } from './discovery/listening-sockets.ts';
export {
  CORE_METRICS,
  ENGINE_STATES,
  llmFamilies,
  UNAVAILABLE_REASONS,
  type CanonicalFamily,
  type EngineState,
  type LlmMetricName,
} from './families.ts';
export { readTargets, type TargetSettings, type TargetsRead } from './configured-targets.ts';
export { createGet, DEFAULT_HTTP_LIMITS, type Endpoint, type Get, type HttpLimits } from './http-get.ts';
export { createEngineReader, type ReadEngine } from './read-engine.ts';
export {
  certainPort,
  engineOfArguments,
  modelOfArguments,
  portsNamed,
  programOfArguments,
  servedModel,
  servesApi,
} from './process-engine.ts';
export { readSaved, type SavedReading } from './read-saved.ts';
export type { EngineReading, Identity, MetricSource, SourceIssue } from './reading.ts';
export { namesOf, rulesOf } from './apply-rules.ts';
export { adapterOf, ENGINE_NAMES, engines, isEngineName, type EngineName } from './registry.ts';
export { SAFE_PATHS } from './safe-paths.ts';
export {
  TargetBook,
  type BookReport,
  type ConfiguredTarget,
  type TargetBookParts,
  type TargetCollector,
  type TargetEvent,
  type TargetReport,
} from './target-book.ts';
export { logTargetEvent, type EventLog } from './log-target-event.ts';
export { targetSetting, type TargetSetting } from './target-setting.ts';
export { TargetError, type TargetErrorReason } from './target-error.ts';
export { parseTranscript, TranscriptError } from './transcript.ts';
