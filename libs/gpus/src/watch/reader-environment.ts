/**
 * What a gpu-reader needs of its parent's environment: programs and libraries are found by it, drivers are told by it which
 * devices to show and what to trace, and nvidia-smi prints by it.
 */
const NAMES = ['PATH', 'LD_LIBRARY_PATH', 'LD_PRELOAD', 'HOME', 'LANG', 'LC_ALL', 'TZ'];
const PREFIXES = ['NVIDIA_', 'CUDA_', '__NVML_'];

/**
 * The environment of a gpu-reader. All else stays with the parent: its secrets are not to lie in one more process, and
 * NODE_OPTIONS are for one that has bounds on its memory of its own.
 * @param parent of the process that starts it
 */
export function readerEnvironment(
  parent: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(parent).filter(
      ([name]) => NAMES.includes(name) || PREFIXES.some((prefix) => name.startsWith(prefix)),
    ),
  );
}
