/**
 * What a leaf of `nvidia-smi -q -x` says. Words for "no value" differ by driver and field, with and without brackets
 * and in any case; they are compared without either.
 */
export type Cell =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'no_permission' }
  /** The driver tried and failed. */
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'lost' }
  | { readonly kind: 'reset_required' };

/** Every word that is no value, and what it says. */
const WORDS = new Map<string, Exclude<Cell['kind'], 'value'>>([
  ['', 'absent'],
  ['n/a', 'absent'],
  ['not supported', 'absent'],
  ['not available', 'absent'],
  ['not found', 'absent'],
  ['not applicable', 'absent'],
  ['unknown', 'absent'],
  ['deprecated', 'absent'],
  ['function not found', 'absent'],
  ['requested functionality has been deprecated', 'absent'],
  ['not available in wddm driver model', 'absent'],
  ['insufficient permissions', 'no_permission'],
  ['no permission', 'no_permission'],
  ['unknown error', 'error'],
  ['err!', 'error'],
  ['error', 'error'],
  ['gpu is lost', 'lost'],
  ['gpu requires reset', 'reset_required'],
  ['reset required', 'reset_required'],
]);

/** Reads the text of one element; an element that is not there is absent. */
export function readCell(text: string | undefined): Cell {
  if (text === undefined) return { kind: 'absent' };
  const trimmed = text.trim();
  const kind = WORDS.get(plainWords(trimmed));
  if (kind === undefined) return { kind: 'value', text: trimmed };
  return kind === 'error' ? { kind, text: trimmed } : { kind };
}

/** Lower case, without the brackets around it, and with single spaces. */
export function plainWords(text: string): string {
  return text
    .slice(0, 200)
    .trim()
    .replace(/^\[(.*)\]$/s, '$1')
    .trim()
    .replace(/\s+/g, ' ')
    .toLowerCase();
}

/** Makes a number of a value in its base unit; undefined when the value is not understood. */
export type CellReader = (text: string) => number | undefined;

/** A unit as nvidia-smi writes it, and what one of it is: a factor, or a divisor where that is the exact one. */
type Units = Readonly<Record<string, { readonly times: number } | { readonly per: number }>>;

const NUMBER_AND_UNIT = /^([+-]?\d{1,20}(?:\.\d{1,9})?) ?(\D{0,8})$/;

/** A reader of decimal numbers that takes these units and no others: a unit that is new must not be guessed. */
function quantity(units: Units): CellReader {
  return (text) => {
    const match = NUMBER_AND_UNIT.exec(text);
    const unit = match?.[2];
    if (unit === undefined || !Object.hasOwn(units, unit)) return undefined;
    const scale = units[unit];
    if (scale === undefined) return undefined;
    const number = Number(match?.[1]);
    return 'times' in scale ? number * scale.times : number / scale.per;
  };
}

export const bytes = quantity({
  B: { times: 1 },
  KiB: { times: 1024 },
  MiB: { times: 1024 ** 2 },
  GiB: { times: 1024 ** 3 },
  TiB: { times: 1024 ** 4 },
});
export const watts = quantity({ W: { times: 1 }, mW: { per: 1000 } });
export const hertz = quantity({
  Hz: { times: 1 },
  KHz: { times: 1e3 },
  MHz: { times: 1e6 },
  GHz: { times: 1e9 },
});
export const celsius = quantity({ C: { times: 1 } });
export const percent = quantity({ '%': { per: 100 } });
export const seconds = quantity({ ns: { per: 1e9 }, us: { per: 1e6 }, ms: { per: 1e3 }, s: { times: 1 } });
/** NVML gives PCIe throughput in thousands of bytes per second. */
export const bytesPerSecond = quantity({
  'B/s': { times: 1 },
  'KB/s': { times: 1e3 },
  'MB/s': { times: 1e6 },
  'GB/s': { times: 1e9 },
});
/** `16x` */
export const lanes = quantity({ x: { times: 1 } });

const plainNumber = quantity({ '': { times: 1 }, 'bank(s)': { times: 1 } });

/** A number without a unit, `N bank(s)`, or a hexadecimal one. */
export const count: CellReader = (text) =>
  /^0x[0-9a-f]{1,16}$/i.test(text) ? Number(text) : plainNumber(text);

/** A reader of fixed words. */
export function words(values: Readonly<Record<string, number>>): CellReader {
  return (text) => {
    const word = plainWords(text);
    return Object.hasOwn(values, word) ? values[word] : undefined;
  };
}

/** `P0` to `P15`; NVML's 32 is "unknown". */
export const performanceState: CellReader = (text) => {
  const digits = /^P(\d{1,2})$/.exec(text)?.[1];
  return digits === undefined || Number(digits) > 15 ? undefined : Number(digits);
};
