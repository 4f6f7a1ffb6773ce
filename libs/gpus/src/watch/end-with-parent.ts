/** prctl(2): which signal this process gets when its parent is gone. */
const PR_SET_PDEATHSIG = 1;
const SIGTERM = 15;

/**
 * Has the kernel end this process when its parent is gone, however it went and even while this process is stuck in a
 * call of the driver, when it could not notice the broken channel. Linux only; elsewhere, and without koffi, the broken
 * channel has to do.
 * @param parent the parent's process id when this process was started: it may be gone already
 */
export async function endWithParent(parent: number): Promise<void> {
  if (process.platform !== 'linux') return;
  const koffi = await import('koffi').catch(() => undefined);
  if (koffi === undefined) return;
  try {
    const prctl = koffi
      .load('libc.so.6')
      .func(
        'int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5)',
      );
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  } catch {
    return; // Another C library than glibc (musl): the broken channel has to do.
  }
  if (process.ppid !== parent) process.exit(0);
}
