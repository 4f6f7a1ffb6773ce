#!/usr/bin/env node
// A fake nvidia-smi over the same JSON as the fake NVML library (NVIDIA_FAKE_CONFIG; src/fake-host.ts is its type): prints
// `-q -x` in the layout of three driver generations, and `-L`, and fails as the real one does. Units, names and the
// order of elements are those of real outputs of R470, R535 and R580.
import { Buffer } from 'node:buffer';
import { appendFileSync, readFileSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';

const NOT_AVAILABLE = 'N/A';

/** What a cell reads instead of its value, by NVML return code. */
const CODE_TEXTS = {
  3: NOT_AVAILABLE,
  4: 'Insufficient Permissions',
  15: 'GPU is lost',
  16: 'GPU requires reset',
  26: 'Requested functionality has been deprecated',
  999: 'Unknown Error',
};

/** How nvmlInit_v2 fails, as text; the exit code is NVML's, which the shell sees modulo 256. */
const INIT_TEXTS = {
  4: 'Failed to initialize NVML: Insufficient Permissions',
  9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n",
  12: "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is properly installed and present in your system.\nPlease also try adding directory that contains libnvidia-ml.so to your system PATH.",
  18: 'Failed to initialize NVML: Driver/library version mismatch',
};

const ARCHITECTURES = {
  2: 'Kepler',
  3: 'Maxwell',
  4: 'Pascal',
  5: 'Volta',
  6: 'Turing',
  7: 'Ampere',
  8: 'Ada Lovelace',
  9: 'Hopper',
  10: 'Blackwell',
};
const TURING = 6;
const RECOVERY_ACTIONS = ['None', 'Reset', 'Reboot', 'Drain P2P', 'Drain and Reset', 'Recover IMEX'];
const FABRIC_STATES = [NOT_AVAILABLE, 'Not Started', 'In Progress', 'Completed'];
const FABRIC_HEALTH = [NOT_AVAILABLE, 'Healthy', 'Unhealthy', 'Limited Capacity'];
const PROCESS_TYPES = { compute: 'C', graphics: 'G', 'compute+graphics': 'C+G', mps: 'M+C' };
const DTD_VERSIONS = { r470: 11, r535: 12, r580: 13 };

const EVENT_REASONS = [
  ['gpu_idle', 0x1],
  ['applications_clocks_setting', 0x2],
  ['sw_power_cap', 0x4],
  ['hw_slowdown', 0x8],
  ['hw_thermal_slowdown', 0x40],
  ['hw_power_brake_slowdown', 0x80],
  ['sync_boost', 0x10],
  ['sw_thermal_slowdown', 0x20],
  ['display_clocks_setting', 0x100],
];

/** Which location of the JSON stands for which cell, before Turing. */
const OLD_ECC_CELLS = [
  ['device_memory', 'dram'],
  ['register_file', 'registerFile'],
  ['l1_cache', 'l1'],
  ['l2_cache', 'l2'],
  ['texture_memory', 'textureMemory'],
  ['texture_shm', 'textureShared'],
  ['cbu', 'cbu'],
];

const readHost = () => JSON.parse(readFileSync(process.env.NVIDIA_FAKE_CONFIG, 'utf8'));

process.exitCode = await run(process.argv.slice(2));

/** @returns {Promise<number>} exit code */
async function run(args) {
  let host = readHost();
  const since = performance.now();
  // Before the call is written down, so that who reads of it can count on it.
  if (hangs(host, since)) process.on('SIGTERM', () => undefined);
  if (process.env.NVIDIA_FAKE_CALL_LOG) {
    appendFileSync(process.env.NVIDIA_FAKE_CALL_LOG, `nvidia-smi ${args.join(' ')}\n`);
  }
  const smi = host.smi ?? {};
  if (smi.stderr !== undefined) write(2, `${smi.stderr}\n`);
  if (smi.delaySeconds !== undefined) await setTimeout(smi.delaySeconds * 1000);
  while (hangs(host, since)) {
    await setTimeout(20);
    host = readHost();
  }
  const { text, code } = answer(host, args);
  write(1, text);
  return smi.exitCode ?? code;
}

/** Whether it is told to hang, or the library under it is, whole. */
function hangs(host, since) {
  const elapsedSeconds = (performance.now() - since) / 1000;
  const stuck = [host.hang, ...host.boards.map((board) => board.hang)].some(
    (hang) => hang?.functions === 'all' && !(elapsedSeconds >= hang.seconds),
  );
  return stuck || host.smi?.hang === true;
}

function answer(host, args) {
  const init = host.init ?? 0;
  if (init !== 0) {
    return { text: `${INIT_TEXTS[init] ?? 'Failed to initialize NVML: Unknown Error'}\n`, code: init % 256 };
  }
  if (host.boards.length === 0) return { text: 'No devices were found\n', code: 6 };
  const lost = host.boards.find((board) => board.lost === true);
  if (lost !== undefined && host.smi?.lostEndsRun === true) {
    const address = lost.pciBusId.slice(4);
    const text = `Unable to determine the device handle for GPU ${address}: GPU is lost.  Reboot the system to recover this GPU\n`;
    return { text, code: 15 };
  }
  const chosen = chooseBoards(host.boards, args);
  if (chosen.length === 0) return { text: 'No devices were found\n', code: 6 };
  const code = lost === undefined ? 0 : 15;
  if (args.includes('-L')) return { text: list(chosen), code };
  if (args.includes('-q') && args.includes('-x')) return { text: document(host, chosen), code };
  return {
    text: "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n",
    code: 2,
  };
}

/** All boards, or those of `-i`: index, UUID or PCI address. */
function chooseBoards(boards, args) {
  const at = args.indexOf('-i');
  const named = at === -1 ? args.find((arg) => arg.startsWith('--id='))?.slice(5) : args[at + 1];
  if (named === undefined) return boards;
  const address = (text) => text.toLowerCase().replace(/^0+/, '');
  return boards.filter((board, index) =>
    named
      .split(',')
      .some((id) => id === String(index) || id === board.uuid || address(id) === address(board.pciBusId)),
  );
}

function list(boards) {
  return boards
    .flatMap((board, index) => [
      `GPU ${index}: ${board.name} (UUID: ${board.uuid})`,
      ...(board.mig?.enabled ? (board.mig.devices ?? []) : []).map((device, place) => {
        const profile = device.name.split(' MIG ')[1] ?? device.name;
        return `  MIG ${profile.padEnd(10)} Device ${String(device.index ?? place).padStart(2)}: (UUID: ${device.uuid})`;
      }),
    ])
    .map((line) => `${line}\n`)
    .join('');
}

function document(host, boards) {
  const layout = host.smiLayout ?? 'r580';
  const cuda = host.cudaDriverVersion;
  const head = [
    '<?xml version="1.0" ?>',
    `<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v${DTD_VERSIONS[layout]}.dtd">`,
    '<nvidia_smi_log>',
    '\t<timestamp>Fri Aug 21 08:54:01 2026</timestamp>',
    `\t<driver_version>${host.driverVersion ?? NOT_AVAILABLE}</driver_version>`,
    `\t<cuda_version>${cuda === undefined ? NOT_AVAILABLE : `${Math.floor(cuda / 1000)}.${Math.floor((cuda % 1000) / 10)}`}</cuda_version>`,
    `\t<attached_gpus>${host.boards.length}</attached_gpus>`,
  ];
  const gpus = boards.flatMap((board) => [
    `\t<gpu id="${board.pciBusId}">`,
    ...elements(gpu(host, board, layout), 2),
    '\t</gpu>',
    '',
  ]);
  const text = `${[...head, ...gpus].join('\n')}\n`;
  const filler = `\t<!-- ${'filler '.repeat(16)}-->\n`;
  const missing = Math.max(0, (host.smi?.padBytes ?? 0) - text.length);
  return `${text}${filler.repeat(Math.ceil(missing / filler.length))}</nvidia_smi_log>\n`;
}

/** An object as elements: text is a leaf, a list is the element again and again, undefined is no element. */
function elements(content, depth) {
  const indent = '\t'.repeat(depth);
  return Object.entries(content).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (Array.isArray(value)) return value.flatMap((one) => elements({ [name]: one }, depth));
    if (typeof value === 'object') {
      return [`${indent}<${name}>`, ...elements(value, depth + 1), `${indent}</${name}>`];
    }
    const text = String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    return [`${indent}<${name}>${text}</${name}>`];
  });
}

function gpu(host, board, layout) {
  const old = layout === 'r470';
  const newest = layout === 'r580';
  const down = board.lost === true ? 15 : board.resetRequired === true ? 16 : undefined;

  /** The value in its unit, or the text for why there is none. `source` is the NVML function behind it. */
  const cell = (source, value, format = String, ownCode = undefined) => {
    const code = down ?? board.returns?.[source] ?? host.returns?.[source] ?? ownCode ?? 0;
    if (code !== 0) return CODE_TEXTS[code] ?? 'ERR!';
    return value === undefined ? NOT_AVAILABLE : format(value);
  };
  /** The same of a field value, whose code the JSON may tell by its number. */
  const field = (id, value, format) =>
    cell('nvmlDeviceGetFieldValues', value, format, board.fields?.[id]?.code);
  const number = (unit) => (value) => `${value} ${unit}`;
  const mebibytes = (value) => `${Math.round(Number(value) / 1024 ** 2)} MiB`;
  const watts = (milliwatts) => `${(milliwatts / 1000).toFixed(2)} W`;
  const enabled = (flag) => (flag ? 'Enabled' : 'Disabled');
  const yes = (flag) => (flag ? 'Yes' : 'No');

  const memory = (found, source) => {
    const reserved = Number(found?.reservedBytes ?? 0);
    const used = found === undefined ? undefined : Number(found.usedBytes) + (old ? reserved : 0);
    const free = found && Number(found.totalBytes) - Number(found.usedBytes) - reserved;
    return {
      total: cell(source, found?.totalBytes, mebibytes),
      reserved: old ? undefined : cell(source, found && reserved, mebibytes),
      used: cell(source, used, mebibytes),
      free: cell(source, free, mebibytes),
    };
  };
  const utilization = (key, source) => cell(source, board.utilization?.[key], number('%'));

  const limits = (of) => {
    const limit = (key, source) => cell(source, of?.[`${key}LimitMilliwatts`], watts);
    return {
      [old ? 'power_limit' : 'current_power_limit']: limit(
        old ? 'requested' : 'enforced',
        old ? 'nvmlDeviceGetPowerManagementLimit' : 'nvmlDeviceGetEnforcedPowerLimit',
      ),
      requested_power_limit: old ? undefined : limit('requested', 'nvmlDeviceGetPowerManagementLimit'),
      default_power_limit: limit('default', 'nvmlDeviceGetPowerManagementDefaultLimit'),
      enforced_power_limit: old ? limit('enforced', 'nvmlDeviceGetEnforcedPowerLimit') : undefined,
      min_power_limit: limit('minimum', 'nvmlDeviceGetPowerManagementLimitConstraints'),
      max_power_limit: limit('maximum', 'nvmlDeviceGetPowerManagementLimitConstraints'),
    };
  };
  const draw = (usage, average, instant) => ({
    power_draw: newest ? undefined : cell('nvmlDeviceGetPowerUsage', usage, watts),
    average_power_draw: newest ? field(185, average, watts) : undefined,
    instant_power_draw: newest ? field(186, instant, watts) : undefined,
  });
  const power = board.power;
  const performanceState = cell('nvmlDeviceGetPerformanceState', board.performanceState, (state) =>
    state > 15 ? 'Unknown' : `P${state}`,
  );
  const powerReadings = {
    power_state: performanceState,
    power_management: old ? (power === undefined ? NOT_AVAILABLE : 'Supported') : undefined,
    ...draw(power?.usageMilliwatts, power?.averageMilliwatts, power?.instantMilliwatts),
    ...limits(power),
  };

  const event = old ? 'clocks_throttle_reason' : 'clocks_event_reason';
  const reasons = Object.fromEntries(
    EVENT_REASONS.map(([name, bit]) => [
      `${event}_${name}`,
      cell('nvmlDeviceGetCurrentClocksEventReasons', board.clockEventReasons, (bits) =>
        (BigInt(bits) & BigInt(bit)) === 0n ? 'Not Active' : 'Active',
      ),
    ]),
  );
  const counters = board.clockEventCounters;
  const microseconds = (nanoseconds) => `${BigInt(nanoseconds) / 1000n} us`;

  const clocks = (of, source) => ({
    graphics_clock: cell(source, of?.graphics, number('MHz')),
    sm_clock: cell(source, of?.sm, number('MHz')),
    mem_clock: cell(source, of?.memory, number('MHz')),
    video_clock: cell(source, of?.video, number('MHz')),
  });
  const retired = (count) => ({
    retired_count: cell('nvmlDeviceGetRetiredPages', count),
    retired_pagelist: cell('nvmlDeviceGetRetiredPages', count, () => ''),
  });
  const retirementPending = cell('nvmlDeviceGetRetiredPagesPendingStatus', board.retiredPages?.pending, yes);
  const rows = board.remappedRows;
  const pcie = board.pcie;
  const [, domain, bus, device] = /^0*([0-9A-F]{4}):(\w+):(\w+)/i.exec(board.pciBusId) ?? [];
  const fabric = board.fabric;

  return {
    product_name: board.name ?? NOT_AVAILABLE,
    product_brand: 'NVIDIA',
    product_architecture: old
      ? undefined
      : cell('nvmlDeviceGetArchitecture', ARCHITECTURES[board.architecture]),
    display_active: cell('nvmlDeviceGetDisplayActive', 'Disabled'),
    persistence_mode: cell('nvmlDeviceGetPersistenceMode', 'Enabled'),
    mig_mode: {
      current_mig: cell('nvmlDeviceGetMigMode', board.mig?.enabled, enabled),
      pending_mig: cell('nvmlDeviceGetMigMode', board.mig?.pending ?? board.mig?.enabled, enabled),
    },
    mig_devices: migDevices(board, memory),
    accounting_mode: cell('nvmlDeviceGetAccountingMode', 'Disabled'),
    serial: board.serial ?? NOT_AVAILABLE,
    uuid: board.uuid,
    minor_number: board.minorNumber ?? NOT_AVAILABLE,
    vbios_version: cell('nvmlDeviceGetVbiosVersion', board.vbios),
    gpu_reset_status:
      layout === 'r535'
        ? {
            reset_required: field(230, board.recoveryAction, (action) => yes(action === 1 || action === 4)),
            drain_and_reset_recommended: field(230, board.recoveryAction, (action) => yes(action === 4)),
          }
        : undefined,
    gpu_recovery_action: newest
      ? field(230, board.recoveryAction, (action) => RECOVERY_ACTIONS[action] ?? 'Unknown')
      : undefined,
    pci: {
      pci_bus: bus,
      pci_device: device,
      pci_domain: domain,
      pci_bus_id: board.pciBusId,
      pci_gpu_link_info: {
        pcie_gen: {
          max_link_gen: cell('nvmlDeviceGetMaxPcieLinkGeneration', pcie?.maximumGeneration),
          current_link_gen: cell('nvmlDeviceGetCurrPcieLinkGeneration', pcie?.generation),
        },
        link_widths: {
          max_link_width: cell('nvmlDeviceGetMaxPcieLinkWidth', pcie?.maximumWidth, (lanes) => `${lanes}x`),
          current_link_width: cell('nvmlDeviceGetCurrPcieLinkWidth', pcie?.width, (lanes) => `${lanes}x`),
        },
      },
      pci_bridge_chip: { bridge_chip_type: NOT_AVAILABLE, bridge_chip_fw: NOT_AVAILABLE },
      replay_counter: cell('nvmlDeviceGetPcieReplayCounter', pcie?.replays),
      replay_rollover_counter: field(95, pcie?.replayRollovers),
      tx_util: cell('nvmlDeviceGetPcieThroughput', pcie?.transmitKilobytesPerSecond, number('KB/s')),
      rx_util: cell('nvmlDeviceGetPcieThroughput', pcie?.receiveKilobytesPerSecond, number('KB/s')),
    },
    fan_speed: cell('nvmlDeviceGetFanSpeed_v2', board.fans?.[0]?.percent, number('%')),
    performance_state: performanceState,
    [`${event}s`]: reasons,
    clocks_event_reasons_counters: newest
      ? {
          clocks_event_reasons_counters_sw_power_cap: field(74, counters?.swPowerCap, microseconds),
          clocks_event_reasons_counters_sync_boost: field(76, counters?.syncBoost, microseconds),
          clocks_event_reasons_counters_sw_therm_slowdown: field(269, counters?.swThermal, microseconds),
          clocks_event_reasons_counters_hw_therm_slowdown: field(270, counters?.hwThermal, microseconds),
          clocks_event_reasons_counters_hw_power_brake: field(271, counters?.hwPowerBrake, microseconds),
        }
      : undefined,
    fb_memory_usage: memory(board.memory, 'nvmlDeviceGetMemoryInfo_v2'),
    bar1_memory_usage: {
      ...memory(board.bar1, 'nvmlDeviceGetBAR1MemoryInfo'),
      reserved: undefined,
    },
    compute_mode: cell('nvmlDeviceGetComputeMode', 'Default'),
    utilization: {
      gpu_util: utilization('gpu', 'nvmlDeviceGetUtilizationRates'),
      memory_util: utilization('memory', 'nvmlDeviceGetUtilizationRates'),
      encoder_util: utilization('encoder', 'nvmlDeviceGetEncoderUtilization'),
      decoder_util: utilization('decoder', 'nvmlDeviceGetDecoderUtilization'),
      jpeg_util: old ? undefined : utilization('jpeg', 'nvmlDeviceGetJpgUtilization'),
      ofa_util: old ? undefined : utilization('ofa', 'nvmlDeviceGetOfaUtilization'),
    },
    ecc_mode: {
      current_ecc: cell('nvmlDeviceGetEccMode', board.ecc?.enabled, enabled),
      pending_ecc: cell('nvmlDeviceGetEccMode', board.ecc?.pending ?? board.ecc?.enabled, enabled),
    },
    ecc_errors: {
      volatile: eccErrors(board, 'volatile', newest, cell),
      aggregate: eccErrors(board, 'aggregate', newest, cell),
    },
    retired_pages: {
      multiple_single_bit_retirement: retired(board.retiredPages?.multipleSingleBit),
      double_bit_retirement: retired(board.retiredPages?.doubleBit),
      pending_blacklist: retirementPending,
      pending_retirement: retirementPending,
    },
    remapped_rows:
      rows === undefined
        ? NOT_AVAILABLE
        : {
            remapped_row_corr: cell('nvmlDeviceGetRemappedRows', rows.corrected),
            remapped_row_unc: cell('nvmlDeviceGetRemappedRows', rows.uncorrected),
            remapped_row_pending: cell('nvmlDeviceGetRemappedRows', rows.pending, yes),
            remapped_row_failure: cell('nvmlDeviceGetRemappedRows', rows.failure, yes),
          },
    temperature: temperatures(board.temperatures, old, cell, field),
    [old ? 'power_readings' : 'gpu_power_readings']: powerReadings,
    gpu_memory_power_readings: newest
      ? {
          average_power_draw: field(185, power?.memoryAverageMilliwatts, watts),
          instant_power_draw: field(186, power?.memoryInstantMilliwatts, watts),
        }
      : undefined,
    module_power_readings: old
      ? undefined
      : {
          power_state: performanceState,
          ...draw(undefined, power?.moduleAverageMilliwatts, power?.moduleInstantMilliwatts),
          ...limits(undefined),
        },
    clocks: clocks(board.clocks, 'nvmlDeviceGetClockInfo'),
    applications_clocks: { graphics_clock: NOT_AVAILABLE, mem_clock: NOT_AVAILABLE },
    max_clocks: clocks(board.maxClocks, 'nvmlDeviceGetMaxClockInfo'),
    fabric: old
      ? undefined
      : {
          state: cell('nvmlDeviceGetGpuFabricInfoV', FABRIC_STATES[fabric?.state]),
          status: cell(
            'nvmlDeviceGetGpuFabricInfoV',
            fabric && (fabric.status ? 'Unknown Error' : 'Success'),
          ),
          health: newest
            ? { summary: cell('nvmlDeviceGetGpuFabricInfoV', FABRIC_HEALTH[fabric?.healthSummary]) }
            : undefined,
        },
    supported_clocks: NOT_AVAILABLE,
    processes: processes(board, cell, mebibytes),
    accounted_processes: '',
  };
}

function migDevices(board, memory) {
  if (board.mig === undefined || !board.mig.enabled) return 'None';
  const devices = (board.mig.devices ?? []).map((device, place) => ({
    index: device.index ?? place,
    gpu_instance_id: device.gpuInstanceId,
    compute_instance_id: device.computeInstanceId,
    device_attributes: { shared: { multiprocessor_count: device.multiprocessors ?? 0 } },
    ecc_error_count: { volatile_count: { sram_uncorrectable: 0 } },
    fb_memory_usage: memory(device.memory, 'nvmlDeviceGetMemoryInfo_v2'),
  }));
  return devices.length === 0 ? 'None' : { mig_device: devices };
}

/** Which shape it has is a matter of the GPU's generation, not of the driver's. */
function eccErrors(board, lifetime, splitsSram, cell) {
  const counts = (type) => (board.ecc?.enabled ? board.ecc[type]?.[lifetime] : undefined);
  const count = (type, location) => cell('nvmlDeviceGetMemoryErrorCounter', counts(type)?.[location]);
  if ((board.architecture ?? 0) >= TURING) {
    const sram = count('uncorrected', 'sram');
    return {
      sram_correctable: count('corrected', 'sram'),
      sram_uncorrectable: splitsSram ? undefined : sram,
      sram_uncorrectable_parity: splitsSram ? (/^\d+$/.test(sram) ? 0 : sram) : undefined,
      sram_uncorrectable_secded: splitsSram ? sram : undefined,
      dram_correctable: count('corrected', 'dram'),
      dram_uncorrectable: count('uncorrected', 'dram'),
    };
  }
  const bits = (type) => {
    const known = counts(type) && Object.values(counts(type));
    return {
      ...Object.fromEntries(OLD_ECC_CELLS.map(([name, location]) => [name, count(type, location)])),
      total: cell(
        'nvmlDeviceGetTotalEccErrors',
        known?.reduce((sum, value) => sum + BigInt(value), 0n),
      ),
    };
  };
  return { single_bit: bits('corrected'), double_bit: bits('uncorrected') };
}

/** Absolute thresholds, or for boards that have them offsets from the limit; never both. */
function temperatures(found, old, cell, field) {
  const celsius = (degrees) => `${degrees} C`;
  const offsets = old ? undefined : found?.thresholdOffsets;
  const threshold = (id, key) =>
    offsets === undefined
      ? cell('nvmlDeviceGetTemperatureThreshold', found?.thresholds?.[key], celsius)
      : field(id, offsets[key], celsius);
  const kind = offsets === undefined ? 'threshold' : 'tlimit_threshold';
  return {
    gpu_temp: cell('nvmlDeviceGetTemperatureV', found?.core, celsius),
    gpu_temp_tlimit: old ? undefined : cell('nvmlDeviceGetMarginTemperature', found?.margin, celsius),
    [`gpu_temp_max_${kind}`]: threshold(193, 'shutdown'),
    [`gpu_temp_slow_${kind}`]: threshold(194, 'slowdown'),
    [`gpu_temp_max_gpu_${kind}`]: threshold(196, 'gpuMaximum'),
    gpu_target_temperature: NOT_AVAILABLE,
    memory_temp: field(82, found?.memory, celsius),
    [`gpu_temp_max_mem_${kind}`]: threshold(195, 'memoryMaximum'),
  };
}

function processes(board, cell, mebibytes) {
  const source = 'nvmlDeviceGetComputeRunningProcesses_v3';
  const whole = cell(source, board.processes, () => '');
  if (whole !== '') return whole;
  return {
    process_info: board.processes.map((process) => ({
      gpu_instance_id: process.gpuInstanceId ?? NOT_AVAILABLE,
      compute_instance_id: process.computeInstanceId ?? NOT_AVAILABLE,
      pid: process.pid,
      type: PROCESS_TYPES[process.type],
      process_name: process.name ?? '',
      used_memory: cell(source, process.memoryBytes, mebibytes),
    })),
  };
}

/** All of it, before the process ends: a pipe takes 64 KiB at a time, and may be full for a while. */
function write(descriptor, text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(descriptor, bytes, at);
    } catch (error) {
      if (error.code === 'EPIPE') return;
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}
