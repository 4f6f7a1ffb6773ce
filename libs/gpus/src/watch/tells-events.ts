import type { UnsupportedReading } from '../reading.ts';

/** NVML's functions without which there are no events; others have the word in their names, too. */
const EVENT_FUNCTIONS = [
  'nvmlEventSetCreate',
  'nvmlDeviceRegisterEvents',
  'nvmlDeviceGetSupportedEventTypes',
];

/** Whether a driver tells of errors by itself, by what a reading says is unsupported. */
export function tellsEvents(unsupported: readonly UnsupportedReading[]): boolean {
  return !unsupported.some(({ field }) => EVENT_FUNCTIONS.includes(field));
}
