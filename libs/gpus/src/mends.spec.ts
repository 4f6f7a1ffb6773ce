import { backendMends, downMends, unsupportedMeanings } from './mends.ts';
import { BACKEND_FAILURES, DOWN_REASONS } from './reading.ts';

describe('mends', () => {
  it('has a whole sentence and one command for each failure of a backend and of a GPU', () => {
    expect(Object.keys(backendMends).sort()).toEqual([...BACKEND_FAILURES].sort());
    expect(Object.keys(downMends).sort()).toEqual([...DOWN_REASONS].sort());
    for (const { sentence, command } of [...Object.values(backendMends), ...Object.values(downMends)]) {
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

  it('has words for each way a reading can be missing', () => {
    expect(unsupportedMeanings).toMatchObject({ missing_symbol: 'the driver is too old for it' });
  });
});
