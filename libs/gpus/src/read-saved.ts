import { readRocmJson } from './backends/amdgpu/rocm-smi-json.ts';
import { readSysfsTree } from './backends/amdgpu/read-sysfs-tree.ts';
import { normalizeSmi } from './backends/nvidia-smi/normalize-smi.ts';
import { parseSmiXml } from './backends/nvidia-smi/parse-smi-xml.ts';
import type { BackendReading } from './reading.ts';

/** GPUs as a file or folder has them. */
export interface SavedGpus {
  /** What the source was taken for. */
  readonly readAs: string;
  readonly reading: BackendReading;
}

/** A source that nothing here reads. The message says what is accepted. */
export class NotRecognizedError extends Error {
  override readonly name = 'NotRecognizedError';
  readonly reason = 'not_recognized';
}

const ACCEPTED =
  'accepted are the output of nvidia-smi -q -x, of rocm-smi --json and of amd-smi metric --json, and a folder copied from sysfs (/sys/class/drm)';

/** What people save instead, and what they should. */
const NEAR_MISSES: readonly (readonly [RegExp, string])[] = [
  [/\0/, 'is not UTF-8: where PowerShell wrote it, save it again with | Out-File -Encoding utf8'],
  [
    /\bNVIDIA-SMI \d|==+NVSMI LOG==+|--query-gpu|^timestamp, |\bnvidia-smi\b/m,
    'is what nvidia-smi prints for people: save nvidia-smi -q -x, which prints all of it as XML',
  ],
  [/ROCm System Management Interface|\b(?:rocm|amd)-smi\b/, 'is what the tool prints for people: add --json'],
];

/**
 * The GPUs in a saved output.
 * @param name of the source, for messages
 * @throws NotRecognizedError; BackendError `unreadable_output` where the output is known and damaged
 */
export function readSavedGpus(text: string, name: string): SavedGpus {
  if (/<nvidia_smi_log[\s>]/.test(text)) {
    // The memory of the host that this is from is not in it.
    return {
      readAs: 'nvidia-smi -q -x',
      reading: normalizeSmi(parseSmiXml(text), { meminfo: () => undefined }),
    };
  }
  const json = readJson(text);
  const fromJson = json === undefined ? undefined : readRocmJson(json);
  if (fromJson !== undefined) return fromJson;
  const [, nearMiss] = NEAR_MISSES.find(([sign]) => sign.test(text)) ?? [];
  throw new NotRecognizedError(
    `${name} ${nearMiss ?? (text.trim() === '' ? 'is empty' : 'is not recognized')} (not_recognized); ${ACCEPTED}`,
  );
}

/**
 * The GPUs in a folder copied from sysfs, or in sysfs itself.
 * @throws NotRecognizedError where it has no card of AMD's
 */
export function readSavedGpuFolder(folder: string): SavedGpus {
  const reading = readSysfsTree(folder);
  return { readAs: 'a sysfs tree of amdgpu', reading };
}

/** Lines ahead of the JSON that may look like its beginning. */
const MAX_BEGINNINGS = 10;

/** The tools print warnings ahead of their JSON, some of them in brackets. */
function readJson(text: string): unknown {
  for (const { index } of [...text.matchAll(/^[ \t]*[[{]/gm)].slice(0, MAX_BEGINNINGS)) {
    try {
      return JSON.parse(text.slice(index));
    } catch {
      continue; // A warning, or no JSON at all: then it is not recognized, which is told.
    }
  }
  return undefined;
}
