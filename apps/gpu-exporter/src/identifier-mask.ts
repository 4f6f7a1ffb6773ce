/** Words of a report that would tell whose machine it is from. */
export interface Identifiers {
  /** UUIDs of GPUs and MIG devices, in the order of their GPUs. */
  readonly uuids: readonly string[];
  /** Serials, process and program names, container ids, models, this host and this user. */
  readonly others: readonly (string | undefined)[];
}

export interface IdentifierMask {
  /** `GPU-masked-0001`: the same for each mention of one UUID, and telling nothing of it. */
  readonly uuid: (uuid: string) => string;
  /** A fact such as a version, without the identifiers that are known; it may look like one itself. */
  readonly fact: (text: string) => string;
  /** Free text without any identifier that is known, or that looks like one. */
  readonly text: (text: string) => string;
}

const MASKED = 'masked';
/** Names that every other machine has: they tell nothing, and messages need them. */
const COMMON_NAMES: ReadonlySet<string> = new Set(['root', 'node', 'nobody', 'localhost']);

/** As sysfs writes them: where a board is plugged in tells nothing of whose it is, and a report needs it. */
const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;

/** What looks like an identifier, whether or not it is known to be one. */
const SUSPECTS: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/gi, MASKED],
  // Container ids, unique ids of boards, keys; driver versions and addresses are shorter.
  [/\b(?:0x)?[0-9a-f]{12,}\b/gi, MASKED],
  [/(\/(?:home|Users|root)\/)[^/\s:'"]+/g, `$1${MASKED}`],
  [/\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*/g, MASKED],
  // NVML's version 12.570.86.15 has a part that no network address has.
  [/\b(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}\b/g, MASKED],
];

/** Masks these identifiers, and whatever looks like one. */
export function maskIdentifiers({ uuids, others }: Identifiers): IdentifierMask {
  const placeholders = new Map<string, string>();
  for (const uuid of uuids) {
    if (placeholders.has(uuid) || PCI_ADDRESS.test(uuid)) continue;
    const prefix = /^(?:GPU|MIG)-/.exec(uuid)?.[0] ?? '';
    placeholders.set(uuid, `${prefix}${MASKED}-${String(placeholders.size + 1).padStart(4, '0')}`);
  }
  const names = others.filter(
    (other): other is string => other !== undefined && other.length >= 2 && !COMMON_NAMES.has(other),
  );
  const maskUuids = replaceWords([...placeholders.keys()], (uuid) => placeholders.get(uuid) ?? MASKED);
  const maskNames = replaceWords(names, () => MASKED);
  return {
    fact: (text) => maskNames(maskUuids(text)),
    uuid: (uuid) => placeholders.get(uuid) ?? (PCI_ADDRESS.test(uuid) ? uuid : MASKED),
    // Suspects go ahead of names: a container's short id is the beginning of its long one.
    text: (text) =>
      maskNames(SUSPECTS.reduce((rest, [suspect, mask]) => rest.replace(suspect, mask), maskUuids(text))),
  };
}

/** Replaces these words, whatever their case; the longest first, for a model's name may hold that of its maker. */
function replaceWords(words: readonly string[], mask: (word: string) => string): (text: string) => string {
  if (words.length === 0) return (text) => text;
  const longestFirst = [...new Set(words)].sort((left, right) => right.length - left.length);
  const byLowerCase = new Map(words.map((word) => [word.toLowerCase(), mask(word)]));
  const pattern = new RegExp(longestFirst.map(wordPattern).join('|'), 'giu');
  return (text) => text.replace(pattern, (word) => byLowerCase.get(word.toLowerCase()) ?? MASKED);
}

/** A short name is masked as a word by itself only: a user `amd` must not cost every `amdgpu`. */
function wordPattern(word: string): string {
  const literal = word.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  return word.length >= 8 ? literal : `(?<![\\p{L}\\p{N}_])${literal}(?![\\p{L}\\p{N}_])`;
}
