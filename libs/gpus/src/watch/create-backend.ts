import { createAmdgpuBackend } from '../backends/amdgpu/amdgpu-backend.ts';
import { createNvidiaSmiBackend } from '../backends/nvidia-smi/nvidia-smi-backend.ts';
import { createNvmlBackend } from '../backends/nvml/nvml-backend.ts';
import type { BackendName, GpuBackend, GpuTouches } from '../reading.ts';
import type { ReaderOrders } from './reader-messages.ts';

/** The one table of backends. */
const backends = {
  nvml: ({ nvmlLibrary, procRoot }, touches) =>
    createNvmlBackend({
      procRoot,
      touches,
      ...(nvmlLibrary === undefined ? {} : { libraryPath: nvmlLibrary }),
    }),
  'nvidia-smi': ({ nvidiaSmi, procRoot }) =>
    createNvidiaSmiBackend({ procRoot, ...(nvidiaSmi === undefined ? {} : { program: nvidiaSmi }) }),
  amdgpu: ({ sysfsRoot, procRoot }) => createAmdgpuBackend({ sysfsRoot, procRoot }),
} satisfies Record<BackendName, (orders: ReaderOrders, touches: GpuTouches) => GpuBackend>;

/** The backend that the orders name. */
export function createBackend(orders: ReaderOrders, touches: GpuTouches): GpuBackend {
  return backends[orders.backend](orders, touches);
}
