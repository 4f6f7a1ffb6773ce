import { fieldName, fieldQuery, FIELDS, type FieldQuery } from './field-values.ts';
import type { DeviceParts } from './read-device.ts';

/** Counters of each link by field, up to NVLink 4 in KiB of data (138, 139), from NVLink 5 on in bytes (202, 204). */
const TRAFFIC = [
  ['gpu_nvlink_transmit_bytes_total', FIELDS.nvlinkTransmitBytes, FIELDS.nvlinkTransmitKibibytes],
  ['gpu_nvlink_receive_bytes_total', FIELDS.nvlinkReceiveBytes, FIELDS.nvlinkReceiveKibibytes],
] as const;

/** nvmlNvLinkErrorCounter_t */
const ERRORS = { replay: 0, recovery: 1, crc_flit: 2, crc_data: 3, ecc_data: 4 } as const;

/** NVLink 5 has fields in their place. */
const ERROR_FIELDS = {
  effective: FIELDS.nvlinkEffectiveErrors,
  symbol: FIELDS.nvlinkSymbolErrors,
  local_link_integrity: FIELDS.nvlinkLocalLinkIntegrity,
  buffer_overrun: FIELDS.nvlinkBufferOverruns,
} as const;

/** Fields of so many links; the scope of each is its link. */
export function nvlinkFields(links: number): FieldQuery[] {
  const ids = [
    ...TRAFFIC.flatMap(([, bytes, kibibytes]) => [bytes, kibibytes]),
    ...Object.values(ERROR_FIELDS),
  ];
  return Array.from({ length: links }, (_, link) => ids.map((id) => fieldQuery(id, link))).flat();
}

/**
 * By which field each counter of a link is read, once that had a value. The two do not count the same: in place of one
 * that fails once, the other would look like a counter that began anew.
 */
export type NvlinkSources = Map<string, number>;

/** State, traffic and errors of each link. @param sources of this device, which it adds to */
export function putNvlinks(
  { calls, points, fields }: DeviceParts,
  links: number,
  sources: NvlinkSources,
): void {
  for (let link = 0; link < links; link++) {
    const label = { link: String(link) };
    points.put(
      'gpu_nvlink_up',
      calls.uint('nvmlDeviceGetNvLinkState', link),
      'nvmlDeviceGetNvLinkState',
      label,
    );
    for (const [metric, bytes, kibibytes] of TRAFFIC) {
      const counter = `${metric}/${label.link}`;
      const source = sources.get(counter) ?? [bytes, kibibytes].find((id) => fields(id, link) !== undefined);
      if (source === undefined) continue;
      sources.set(counter, source);
      const value = fields(source, link);
      const scaled = value === undefined || source === bytes ? value : value * 1024;
      points.put(metric, scaled, fieldName(source), label);
    }
    for (const [kind, counter] of Object.entries(ERRORS)) {
      const errors = calls.ulonglong('nvmlDeviceGetNvLinkErrorCounter', link, counter);
      points.put('gpu_nvlink_errors_total', errors, 'nvmlDeviceGetNvLinkErrorCounter', { ...label, kind });
    }
    for (const [kind, id] of Object.entries(ERROR_FIELDS)) {
      const errors = fields(id, link);
      points.put('gpu_nvlink_errors_total', errors, fieldName(id), { ...label, kind });
    }
  }
}
