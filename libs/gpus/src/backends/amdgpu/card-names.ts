/**
 * Names by PCI device id and revision, as libdrm's `data/amdgpu.ids` has them, for the cards that ROCm is mostly run on:
 * the driver itself names only boards that carry a product name in their FRU memory (`product_name`).
 */
const NAMES: Readonly<Record<string, string>> = {
  '66a1:02': 'AMD Instinct MI60 / MI50',
  '66af:c1': 'AMD Radeon VII',
  '738c:01': 'AMD Instinct MI100',
  '7408:00': 'AMD Instinct MI250X',
  '740c:01': 'AMD Instinct MI250X / MI250',
  '740f:02': 'AMD Instinct MI210',
  '74a0:00': 'AMD Instinct MI300A',
  '74a1:00': 'AMD Instinct MI300X',
  '74a2:00': 'AMD Instinct MI308X',
  '74a5:00': 'AMD Instinct MI325X',
  '75a0:00': 'AMD Instinct MI350X',
  '75a3:00': 'AMD Instinct MI355X',
  '73a3:00': 'AMD Radeon Pro W6800',
  '73a5:c0': 'AMD Radeon RX 6950 XT',
  '73bf:c0': 'AMD Radeon RX 6900 XT',
  '73bf:c1': 'AMD Radeon RX 6800 XT',
  '73bf:c3': 'AMD Radeon RX 6800',
  '73df:c0': 'AMD Radeon RX 6750 XT',
  '73df:c1': 'AMD Radeon RX 6700 XT',
  '73ff:c1': 'AMD Radeon RX 6600 XT',
  '73ff:c7': 'AMD Radeon RX 6600',
  '7448:00': 'AMD Radeon Pro W7900',
  '744c:c8': 'AMD Radeon RX 7900 XTX',
  '744c:cc': 'AMD Radeon RX 7900 XT',
  '744c:ce': 'AMD Radeon RX 7900 GRE',
  '745e:cc': 'AMD Radeon Pro W7800',
  '7470:00': 'AMD Radeon Pro W7700',
  '747e:c8': 'AMD Radeon RX 7800 XT',
  '747e:ff': 'AMD Radeon RX 7700 XT',
  '7480:c0': 'AMD Radeon RX 7600 XT',
  '7480:cf': 'AMD Radeon RX 7600',
  '7550:c0': 'AMD Radeon RX 9070 XT',
  '7550:c2': 'AMD Radeon RX 9070 GRE',
  '7550:c3': 'AMD Radeon RX 9070',
  '7551:c0': 'AMD Radeon AI PRO R9700',
  '7590:c0': 'AMD Radeon RX 9060 XT',
};

/**
 * The name of a card that does not name itself: from the table, else its ids, `AMD [1002:744c]`.
 * @param deviceId four hexadecimal digits, with or without `0x`
 * @param revision two hexadecimal digits, with or without `0x`
 */
export function cardName(deviceId: string | undefined, revision: string | undefined): string | undefined {
  if (deviceId === undefined) return undefined;
  const device = digits(deviceId).padStart(4, '0');
  const known = revision === undefined ? undefined : NAMES[`${device}:${digits(revision).padStart(2, '0')}`];
  return known ?? `AMD [1002:${device}]`;
}

function digits(hexadecimal: string): string {
  return hexadecimal.toLowerCase().replace(/^0x/, '');
}
