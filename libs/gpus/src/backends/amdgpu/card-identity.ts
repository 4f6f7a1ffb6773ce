/**
 * The label `uuid` of each card: its `unique_id` as the driver writes it (16 hexadecimal digits), else its PCI address.
 * In a virtual machine the id is all zeros (device-metrics-exporter#233), and counts as none. Parts of one GPU have one id
 * (a partitioned Instinct, functions of a shared one): there the PCI address is appended, `<unique_id>-<address>`.
 */
export function cardUuids(
  cards: readonly { readonly pciBusId: string; readonly uniqueId: string | undefined }[],
): Map<string, string> {
  const ids = cards.map(({ pciBusId, uniqueId }) => ({ pciBusId, id: normalizeUniqueId(uniqueId) }));
  return new Map(
    ids.map(({ pciBusId, id }) => {
      if (id === undefined) return [pciBusId, pciBusId];
      const shared = ids.filter((other) => other.id === id).length > 1;
      return [pciBusId, shared ? `${id}-${pciBusId}` : id];
    }),
  );
}

/** `0x2f048617326b1ea` of rocm-smi and `02f048617326b1ea` of the driver are one; undefined for zeros and for no id. */
export function normalizeUniqueId(text: string | undefined): string | undefined {
  const match = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(text?.trim() ?? '');
  const digits = match?.[1]?.toLowerCase().padStart(16, '0');
  return digits === undefined || /^0+$/.test(digits) ? undefined : digits;
}
