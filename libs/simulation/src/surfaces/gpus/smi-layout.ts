/**
 * Generations of nvidia-smi's output of which there are captures, by the first driver branch that prints them. They
 * differ in names, order and nesting of elements, which the DTD's version does not tell (R525 says v12 and is as R470).
 */
export const SMI_LAYOUTS = ['r470', 'r535', 'r570', 'r580'] as const;
export type SmiLayout = (typeof SMI_LAYOUTS)[number];

/** The first major version of each, the newest first; clock event counters came with R575. */
const FIRST_MAJORS: readonly (readonly [major: number, layout: SmiLayout])[] = [
  [575, 'r580'],
  [570, 'r570'],
  [535, 'r535'],
];

/** What nvidia-smi of a driver prints; the oldest layout for all before R535. */
export function smiLayoutOf(driverVersion: string): SmiLayout {
  const major = Number.parseInt(driverVersion, 10);
  return FIRST_MAJORS.find(([first]) => major >= first)?.[1] ?? 'r470';
}

/** Whether a layout is that one or newer. */
export function isFrom(layout: SmiLayout, first: SmiLayout): boolean {
  return SMI_LAYOUTS.indexOf(layout) >= SMI_LAYOUTS.indexOf(first);
}
