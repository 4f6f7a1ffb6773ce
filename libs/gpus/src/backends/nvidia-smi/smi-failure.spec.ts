import { badGpusIn } from './smi-failure.ts';

describe('badGpusIn', () => {
  it.each([
    [
      'Unable to determine the device handle for GPU 0000:BA:00.0: Unknown Error',
      [{ pciBusId: '0000:ba:00.0', condition: 'unknown_error' }],
    ],
    [
      'Unable to determine the device handle for gpu 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU',
      [{ pciBusId: '0000:02:00.0', condition: 'lost' }],
    ],
    [
      'Unable to determine the device handle for GPU2: 0000:0B:00.0: Unknown Error',
      [{ pciBusId: '0000:0b:00.0', condition: 'unknown_error' }],
    ],
    [
      'Unable to determine the device handle for GPU00000000:5E:00.0: GPU requires reset\nUnable to determine the device handle for GPU0000:5F:00.0: Insufficient Permissions',
      [
        { pciBusId: '0000:5e:00.0', condition: 'reset_required' },
        { pciBusId: '0000:5f:00.0', condition: 'no_permission' },
      ],
    ],
    ['Unable to determine the device handle for GPU: Unknown Error', []],
    ['No devices were found', []],
  ])('%s', (text, gpus) => {
    expect(badGpusIn(text)).toEqual(gpus);
  });
});
