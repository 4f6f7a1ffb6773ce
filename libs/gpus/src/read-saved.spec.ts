import { NotRecognizedError, readSavedGpus } from './read-saved.ts';

const ROCM = '{"card0": {"GPU use (%)": "7", "PCI Bus": "0000:03:00.0"}}';

describe('a saved output', () => {
  it.each([
    ['rocm-smi', ROCM, 'rocm-smi --json'],
    ['rocm-smi behind a warning', `WARNING: low power\n\n${ROCM}\n`, 'rocm-smi --json'],
    ['rocm-smi behind a warning in brackets', `[WARN] low power\n${ROCM}`, 'rocm-smi --json'],
    ['amd-smi of ROCm 6', '[{"gpu": 0, "usage": {"gfx_activity": "N/A"}}]', 'amd-smi --json'],
    ['amd-smi of ROCm 7', '{"gpu_data": [{"gpu": 0}]}', 'amd-smi --json'],
    [
      'nvidia-smi without a prolog',
      '<nvidia_smi_log><gpu id="00000000:01:00.0"/></nvidia_smi_log>',
      'nvidia-smi -q -x',
    ],
  ])('of %s is recognized', (_title, text, readAs) => {
    const saved = readSavedGpus(text, 'file');
    expect([saved.readAs, saved.reading.gpus.length]).toEqual([readAs, 1]);
  });

  it.each([
    ['JSON that is cut off', ROCM.slice(0, -1)],
    ['JSON without a card', '{"system": {"Driver version": "6.8.5"}}'],
    ['a list of something else', '[1, 2, 3]'],
    ['the name of the XML alone', 'nvidia_smi_log'],
  ])('of %s is not', (_title, text) => {
    expect(() => readSavedGpus(text, 'some file')).toThrow(NotRecognizedError);
    expect(() => readSavedGpus(text, 'some file')).toThrow(
      /^some file is not recognized \(not_recognized\); accepted are/,
    );
  });
});
