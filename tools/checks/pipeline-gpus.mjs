// The gpu-exporter over the files and programs of a mocked host, for tests of what it says about that host.
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { startApp, startMock, temporaryFolder } from './pipeline.mjs';

/** @typedef {import('./pipeline.mjs').RunningApp} RunningApp */
/** @typedef {import('./pipeline.mjs').RunningMock} RunningMock */
/** @typedef {RunningMock & { folder: string }} MockedHost */

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const { library, why } = loadFakeNvml();

/** Why the backend nvml cannot be tested here; false where it can. */
export const noNvml = library === undefined ? why : false;

/**
 * Starts the mock with a folder for what programs find on its host.
 * @param {string} scenario YAML
 * @param {Readonly<Record<string, string>>} env
 * @returns {Promise<MockedHost>}
 */
export async function startMockedHost(scenario, env) {
  const folder = temporaryFolder();
  return { ...(await startMock(scenario, { MOCK_EXPORTER_HOST_FOLDER: folder, ...env })), folder };
}

/**
 * Starts the gpu-exporter on that host: its nvidia-smi is first on the search path, its sysfs, procfs and kernel log are
 * where it looks, and the fake NVML library tells what the mock writes for it.
 * @param {MockedHost} host
 * @param {'nvidia-smi' | 'nvml' | 'amdgpu'} backend
 * @param {Readonly<Record<string, string>>} [env]
 * @returns {Promise<RunningApp>}
 */
export function startGpuExporter({ folder }, backend, env = {}) {
  return startApp('gpu-exporter', {
    PATH: [join(folder, 'bin'), process.env['PATH']].join(delimiter),
    NVIDIA_FAKE_CONFIG: join(folder, 'nvml.json'),
    GPU_EXPORTER_BACKEND: backend,
    ...(backend === 'nvml' && library !== undefined ? { GPU_EXPORTER_NVML_LIBRARY: library } : {}),
    GPU_EXPORTER_NVIDIA_SMI_INTERVAL: '1s',
    GPU_EXPORTER_SYSFS_ROOT: join(folder, 'sys'),
    GPU_EXPORTER_PROC_ROOT: join(folder, 'proc'),
    GPU_EXPORTER_KERNEL_LOG_FILE: join(folder, 'kmsg'),
    ...env,
  });
}

/** The fake library is built by TypeScript, which is bundled here. @returns {{ library: string | undefined, why: string }} */
function loadFakeNvml() {
  const project = join(workspaceRoot, 'tools/fake-nvml');
  const outfile = join(project, 'test-output/pipeline-fake-nvml.cjs');
  buildSync({
    entryPoints: [join(project, 'src/build-fake-nvml.ts')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile,
    logLevel: 'error',
  });
  const { buildFakeNvml, noCompilerReason } = createRequire(import.meta.url)(outfile);
  return { library: buildFakeNvml(), why: noCompilerReason };
}
