import {
  boolean,
  defineSettings,
  durationBetween,
  filePath,
  folderPath,
  httpSettings,
  integerBetween,
  oneOf,
  type SettingsOf,
} from '@llm-monitor/config';
import { BACKEND_VENDORS, BACKENDS } from '@llm-monitor/gpus';

/** Every setting of the gpu-exporter, once. */
export const settings = defineSettings(
  'gpu-exporter',
  {
    GPU_EXPORTER_BACKEND: {
      schema: oneOf('auto', ...BACKENDS).default('auto'),
      help: 'What reads the GPUs; auto takes for each vendor that is here the best that works.',
      group: 'GPUs',
    },
    GPU_EXPORTER_EXPECTED_DEVICES: {
      schema: integerBetween(0, 1024).optional(),
      help: 'How many GPUs this host should have, given as gpu_expected_devices: a GPU that is gone before the exporter starts is missed by nothing else.',
      example: '8',
      group: 'GPUs',
    },
    GPU_EXPORTER_PROCESSES: {
      schema: boolean.default(true),
      help: 'Look up which engine, model and container each process on a GPU belongs to, by /proc.',
      group: 'GPUs',
    },
    GPU_EXPORTER_MAX_PROCESSES_PER_GPU: {
      schema: integerBetween(0, 4096).default(32),
      help: 'Processes per GPU that get series of their own, those with the most memory first; 0 for none, where process ids would churn the database.',
      group: 'GPUs',
    },
    GPU_EXPORTER_INTERVAL: {
      schema: durationBetween(0.1, 60).default(1),
      help: 'Time between two readings of the driver; a scrape never waits for one.',
      group: 'Timing',
    },
    GPU_EXPORTER_NVIDIA_SMI_INTERVAL: {
      schema: durationBetween(1, 300).default(5),
      help: 'The same for the backend nvidia-smi, which costs a process and some 100 ms each time.',
      group: 'Timing',
    },
    GPU_EXPORTER_SAMPLE_RATE: {
      schema: integerBetween(0, 10).default(10),
      help: 'Quick samples of utilization and power per second, which show what happens between two scrapes; 0 for none, to save a part of a core.',
      group: 'Timing',
    },
    GPU_EXPORTER_DEADLINE: {
      schema: durationBetween(1, 300).default(5),
      help: 'Silence of a driver after which it counts as hung, and its reader is ended and started anew.',
      group: 'Timing',
    },
    GPU_EXPORTER_STALE_AFTER: {
      schema: durationBetween(1, 600).default(10),
      help: 'Age past which readings are dropped: no figure is better than an old one that looks new.',
      group: 'Timing',
    },
    GPU_EXPORTER_EXIT_ON_PERSISTENT_FAILURE: {
      schema: durationBetween(10, 86_400).optional(),
      help: 'End with exit code 1 after every backend has failed for so long, for a supervisor to start the exporter anew: a container that lost its devices to a daemon-reload is mended by nothing else. Without it the exporter stays and says what is wrong.',
      example: '5m',
      group: 'Timing',
    },
    GPU_EXPORTER_KERNEL_LOG: {
      schema: boolean.default(true),
      help: 'Read NVIDIA errors (XID) from the kernel log beside the driver, which forgets those before the start; needs root, CAP_SYSLOG or kernel.dmesg_restrict=0.',
      group: 'Paths',
    },
    GPU_EXPORTER_KERNEL_LOG_FILE: {
      schema: filePath.default('/dev/kmsg'),
      help: 'The kernel log, where a container has it mounted elsewhere.',
      example: '/host/dev/kmsg',
      group: 'Paths',
    },
    GPU_EXPORTER_STATE_FILE: {
      schema: filePath.optional(),
      help: 'Keeps integrated energy across restarts, for GPUs without a meter of their own; under systemd energy.json in its state directory unless told, else in memory only.',
      example: '/var/lib/gpu-exporter/energy.json',
      group: 'Paths',
    },
    GPU_EXPORTER_NVML_LIBRARY: {
      schema: filePath.optional(),
      help: "NVIDIA's library, where the dynamic linker does not find libnvidia-ml.so.1.",
      example: '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1',
      group: 'Paths',
    },
    GPU_EXPORTER_NVIDIA_SMI: {
      schema: filePath.optional(),
      help: 'The program nvidia-smi, where it is not on the search path.',
      example: '/usr/bin/nvidia-smi',
      group: 'Paths',
    },
    GPU_EXPORTER_SYSFS_ROOT: {
      schema: folderPath.default('/sys'),
      help: 'Where sysfs is mounted: which GPUs are on the bus, which of them sleep, and all of AMD is read there.',
      example: '/host/sys',
      group: 'Paths',
    },
    GPU_EXPORTER_PROC_ROOT: {
      schema: folderPath.default('/proc'),
      help: 'Where procfs of the host is mounted: drivers name processes by the ids of the host.',
      example: '/host/proc',
      group: 'Paths',
    },
  },
  {
    description: 'reads the GPUs of this host and gives their figures, also while a driver hangs',
    include: httpSettings({ port: 9501 }),
    refine: [
      ({ interval, staleAfter }, names) =>
        staleAfter > interval
          ? undefined
          : `${names.staleAfter} (${staleAfter} s) is not above ${names.interval} (${interval} s), so every reading would be dropped before the next; raise ${names.staleAfter}`,
      ({ deadline, staleAfter }, names) =>
        staleAfter >= deadline
          ? undefined
          : `${names.staleAfter} (${staleAfter} s) is below ${names.deadline} (${deadline} s), so a slow driver would lose its readings before it counts as hung; raise ${names.staleAfter} or lower ${names.deadline}`,
      ({ backend, nvmlLibrary, nvidiaSmi }, names) => {
        if (backend === 'auto' || BACKEND_VENDORS[backend] === 'nvidia') return undefined;
        if (nvmlLibrary !== undefined)
          return `${names.nvmlLibrary} is set and ${names.backend} is ${backend}, which never loads it; drop one of them`;
        if (nvidiaSmi !== undefined)
          return `${names.nvidiaSmi} is set and ${names.backend} is ${backend}, which never runs it; drop one of them`;
        return undefined;
      },
    ],
    commands: {
      read: {
        arguments: ['FILE'],
        help: 'Turn a saved nvidia-smi -q -x, rocm-smi or amd-smi --json, or a folder copied from sysfs, into metrics (- for standard input).',
      },
      check: {
        arguments: [],
        help: 'Look at the GPUs once and say what is seen, by which backend, what is missing and how to mend it.',
        flags: {
          verbose: {
            schema: boolean.default(false),
            help: 'Name the functions and files of the driver that gave nothing, beside the metrics that are missing for it.',
          },
          report: {
            schema: boolean.default(false),
            help: 'Print all of it as JSON for a bug report, without serials, UUIDs, host, user, process and model names.',
          },
        },
      },
    },
  },
);

export type Settings = SettingsOf<typeof settings>;
