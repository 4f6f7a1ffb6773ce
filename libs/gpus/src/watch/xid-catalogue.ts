/** What is known of one of the numbers with which the NVIDIA driver tells of errors. */
export interface XidMeaning {
  readonly meaning: string;
  /** The GPU, or all work on it, is lost until it is reset, its host rebooted, or the part replaced. */
  readonly fatal: boolean;
  /** What to do, in one sentence. */
  readonly action: string;
}

const RESTART_PROGRAM = 'Look for a bug in the program that the kernel log names, and restart it.';
const WATCH = 'Nothing now; look closer when it comes again and again.';
const RESET = 'Drain the GPU and reset it; have it tested when it happens again.';
const SEE_OTHER = 'Act on the error that is told beside this one.';
const NVLINK_5 =
  'The kernel log says whether it is fatal; when it is, a 154 beside it says what the driver needs.';

const program = (meaning: string): XidMeaning => ({ meaning, fatal: false, action: RESTART_PROGRAM });
const benign = (meaning: string): XidMeaning => ({ meaning, fatal: false, action: WATCH });
const fatal = (meaning: string, action: string = RESET): XidMeaning => ({ meaning, fatal: true, action });

/**
 * The XIDs that matter, by number, in our own words after NVIDIA's catalogue
 * (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, with the table for Volta and older beside it).
 * Fatal is what the catalogue answers with a reset of the GPU, a restart of the virtual machine or of the host; also
 *  - 48 and 74, whose flow charts end in a reset (gpu-debug-guidelines);
 *  - 154, by which the driver says that it needs one;
 *  - 167 and 169, not yet classed there, the kin of 158 and 62.
 * Not fatal are 63 (a row was remapped: the repair, not the fault), 92, and 94: it costs one program only.
 */
export const xidCatalogue: Readonly<Record<number, XidMeaning>> = {
  8: program('the GPU stopped working on a channel for too long'),
  11: program('a malformed or corrupted stream of commands'),
  13: program('an exception in the compute or graphics engine, such as an access out of bounds'),
  16: benign('the display engine hung'),
  25: program('an illegal stream of commands'),
  31: program('a page fault: the program used an address of GPU memory that it does not own'),
  32: program('a corrupted stream of commands, at times by a bad PCIe link'),
  37: benign('the firmware of the driver met a command that it does not know'),
  38: benign('the watchdog of the driver firmware ran out'),
  39: program('an exception in a copy engine'),
  40: program('an exception in a copy engine'),
  41: program('an exception in a copy engine'),
  43: program('work of a program was stopped after an error of its own; the GPU is well'),
  44: benign('the compute engine failed while it changed between programs'),
  45: {
    meaning: 'channels were cleaned up after an error or a killed program',
    fatal: false,
    action: SEE_OTHER,
  },
  46: fatal('the GPU stopped answering'),
  48: fatal('a memory error that ECC could not correct (double bit)'),
  54: {
    meaning: 'the extra power cable of the board is not connected',
    fatal: false,
    action: 'Shut the host down and seat the power cables of the GPU.',
  },
  56: benign('an error in the display engine'),
  57: benign('the link to the video memory could not be trained'),
  58: benign('the video memory interface is not stable'),
  59: benign('an error of the micro-controller in the GPU (older drivers)'),
  60: program('an exception in the video processor'),
  61: benign('a breakpoint or warning of the micro-controller in the GPU'),
  62: fatal('the micro-controller in the GPU halted'),
  63: {
    meaning: 'a bad row of memory was put down for remapping, or a bad page for retirement',
    fatal: false,
    action: 'Reset the GPU when it is next idle, so that the repair takes effect.',
  },
  64: fatal(
    'a bad row of memory could not be remapped, or a bad page not be retired',
    'Drain and reset the GPU; have it replaced when it happens again.',
  ),
  65: program('an exception in the video processor'),
  66: benign('the driver touched a register that it must not'),
  67: benign('the driver touched a register that it must not'),
  68: program('an exception in the video decoder'),
  69: program('the compute or graphics engine refused a command of the wrong class'),
  70: program('an exception in a copy engine'),
  71: program('an exception in a copy engine'),
  72: program('an exception in a copy engine'),
  74: fatal(
    'an error on NVLink',
    'Reset all GPUs that are linked together; have the link and the bridge tested when it happens again.',
  ),
  75: program('an exception in a copy engine'),
  76: program('an exception in a copy engine'),
  77: program('an exception in a copy engine'),
  78: {
    meaning: 'a virtual GPU could not be started',
    fatal: false,
    action: 'Bring the vGPU software of host and guest to versions that belong together.',
  },
  79: fatal(
    'the GPU has fallen off the bus: PCIe does not reach it any more',
    'Reboot the host; look at power, seating, temperature and PCIe errors when it happens again.',
  ),
  80: program('data arrived corrupted at the GPU'),
  82: program('an error in the JPEG engine'),
  83: program('an exception in the video decoder'),
  84: program('an exception in the video decoder'),
  85: program('an exception in a copy engine'),
  86: program('an exception in the optical flow engine'),
  88: program('an exception in the video decoder'),
  89: program('an exception in the video decoder'),
  92: {
    meaning: 'many memory errors, all of which ECC corrected',
    fatal: false,
    action: 'Nothing now; plan for a test of the GPU memory.',
  },
  93: benign('the settings memory of the board is written more often than planned'),
  94: {
    meaning: 'a memory error that could not be corrected and was contained to one program',
    fatal: false,
    action: 'Restart the program; reset the GPU when it is next idle.',
  },
  95: fatal(
    'a memory error that could not be corrected and was not contained: all programs on the GPU are hit',
  ),
  96: program('an exception in the video decoder'),
  97: program('an exception in the video decoder'),
  98: program('an exception in the video decoder'),
  99: program('an error in the JPEG engine'),
  109: fatal('changing between programs took too long'),
  110: fatal('a security fault', 'Reset the GPU, and bring driver and firmware up to date.'),
  119: fatal(
    'the driver waited in vain for the firmware (GSP)',
    'Reset the GPU, or power the host off and on where that fails; bring the driver up to date.',
  ),
  120: fatal(
    'an error in the firmware (GSP)',
    'Reset the GPU, or power the host off and on where that fails; bring the driver up to date.',
  ),
  121: benign('an error on the link between the chips of a module (C2C)'),
  125: benign('an error in the settings memory of the board'),
  136: fatal(
    'the training of an NVLink failed',
    'Reset the GPU; have the link tested when it happens again.',
  ),
  137: {
    meaning: 'an NVLink peer was accessed without the right to, or is faulty',
    fatal: false,
    action: 'Look for an error of the peer GPU beside this one, then for a bug in the program.',
  },
  140: fatal('a memory error that ECC could not correct and the driver did not recover from'),
  141: benign('an error on a fast path of CUDA'),
  143: fatal('the GPU could not be initialized'),
  144: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  145: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  146: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  147: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  148: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  149: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  150: { meaning: 'an error on NVLink 5', fatal: false, action: NVLINK_5 },
  151: fatal('a key could not be rotated (confidential computing)', 'Restart the virtual machine.'),
  154: fatal(
    'the driver says that the GPU must be recovered',
    'Do what gpu_recovery_action and the kernel log ask for: a reset of the GPU or a reboot of the host.',
  ),
  155: fatal('an error on NVLink that the driver defines'),
  156: fatal(
    'a faulty part of the GPU was put out of use',
    'Drain and reset the GPU so that it goes on without the part.',
  ),
  157: {
    meaning: 'a faulty part of the GPU could not be put out of use',
    fatal: false,
    action: 'Have the GPU tested by its vendor.',
  },
  158: fatal('the GPU did not answer in time'),
  160: benign('a channel of the memory was put out of use'),
  161: benign('a channel of the memory could not be put out of use'),
  164: benign('the power smoothing circuit nears the end of its life'),
  165: benign('the power smoothing circuit is at the end of its life'),
  167: fatal('PCIe did not answer in time'),
  168: benign('less memory than before, for errors in its protected region'),
  169: fatal('the security micro-controller in the GPU halted'),
  171: { meaning: 'tells of a 48 that it lies in the DRAM', fatal: false, action: SEE_OTHER },
  172: { meaning: 'tells of a 48 that it lies in the SRAM', fatal: false, action: SEE_OTHER },
  // Trap 19: NVML's own number for an XID that it does not know (k8s-device-plugin#259).
  999: benign('an error that NVML does not know; the kernel log tells its number'),
};

/** Numbers of the fatal ones, ascending: their counters are there with 0 before the first comes. */
export const FATAL_XIDS: readonly number[] = Object.entries(xidCatalogue)
  .filter(([, { fatal }]) => fatal)
  .map(([xid]) => Number(xid));
