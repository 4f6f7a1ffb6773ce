import { readerEnvironment } from './reader-environment.ts';

describe('the environment of a gpu-reader', () => {
  it.each([
    ['PATH', true],
    ['LD_LIBRARY_PATH', true],
    ['LD_PRELOAD', true],
    ['HOME', true],
    ['LANG', true],
    ['TZ', true],
    ['NVIDIA_VISIBLE_DEVICES', true],
    ['CUDA_MPS_PIPE_DIRECTORY', true],
    ['__NVML_DBG_FILE', true],
    ['NODE_OPTIONS', false],
    ['NODE_EXTRA_CA_CERTS', false],
    ['GPU_EXPORTER_AUTH_BEARER_TOKEN', false],
    ['MONITOR_DISCOVERED_TOKEN', false],
    ['AWS_SECRET_ACCESS_KEY', false],
    ['MY_NVIDIA_KEY', false],
    ['PATH_TO_SECRET', false],
  ])('has %s: %s', (name, expected) => {
    expect(readerEnvironment({ [name]: 'x' })).toEqual(expected ? { [name]: 'x' } : {});
  });
});
