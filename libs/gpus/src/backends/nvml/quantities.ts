/** Thousandths, as NVML gives power and energy. */
export function milli(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value / 1000;
}

/** Of a quantity that is never nothing on a board that works, such as the power it draws: then 0 is "does not say". */
export function unlessZero(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

/** A u64 of a struct. Above 2^53 its last digits are lost: no quantity is so large, but some sentinels are. */
export function u64At(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}
