/** Files of one card below `sys`, as paths in the device's folder. */
export function cardFiles(
  card: number,
  pciBusId: string,
  files: Readonly<Record<string, string | Buffer>>,
  deviceId = '744C',
): Record<string, string | Buffer> {
  const device = `sys/class/drm/card${card}/device`;
  return Object.fromEntries([
    [
      `${device}/uevent`,
      `DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:${deviceId}\nPCI_SLOT_NAME=${pciBusId}\n`,
    ],
    ...Object.entries(files).map(([name, content]) => [`${device}/${name}`, content] as const),
  ]);
}
