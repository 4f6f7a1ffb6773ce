import {
  boolean,
  defineSettings,
  durationBetween,
  filePath,
  folderPath,
  headerKey,
  httpSettings,
  nameValueList,
  oneOf,
  type SettingsOf,
} from '@llm-monitor/config';
import { targetSetting } from '@llm-monitor/engines';
import { BACKEND_VENDORS, BACKENDS } from '@llm-monitor/gpus';

/** Rates and charts need readings closer together than a minute. */
const SLOWEST_READING_SECONDS = 40;

/** Every setting of the monitor, once. */
export const settings = defineSettings(
  'monitor',
  {
    MONITOR_TARGETS: {
      schema: nameValueList(targetSetting).default([]),
      help: 'LLM servers to watch beside those found on this host, each under a name of your choice; in a YAML file also as a map of url, engine and tokenFile.',
      example: 'chat=http://127.0.0.1:8000,big=vllm+http://gpu-1:8000',
      group: 'Targets',
    },
    MONITOR_TARGET_TOKEN: {
      schema: headerKey.optional(),
      help: 'Key that is sent to every configured target without a tokenFile of its own.',
      secret: true,
      group: 'Targets',
    },
    MONITOR_DISCOVERY: {
      schema: boolean.default(true),
      help: 'Look for LLM servers among the listening sockets of this host.',
      group: 'Targets',
    },
    MONITOR_DISCOVERY_INTERVAL: {
      schema: durationBetween(1, 3600).default(3),
      help: 'Time between two looks while somebody has the page open; when nobody has, the idle interval if that is longer.',
      group: 'Targets',
    },
    MONITOR_DISCOVERED_TOKEN: {
      schema: headerKey.optional(),
      help: 'Key that is sent to whatever is discovered on this host; give it only where you trust every local user.',
      secret: true,
      group: 'Targets',
    },
    MONITOR_FORGET_AFTER: {
      schema: durationBetween(0, 2_592_000).default(3600),
      help: 'How long a discovered server that is gone is still shown as down.',
      group: 'Targets',
    },
    MONITOR_GPUS: {
      schema: boolean.default(true),
      help: 'Watch the GPUs of this host, too. One that sleeps is left asleep.',
      group: 'GPUs',
    },
    MONITOR_GPU_BACKEND: {
      schema: oneOf('auto', ...BACKENDS).default('auto'),
      help: 'What reads the GPUs; auto takes for each vendor that is here the best that works.',
      group: 'GPUs',
    },
    MONITOR_NVML_LIBRARY: {
      schema: filePath.optional(),
      help: "NVIDIA's library, where the dynamic linker does not find libnvidia-ml.so.1.",
      example: '/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1',
      group: 'GPUs',
    },
    MONITOR_SYSFS_ROOT: {
      schema: folderPath.default('/sys'),
      help: 'Where sysfs is mounted: which GPUs are on the bus, which of them sleep, and all of AMD is read there.',
      example: '/host/sys',
      group: 'GPUs',
    },
    MONITOR_PROC_ROOT: {
      schema: folderPath.default('/proc'),
      help: 'Where procfs of the host is mounted, for what runs on its GPUs: drivers name processes by the ids of the host. Engines are looked for in our own /proc.',
      example: '/host/proc',
      group: 'GPUs',
    },
    MONITOR_KERNEL_LOG_FILE: {
      schema: filePath.default('/dev/kmsg'),
      help: 'The kernel log, from which NVIDIA errors (XID) are read where that is allowed (root, CAP_SYSLOG or kernel.dmesg_restrict=0).',
      example: '/host/dev/kmsg',
      group: 'GPUs',
    },
    MONITOR_INTERVAL: {
      schema: durationBetween(0.5, SLOWEST_READING_SECONDS).default(2),
      help: 'Time between two readings of a server while somebody has the page open.',
      group: 'Reading',
    },
    MONITOR_IDLE_INTERVAL: {
      schema: durationBetween(0.5, SLOWEST_READING_SECONDS).default(15),
      help: 'Time between two readings of a server while nobody has the page open.',
      group: 'Reading',
    },
    MONITOR_READ_TIMEOUT: {
      schema: durationBetween(0.1, 300).default(5),
      help: 'Longest time to read a server, and to find out what one is.',
      group: 'Reading',
    },
  },
  {
    description:
      'shows the LLM servers and GPUs of this host on one page: what they serve, how fast, how full',
    include: httpSettings({ port: 9500 }),
    refine: [
      ({ interval, idleInterval }, names) =>
        idleInterval >= interval
          ? undefined
          : `${names.idleInterval} (${idleInterval} s) is below ${names.interval} (${interval} s); nobody looking is no reason to read more often`,
      ({ readTimeout, requestTimeout }, names) =>
        readTimeout < requestTimeout
          ? undefined
          : `${names.readTimeout} (${readTimeout} s) is not below ${names.requestTimeout} (${requestTimeout} s), so a hung server would cost the whole of /metrics; raise ${names.requestTimeout} or lower ${names.readTimeout}`,
      ({ targets, discovery, gpus }, names) =>
        targets.length === 0 && !discovery && !gpus
          ? `${names.discovery} and ${names.gpus} are off and ${names.targets} is empty, so there is nothing to watch; name a target or switch one of them on`
          : undefined,
      ({ gpus, gpuBackend }, names) =>
        gpus || gpuBackend === 'auto'
          ? undefined
          : `${names.gpuBackend} is ${gpuBackend} and ${names.gpus} is off, so it would read nothing; drop one of them`,
      ({ gpus, gpuBackend, nvmlLibrary }, names) => {
        if (nvmlLibrary === undefined) return undefined;
        if (!gpus)
          return `${names.nvmlLibrary} is set and ${names.gpus} is off, so it would never be loaded; drop one of them`;
        return gpuBackend === 'auto' || BACKEND_VENDORS[gpuBackend] === 'nvidia'
          ? undefined
          : `${names.nvmlLibrary} is set and ${names.gpuBackend} is ${gpuBackend}, which never loads it; drop one of them`;
      },
      ({ targets }, names) => {
        const twin = targets.find(
          ({ value }, index) => targets.findIndex((other) => other.value.url === value.url) !== index,
        );
        return twin === undefined
          ? undefined
          : `${names.targets} has ${twin.value.url} under several names; keep one`;
      },
    ],
    elsewhere: {
      check:
        'gpu-exporter check looks at the GPUs once, llm-exporter check at the LLM servers, and each says what is missing and how to mend it; monitor --check looks at the settings.',
    },
  },
);

export type Settings = SettingsOf<typeof settings>;
