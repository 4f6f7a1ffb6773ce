import { sysfsAddress, type GpuHost } from './gpu-host.ts';

/** What the driver says of an error behind its number (open kernel modules; NVIDIA's "Xid Errors"). */
const XID_TEXTS: Readonly<Record<number, string>> = {
  13: "pid='<unknown>', name=<unknown>, Graphics Exception: ESR 0x404600=0x80000002",
  31: "pid='<unknown>', name=<unknown>, Ch 00000008, MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f00_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
  43: "pid='<unknown>', name=<unknown>, Ch 00000008",
  45: "pid='<unknown>', name=<unknown>, Ch 00000008",
  48: "pid='<unknown>', name=<unknown>, An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at partition 4, subpartition 0.",
  63: "pid='<unknown>', name=<unknown>, Row Remapper: New row (0x0000000003f1c240) marked for remapping, reset gpu to activate.",
  64: "pid='<unknown>', name=<unknown>, Row Remapper: Failed to record row (0x0000000003f1c240)",
  74: "pid='<unknown>', name=<unknown>, NVLink: fatal error detected on link 3(0x10000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)",
  79: "pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
  92: "pid='<unknown>', name=<unknown>, High single-bit ECC error rate",
  94: "pid='<unknown>', name=<unknown>, Contained: Memory error.",
  95: "pid='<unknown>', name=<unknown>, Uncontained: Memory error.",
  119: "pid='<unknown>', name=<unknown>, Timeout after 6s of waiting for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20802a02 0x8).",
};
const FALLEN_OFF_THE_BUS = 79;

/** KERN_ERR of facility 0, which is the kernel's own. */
const ERROR = 3;

/**
 * The kernel log of a host with what NVIDIA's driver said of its GPUs' errors, in the records of /dev/kmsg
 * (Documentation/ABI/testing/dev-kmsg), the oldest first. A fall from the bus is told twice, by number and in words.
 */
export function kernelLogRecords(host: GpuHost): string {
  const messages = host.gpus
    .filter(({ board }) => board.vendor === 'nvidia')
    .flatMap(({ pciBusId, xids }) => {
      const address = sysfsAddress(pciBusId);
      return xids.flatMap(({ xid, seconds }) => xidMessages(address, xid).map((text) => ({ seconds, text })));
    });
  return messages
    .sort((one, other) => one.seconds - other.seconds)
    .map(
      ({ seconds, text }, sequence) => `${ERROR},${1000 + sequence},${Math.round(seconds * 1e6)},-;${text}\n`,
    )
    .join('');
}

/** Without the function, which is 0 for a GPU. */
function xidMessages(address: string, xid: number): string[] {
  const place = address.replace(/\.\d$/, '');
  const text = XID_TEXTS[xid] ?? "pid='<unknown>', name=<unknown>";
  const numbered = `NVRM: Xid (PCI:${place}): ${xid}, ${text}`;
  if (xid !== FALLEN_OFF_THE_BUS) return [numbered];
  return [numbered, `NVRM: GPU ${address}: GPU has fallen off the bus.`];
}
