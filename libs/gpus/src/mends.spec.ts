import { backendMend, backendMends, downMend, downMends, unsupportedMeanings } from './mends.ts';
import { BACKEND_FAILURES, DOWN_REASONS, type BackendFailureReason, type DownReason } from './reading.ts';

describe('mends', () => {
  it('has a whole sentence and one command for each failure of a backend and of a GPU', () => {
    expect(Object.keys(backendMends).sort()).toEqual([...BACKEND_FAILURES].sort());
    expect(Object.keys(downMends).sort()).toEqual([...DOWN_REASONS].sort());
    const amd = [
      ...BACKEND_FAILURES.map((reason) => backendMend('amdgpu', reason)),
      ...DOWN_REASONS.map((reason) => downMend('amd', reason)),
    ];
    for (const { sentence, command } of [
      ...Object.values(backendMends),
      ...Object.values(downMends),
      ...amd,
    ]) {
      expect(sentence).toMatch(/^[A-Z].*\.$|^[A-Z].*report it\.$/);
      expect(command).not.toMatch(/\n|^\s*$/);
    }
  });

  it.each([
    ['driver_mismatch', /reboot/],
    ['init_unknown_error', /daemon-reload.*start the container anew/],
    ['library_missing', /NVIDIA_DRIVER_CAPABILITIES=utility/],
  ] as const)('says of %s what only its cure is', (reason, words) => {
    expect(backendMends[reason].sentence).toMatch(words);
  });

  // What amdgpu-backend.ts and read-card.ts throw and tell, and the watch over any backend.
  it.each<BackendFailureReason>([
    'driver_not_loaded',
    'no_gpus',
    'no_permission',
    'timeout',
    'hung',
    'crashed',
  ])('sends nobody with an AMD GPU to NVIDIA for %s', (reason) => {
    const { sentence, command } = backendMend('amdgpu', reason);
    expect(`${sentence} ${command}`).not.toMatch(/nvrm|xid|modprobe nvidia|nvidia-smi|nouveau/i);
    expect(backendMend('nvml', reason)).toBe(backendMends[reason]);
  });

  it.each<DownReason>(['lost', 'no_permission', 'unknown_error', 'vanished', 'driver_unreachable'])(
    'nor for one that is %s',
    (reason) => {
      const { sentence, command } = downMend('amd', reason);
      expect(`${sentence} ${command}`).not.toMatch(/nvrm|xid|dev\/nvidia|nvidia-smi/i);
      expect(downMend('nvidia', reason)).toBe(downMends[reason]);
    },
  );

  it('has words for each way a reading can be missing', () => {
    expect(unsupportedMeanings).toMatchObject({ missing_symbol: 'the driver is too old for it' });
  });
});
