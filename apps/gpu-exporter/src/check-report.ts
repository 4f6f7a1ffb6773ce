import { processName, type GpuSnapshot, type OwnedProcess, type WatchedGpu } from '@llm-monitor/gpus';

import { overviewSentence } from './gpus-view.ts';
import { maskIdentifiers, type IdentifierMask } from './identifier-mask.ts';
import type { Look } from './check-command.ts';

/** What a report tells of the machine, and what it hides of it. */
export interface ReportSurroundings extends Machine {
  readonly version: string;
  /** As /etc/os-release has it; undefined where there is none. */
  readonly operatingSystem: string | undefined;
  readonly at: string;
}

/** What the process knows of its machine. */
export interface Machine {
  readonly nodeVersion: string;
  readonly platform: string;
  readonly architecture: string;
  readonly kernel: string;
  /** Hidden wherever they occur. */
  readonly hostName: string;
  readonly userName: string | undefined;
}

/**
 * All that is known of the GPUs as JSON, for a bug report: every point, what is unsupported and what was not understood.
 * Serials, UUIDs, and the names of host, user, processes, containers and models are not in it; each part is named here
 * one by one, so that a new fact is out until somebody lets it in.
 */
export function renderReport({ snapshot, remarks }: Look, surroundings: ReportSurroundings): string {
  const mask = maskIdentifiers({
    uuids: uuidsOf(snapshot),
    others: [...namesOf(snapshot), ...hostNames(surroundings.hostName), surroundings.userName],
  });
  const { version, nodeVersion, platform, architecture, kernel, operatingSystem, at } = surroundings;
  const report = {
    report: 'gpu-exporter check',
    at,
    versions: {
      'gpu-exporter': version,
      node: nodeVersion,
      platform,
      architecture,
      kernel: mask.fact(kernel),
      operatingSystem: operatingSystem === undefined ? undefined : mask.fact(operatingSystem),
    },
    overview: mask.text(overviewSentence(snapshot)),
    remarks: remarks.map(mask.text),
    backends: snapshot.backends.map((state) => ({
      backend: state.backend,
      driverVersion: masked(state.driverVersion, mask),
      libraryVersion: masked(state.libraryVersion, mask),
      ageSeconds: state.ageSeconds,
      readingSeconds: state.readingSeconds,
      restarts: state.restarts,
      abandoned: state.abandoned,
      failure:
        state.failure === undefined
          ? undefined
          : { reason: state.failure.reason, message: mask.text(state.failure.message) },
      unsupported: state.unsupported.map(({ field, why }) => ({ field: mask.text(field), why })),
      unparsed: [...state.unparsed].map(([field, count]) => ({ field: mask.text(field), count })),
    })),
    gpus: snapshot.gpus.map((gpu) => gpuReport(gpu, mask)),
  };
  return `${JSON.stringify(report, null, 2)}\n`;
}

function gpuReport(
  { backend, reading, ageSeconds, processes, windows, integratedJoules, xids }: WatchedGpu,
  mask: IdentifierMask,
): object {
  const { gpu, uuid, condition, facts, points } = reading;
  return {
    gpu,
    uuid: mask.uuid(uuid),
    backend,
    condition,
    ageSeconds,
    facts: {
      vendor: facts.vendor,
      name: masked(facts.name, mask),
      driverVersion: masked(facts.driverVersion, mask),
      cudaVersion: masked(facts.cudaVersion, mask),
      pciBusId: facts.pciBusId,
      serial: facts.serial === undefined ? undefined : 'masked',
      architecture: masked(facts.architecture, mask),
      vbiosVersion: masked(facts.vbiosVersion, mask),
      computeCapability: masked(facts.computeCapability, mask),
      numaNode: masked(facts.numaNode, mask),
    },
    points: points.map(({ metric, value, labels }) => ({
      metric,
      value,
      labels: labels === undefined ? undefined : maskedLabels(labels, mask),
    })),
    windows,
    integratedJoules,
    xids: [...(xids ?? [])].filter(([, { count }]) => count > 0).map(([xid, { count }]) => ({ xid, count })),
    processes: processes?.map((process) => processReport(process, mask)),
  };
}

/** The engine is one of a closed set of words; of the rest only whether it was found out. */
function processReport(process: OwnedProcess, mask: IdentifierMask): object {
  const { type, memoryBytes, smUtilizationRatio, gpuInstanceId, computeInstanceId, owner } = process;
  return {
    type,
    memoryBytes,
    smUtilizationRatio,
    gpuInstanceId: masked(gpuInstanceId, mask),
    computeInstanceId: masked(computeInstanceId, mask),
    engine: owner.engine ?? 'unknown',
    hasModel: owner.model !== undefined,
    hasContainer: owner.container !== undefined,
    hasPort: owner.port !== undefined,
  };
}

function maskedLabels(labels: Readonly<Record<string, string>>, mask: IdentifierMask): object {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [
      name,
      name.endsWith('uuid') ? mask.uuid(value) : mask.text(value),
    ]),
  );
}

function masked(text: string | undefined, mask: IdentifierMask): string | undefined {
  return text === undefined ? undefined : mask.fact(text);
}

function uuidsOf({ gpus }: GpuSnapshot): string[] {
  return gpus.flatMap(({ reading }) => [
    reading.uuid,
    ...reading.points.flatMap(({ labels }) => labels?.['mig_uuid'] ?? []),
  ]);
}

function namesOf({ gpus }: GpuSnapshot): (string | undefined)[] {
  return gpus.flatMap(({ reading, processes }) => [
    reading.facts.serial,
    ...(processes ?? []).flatMap((process) => {
      const { engine, model, container, program } = process.owner;
      const shortNames = [processName({ ...process, owner: {} }), processName(process)];
      const names = [...shortNames, process.name, program, model, container];
      // The engine's own word is what a report is for.
      return names.filter((name) => name !== engine && name !== 'unknown');
    }),
  ]);
}

/** `box` of `box.example.org` as well. */
function hostNames(hostName: string): string[] {
  const [first = ''] = hostName.split('.');
  return first === hostName ? [hostName] : [hostName, first];
}
