import type { GpuState } from '../../gpu/gpu.ts';
import { filesIn, type FileTree, type TreeEntry } from './file-tree.ts';
import { gpuMetricsV15, gpuMetricsV30, type TableFigures } from './gpu-metrics-bytes.ts';
import { amdGpus, sysfsAddress, type GpuHost } from './gpu-host.ts';
import { deviceFolder, pciTree } from './pci-tree.ts';

/** The first number is that of the server's own display, and those of sensors are taken by the processor and the disks. */
const FIRST_CARD = 1;
const FIRST_HWMON = 4;
const FIRST_RENDER_NODE = 128;

/** Memory that the firmware sets apart for the graphics of a processor, by default. */
const CARVE_OUT_BYTES = 512 * 1024 ** 2;

/**
 * The files of sysfs of a host with AMD GPUs: its PCI bus, `sys/class/drm`, and each card's own files with those of hwmon and
 * the binary `gpu_metrics`. Which files there are follows real trees: an Instinct has no edge sensor and no fan, and its
 * power is that of now; a processor with graphics (`unifiedMemory`) has a small memory of its own, uses the host's through
 * the GTT, and has neither limits of power nor a file of its memory's load.
 *
 * A GPU that is lost has no card: the driver gave up resetting it and let go of it.
 */
export function amdgpuTree(host: GpuHost): FileTree {
  if (host.amdgpuVersion === undefined) return pciTree(host);
  const cards = amdGpus(host).flatMap((gpu, index): [string, TreeEntry][] =>
    gpu.lostByXid === undefined ? cardFiles(gpu, index) : [],
  );
  return new Map([...pciTree(host), ...cards]);
}

/** The render node of an AMD GPU, by its place among those: `renderD128`. */
export function renderNode(index: number): string {
  return `renderD${FIRST_RENDER_NODE + index}`;
}

function cardFiles(gpu: GpuState, index: number): [string, TreeEntry][] {
  const { board, pciBusId } = gpu;
  const device = deviceFolder(pciBusId);
  const address = sysfsAddress(pciBusId);
  const card = `card${FIRST_CARD + index}`;
  const isApu = board.unifiedMemory;
  const hwmon = `${device}/hwmon/hwmon${FIRST_HWMON + index}`;
  return [
    ...filesIn(device, isApu ? apuFiles(gpu) : boardFiles(gpu)),
    ...filesIn(device, {
      gpu_busy_percent: Math.round(gpu.utilizationRatio * 100),
      unique_id: uniqueIdOf(gpu) ?? '',
      power_dpm_force_performance_level: 'auto',
      power_dpm_state: 'performance',
      pp_dpm_sclk: levels(board.clocksHertz.smIdle, gpu.smClockHertz, board.clocksHertz.smMax),
      pp_dpm_mclk: levels(board.clocksHertz.memoryIdle, gpu.memoryClockHertz, board.clocksHertz.memoryMax),
      gpu_metrics: isApu ? gpuMetricsV30(figuresOf(gpu)) : gpuMetricsV15(figuresOf(gpu)),
    }),
    ...filesIn(hwmon, { name: 'amdgpu', ...powerFiles(gpu), ...clockFiles(gpu), ...fanFiles(gpu) }),
    ...filesIn(hwmon, isApu ? apuSensors(gpu) : boardSensors(gpu)),
    ...filesIn(`${device}/drm/${card}`, {
      dev: `226:${FIRST_CARD + index}`,
      device: { linkTo: `../../../${address}` },
    }),
    [`sys/class/drm/${card}`, { linkTo: `../../devices/pci0000:00/${address}/drm/${card}` }],
  ];
}

/** Undefined where the driver tells none, as of most processors. */
function uniqueIdOf({ uuid }: GpuState): string | undefined {
  return /^[0-9a-f]{16}$/i.test(uuid) ? uuid.toLowerCase() : undefined;
}

function boardFiles(gpu: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  const { board, memoryUsedBytes, memoryReservedBytes } = gpu;
  const used = memoryUsedBytes + memoryReservedBytes;
  return {
    product_name: board.name,
    serial_number: gpu.serial,
    vbios_version: '113-M3000100-102',
    mem_busy_percent: Math.round(gpu.memoryUtilizationRatio * 100),
    mem_info_vram_total: board.memoryBytes,
    mem_info_vram_used: used,
    // The whole memory is in reach of the processor.
    mem_info_vis_vram_total: board.memoryBytes,
    mem_info_vis_vram_used: used,
    pcie_replay_count: gpu.pcieReplays,
    current_compute_partition: 'SPX',
    available_compute_partition: 'SPX, DPX, QPX, CPX',
    current_memory_partition: 'NPS1',
    ...(board.ecc ? rasFiles(gpu) : {}),
  };
}

/** Errors by block; all of ours are of the memory controller (umc). A page of memory that is out of use per remapped row. */
function rasFiles({
  eccCorrected,
  eccUncorrected,
  remappedRows,
}: GpuState): Readonly<Record<string, string>> {
  const pages = remappedRows.correctable + remappedRows.uncorrectable;
  const lines = Array.from(
    { length: pages },
    (_, page) => `0x${(0x1000 + page).toString(16).padStart(8, '0')} : 0x00001000 : R`,
  );
  return {
    'ras/umc_err_count': `ue: ${eccUncorrected}\nce: ${eccCorrected}`,
    'ras/gfx_err_count': 'ue: 0\nce: 0',
    'ras/gpu_vram_bad_pages': lines.join('\n'),
  };
}

function apuFiles({
  board,
  memoryUsedBytes,
  memoryReservedBytes,
}: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  const carvedOut = Math.min(memoryReservedBytes, CARVE_OUT_BYTES);
  return {
    vbios_version: '113-STRXLGEN-001',
    vcn_busy_percent: 0,
    mem_info_vram_total: CARVE_OUT_BYTES,
    mem_info_vram_used: carvedOut,
    mem_info_vis_vram_total: CARVE_OUT_BYTES,
    mem_info_vis_vram_used: carvedOut,
    mem_info_gtt_total: board.memoryBytes,
    mem_info_gtt_used: memoryUsedBytes,
  };
}

/** Levels as the driver lists them: the lowest, the present one with a star, the highest. */
function levels(lowestHertz: number, presentHertz: number, highestHertz: number): string {
  const megahertz = (hertz: number): number => Math.round(hertz / 1e6);
  return [
    `0: ${megahertz(lowestHertz)}Mhz`,
    `1: ${megahertz(presentHertz)}Mhz *`,
    `2: ${megahertz(highestHertz)}Mhz`,
  ].join('\n');
}

function figuresOf(gpu: GpuState): TableFigures {
  return {
    utilizationPercent: gpu.utilizationRatio * 100,
    memoryPercent: gpu.memoryUtilizationRatio * 100,
    watts: gpu.powerWatts,
    joules: gpu.energyJoules,
    junctionCelsius: gpu.coreCelsius,
    memoryCelsius: gpu.memoryCelsius,
    graphicsMegahertz: gpu.smClockHertz / 1e6,
    memoryMegahertz: gpu.memoryClockHertz / 1e6,
    pcieReplays: gpu.pcieReplays,
  };
}

function powerFiles({
  board,
  powerWatts,
  powerLimitWatts,
}: GpuState): Readonly<Record<string, TreeEntry | number>> {
  const micro = (watts: number): number => Math.round(watts * 1e6);
  const now = { power1_label: 'PPT', power1_input: micro(powerWatts) };
  if (board.unifiedMemory) return { ...now, power1_average: micro(powerWatts) };
  const { min, max, default: standard } = board.powerLimitWatts;
  return {
    ...now,
    power1_cap: micro(powerLimitWatts),
    power1_cap_default: micro(standard),
    power1_cap_min: micro(min),
    power1_cap_max: micro(max),
  };
}

/** Of a processor, whose memory is the host's, the driver tells one clock. */
function clockFiles({
  board,
  smClockHertz,
  memoryClockHertz,
}: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  const graphics = { freq1_label: 'sclk', freq1_input: Math.round(smClockHertz) };
  if (board.unifiedMemory) return graphics;
  return { ...graphics, freq2_label: 'mclk', freq2_input: Math.round(memoryClockHertz) };
}

function fanFiles({
  board,
  fanRatio,
  fanRpm,
}: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  if (board.fan === undefined || board.unifiedMemory) return {};
  return {
    pwm1: fanRatio === undefined ? undefined : Math.round(fanRatio * 255),
    pwm1_max: 255,
    fan1_input: fanRpm === undefined ? undefined : Math.round(fanRpm),
    fan1_max: board.fan.maxRpm,
  };
}

function boardSensors({
  board,
  coreCelsius,
  memoryCelsius,
}: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  const { hardwareSlowdownCelsius, shutdownCelsius } = board.thermal;
  return {
    temp2_label: 'junction',
    temp2_input: milli(coreCelsius),
    temp2_crit: milli(hardwareSlowdownCelsius),
    temp2_emergency: milli(shutdownCelsius),
    ...(memoryCelsius === undefined ? {} : { temp3_label: 'mem', temp3_input: milli(memoryCelsius) }),
  };
}

function apuSensors({ coreCelsius }: GpuState): Readonly<Record<string, TreeEntry | number | undefined>> {
  return { temp1_label: 'edge', temp1_input: milli(coreCelsius), in1_label: 'vddnb', in1_input: 700 };
}

/** Thousandths; the firmware tells whole degrees. */
function milli(celsius: number): number {
  return Math.round(celsius) * 1000;
}
