export { createRandom, type Random } from './random.ts';
export { boards } from './gpu/boards.ts';
export type { GpuState } from './gpu/gpu.ts';
export { MODELS } from './engine/models.ts';
export type { EngineKind, EngineRequest, EngineState, RequestListener } from './engine/engine.ts';
export { SimulatedWorld } from './world/simulated-world.ts';
export type { ActiveIncident } from './world/incident-desk.ts';
export { targetText } from './world/incident-desk.ts';
export type { WorldEngine } from './world/world-parts.ts';
export { truthFamilies } from './world/truth-families.ts';
export {
  INCIDENT_NAMES,
  incidentOf,
  isIncidentName,
  type IncidentName,
  type PlannedIncident,
} from './scenario/incidents.ts';
export { planIncident, type IncidentPlan, type IncidentRequest } from './scenario/plan-incident.ts';
export { parseScenario, type EngineSpec, type Scenario } from './scenario/scenario.ts';
export { sceneOf } from './scenario/build-scenario.ts';
export { surfaces } from './surfaces/engines/surfaces.ts';
export { engineApis } from './surfaces/engines/engine-apis.ts';
export { renamedMetrics } from './surfaces/engines/renamed-metrics.ts';
export type { ApiCall, CallParts } from './surfaces/engines/engine-api.ts';
export type { SurfaceAnswer, SurfaceContext } from './surfaces/engines/surface.ts';
export type { GpuHost, NvidiaDriver } from './surfaces/gpus/gpu-host.ts';
export { answerNvidiaSmi, type SmiAnswer } from './surfaces/gpus/nvidia-smi.ts';
export { fakeNvmlHost } from './surfaces/gpus/fake-nvml-host.ts';
export { amdgpuTree } from './surfaces/gpus/amdgpu-tree.ts';
export { pciTree } from './surfaces/gpus/pci-tree.ts';
export { procTree, type ProcessFacts } from './surfaces/gpus/proc-tree.ts';
export { mergeTrees, type FileTree, type TreeEntry } from './surfaces/gpus/file-tree.ts';
export { kernelLogRecords } from './surfaces/gpus/kernel-log-records.ts';
export { BUILT_IN_SCENARIOS } from './scenario/built-in/built-in.ts';
export { formatScenarioProblem } from './scenario/read-yaml.ts';
export {
  engineTruthHistograms,
  engineTruths,
  gpuTruths,
  trafficTruths,
  worldTruths,
} from './world/truth-metrics.ts';
export { ModelTooLarge } from './engine/memory-plan.ts';
