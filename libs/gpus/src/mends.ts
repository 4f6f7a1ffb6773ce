import {
  BACKEND_VENDORS,
  type BackendFailureReason,
  type BackendName,
  type DownReason,
  type GpuVendor,
  type UnsupportedReading,
} from './reading.ts';

/** What to do about a failure: a sentence that explains it, and a command that mends it or tells more. */
export interface Mend {
  readonly sentence: string;
  readonly command: string;
}

/** The mend of each failure of a backend as a whole, in NVIDIA's words; what is otherwise for another vendor is below. */
export const backendMends = {
  library_missing: {
    sentence:
      "NVIDIA's library libnvidia-ml.so.1 is not here: the driver is not installed, or this is a container to which it was not given (NVIDIA_DRIVER_CAPABILITIES=utility and the NVIDIA runtime or CDI).",
    command: 'docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=utility …',
  },
  program_missing: {
    sentence:
      'The program is not on the search path: the driver is not installed, or the setting that ends in NVIDIA_SMI has to say where it is.',
    command: 'command -v nvidia-smi',
  },
  driver_not_loaded: {
    sentence:
      "The driver's kernel module is not loaded: it was not built for this kernel, Secure Boot refused it, or nouveau has the GPU.",
    command: 'sudo modprobe nvidia; sudo dmesg | grep -i -e nvrm -e nouveau | tail',
  },
  driver_mismatch: {
    sentence:
      'The driver was upgraded while its old kernel module stayed loaded: reboot, or stop all that uses the GPUs and load the modules anew.',
    command: 'sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia',
  },
  init_unknown_error: {
    sentence:
      'The driver refuses to start without a reason. In a container it has usually lost its devices to a systemctl daemon-reload (their cgroup rules were written anew): start the container anew, and name the devices or use CDI so that it lasts.',
    command: 'docker restart gpu-exporter   # on a host: sudo nvidia-smi, as root it may say more',
  },
  no_permission: {
    sentence:
      'This user may not use the device files of the GPU: add it to their group, often video or render.',
    command: 'ls -l /dev/nvidia* /dev/dri /dev/kfd; sudo usermod -aG video,render "$USER"',
  },
  no_gpus: {
    sentence:
      'The driver works and lists no GPU: none is plugged in, it fell off the bus, another driver (vfio-pci) has it, or the container was given none.',
    command: 'lspci -k | grep -i -A3 -e vga -e 3d -e display',
  },
  session_lost: {
    sentence:
      'The driver was taken down under the running exporter; it is read again by itself once the driver is back.',
    command: 'sudo dmesg | grep -i nvrm | tail',
  },
  timeout: {
    sentence:
      'A reading took longer than it may: many GPUs, or persistence mode is off and the driver starts anew each time.',
    command: 'sudo nvidia-smi -pm 1',
  },
  hung: {
    sentence:
      'The driver does not answer, often because a GPU has fallen off the bus: look for XIDs in the kernel log. It is read again by itself once it answers; if it never does, a reboot helps, at times only with the power cut.',
    command: 'sudo dmesg | grep -i xid | tail',
  },
  crashed: {
    sentence:
      'The process that reads the driver ended by itself, and is started anew after a pause: out of memory, or a fault in the library of the driver.',
    command: 'sudo dmesg | grep -i -e oom -e segfault | tail',
  },
  unreadable_output: {
    sentence: 'The driver answered something that is not understood: please report it.',
    command: 'gpu-exporter check --report',
  },
  internal: {
    sentence: 'This is a fault of the exporter: please report it.',
    command: 'gpu-exporter check --report',
  },
} as const satisfies Record<BackendFailureReason, Mend>;

/** The mend of each reason for which a single GPU gives nothing. */
export const downMends = {
  lost: {
    sentence:
      'It fell off the bus (XID 79): power, riser, heat or the board itself. Only a reboot brings it back.',
    command: 'sudo dmesg | grep -i xid | tail',
  },
  reset_required: {
    sentence: 'It asks for a reset: stop what uses it, then reset it.',
    command: 'sudo nvidia-smi --gpu-reset -i INDEX',
  },
  unknown_error: {
    sentence: 'The driver answers its every question with an unknown error.',
    command: 'sudo dmesg | grep -i nvrm | tail',
  },
  no_permission: {
    sentence: 'This user may not read it.',
    command: 'ls -l /dev/nvidia* /dev/dri',
  },
  vanished: {
    sentence: 'It is not listed any more: unplugged, unbound from its driver, or fallen off the bus.',
    command: 'lspci | grep -i -e nvidia -e amd',
  },
  driver_unreachable: {
    sentence: 'Its driver has not answered for too long: the failure of the backend says why.',
    command: 'sudo dmesg | tail',
  },
  hung: {
    sentence:
      'The driver does not answer for it (often XID 119 or 79), so it is left alone while the others are read, and tried again after 1 to 30 minutes. If it never answers, a reboot helps, at times only with the power cut.',
    command: 'sudo dmesg | grep -i xid | tail',
  },
} as const satisfies Record<DownReason, Mend>;

interface VendorMends {
  readonly backend: Readonly<Partial<Record<BackendFailureReason, Mend>>>;
  readonly gpu: Readonly<Partial<Record<DownReason, Mend>>>;
}

/** In amdgpu's log: `amdgpu: ring gfx_0.0.0 timeout`, `amdgpu: GPU reset begin!` (amdgpu_job.c, amdgpu_device.c). */
const AMD_LOG = 'sudo dmesg | grep -i amdgpu | tail';

/** What the mends above do not fit. */
const vendorMends: Readonly<Record<GpuVendor, VendorMends>> = {
  nvidia: { backend: {}, gpu: {} },
  amd: {
    backend: {
      driver_not_loaded: {
        sentence:
          'No driver has the GPU: amdgpu is not loaded, or does not know it, or the GPU was given to a virtual machine.',
        command: `sudo modprobe amdgpu; ${AMD_LOG}`,
      },
      timeout: {
        sentence: 'A reading took longer than it may: many GPUs, or one that is being reset.',
        command: AMD_LOG,
      },
      hung: {
        sentence:
          'The driver does not answer, often because a GPU hangs: look for a ring timeout and a reset in the kernel log. It is read again by itself once it answers; if it never does, a reboot helps, at times only with the power cut.',
        command: AMD_LOG,
      },
    },
    gpu: {
      lost: {
        sentence:
          'It fell off the bus: power, riser, heat or the board itself. Only a reboot brings it back.',
        command: AMD_LOG,
      },
      unknown_error: { sentence: 'The driver answers nothing that is asked of it.', command: AMD_LOG },
      no_permission: {
        sentence: 'This user may not read it.',
        command: 'ls -l /sys/class/drm/card*/device/ | head -30',
      },
    },
  },
};

/** What to do about the failure of a backend. */
export function backendMend(backend: BackendName, reason: BackendFailureReason): Mend {
  return vendorMends[BACKEND_VENDORS[backend]].backend[reason] ?? backendMends[reason];
}

/** What to do about a GPU that gives nothing. */
export function downMend(vendor: GpuVendor, reason: DownReason): Mend {
  return vendorMends[vendor].gpu[reason] ?? downMends[reason];
}

/** Why a reading is not to be had, in words. */
export const unsupportedMeanings = {
  missing_symbol: 'the driver is too old for it',
  not_supported: 'this GPU or driver does not have it',
  no_permission: 'this user may not read it',
  struct_version: 'the driver speaks another version of it',
  failed: 'the driver failed to tell it',
} as const satisfies Record<UnsupportedReading['why'], string>;
