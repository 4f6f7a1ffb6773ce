import type { DeviceCalls } from './device-calls.ts';
import { SUCCESS } from './return-codes.ts';

/** Numbers of nvml.h's NVML_FI_DEV_* that are read. */
export const FIELDS = {
  powerViolationNanoseconds: 74,
  syncBoostNanoseconds: 76,
  memoryTemperature: 82,
  nvlinkCount: 91,
  nvlinkTransmitKibibytes: 138,
  nvlinkReceiveKibibytes: 139,
  powerAverage: 185,
  powerInstant: 186,
  pcieTransmitBytes: 197,
  pcieReceiveBytes: 198,
  nvlinkTransmitBytes: 202,
  nvlinkReceiveBytes: 204,
  nvlinkBufferOverruns: 207,
  nvlinkLocalLinkIntegrity: 211,
  nvlinkEffectiveErrors: 219,
  nvlinkSymbolErrors: 221,
  recoveryAction: 230,
  swThermalNanoseconds: 269,
  hwThermalNanoseconds: 270,
  powerBrakeNanoseconds: 271,
} as const;

/** A field, and of what: of the GPU (0) or its module (1), or the number of an NVLink. */
export interface FieldQuery {
  readonly id: number;
  readonly scope: number;
  /** What it is called in `unsupported`, and what its answer is remembered by. */
  readonly name: string;
  readonly reading: string;
}

/** Made once and asked often: with its NVLinks a board has 160 of them. */
export function fieldQuery(id: number, scope = 0): FieldQuery {
  return { id, scope, name: fieldName(id), reading: `${fieldName(id)}/${String(scope)}` };
}

/** What a field is called in `unsupported` and among unparsed values. */
export function fieldName(id: number): string {
  return `nvmlDeviceGetFieldValues(${String(id)})`;
}

/** Values by query; undefined for one that the device does not have. */
export type FieldValues = (id: number, scope?: number) => number | undefined;

/** nvmlFieldValue_t */
const FIELD_BYTES = 40;
const SCOPE_AT = 4;
const TYPE_AT = 24;
const CODE_AT = 28;
const VALUE_AT = 32;

/**
 * Reads many fields in one call. Each has its own return code, so that one that this driver does not know costs itself
 * only; it is left out of the next calls for a while.
 */
export function readFields(calls: DeviceCalls, queries: readonly FieldQuery[]): FieldValues {
  const values = new Map<number, number>();
  const asked = queries.filter(({ name, reading }) => {
    const known = calls.rememberedFailure(reading);
    if (known !== undefined) calls.noteFailure(name, known);
    return known === undefined;
  });
  if (asked.length === 0) return () => undefined;

  const fields = Buffer.alloc(FIELD_BYTES * asked.length);
  asked.forEach(({ id, scope }, index) => {
    fields.writeUInt32LE(id, index * FIELD_BYTES);
    fields.writeUInt32LE(scope, index * FIELD_BYTES + SCOPE_AT);
  });
  if (calls.call('nvmlDeviceGetFieldValues', '', asked.length, fields) === SUCCESS) {
    asked.forEach(({ id, scope, name, reading }, index) => {
      const at = index * FIELD_BYTES;
      const code = fields.readInt32LE(at + CODE_AT);
      calls.settle(reading, name, code);
      const value = decodeValue(fields, at + VALUE_AT, fields.readInt32LE(at + TYPE_AT));
      if (code === SUCCESS && value !== undefined) values.set(placeOf(id, scope), value);
    });
  }
  return (id, scope = 0) => values.get(placeOf(id, scope));
}

function placeOf(id: number, scope: number): number {
  return scope * 2 ** 16 + id;
}

/**
 * A number of nvmlValue_t by its nvmlValueType_t; undefined for a type that is newer than this. Whole numbers above
 * 2^53 lose their last digits: no quantity is so large, but some sentinels are.
 */
export function decodeValue(bytes: Buffer, at: number, type: number): number | undefined {
  switch (type) {
    case 0:
      return bytes.readDoubleLE(at);
    case 1:
      return bytes.readUInt32LE(at);
    case 2: // unsigned long: four bytes on Windows
      return process.platform === 'win32' ? bytes.readUInt32LE(at) : Number(bytes.readBigUInt64LE(at));
    case 3:
      return Number(bytes.readBigUInt64LE(at));
    case 4:
      return Number(bytes.readBigInt64LE(at));
    case 5:
      return bytes.readInt32LE(at);
    case 6:
      return bytes.readUInt16LE(at);
    default:
      return undefined;
  }
}
