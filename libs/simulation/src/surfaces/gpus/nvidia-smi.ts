import { isMismatched, nvidiaGpus, type GpuHost, type NvidiaDriver } from './gpu-host.ts';
import { nvidiaReading, type NvidiaReading } from './nvidia-reading.ts';
import { queryComputeApps, queryGpus, type SmiQuery, type UnknownField } from './nvidia-smi-query.ts';
import { nvidiaSmiXml } from './nvidia-smi-xml.ts';
import { isFrom, smiLayoutOf } from './smi-layout.ts';

/** How a run of nvidia-smi ends. */
export interface SmiAnswer {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Exit codes of `man nvidia-smi`; 18 is NVML's. */
const EXIT = { invalid: 2, noDevices: 6, noDriver: 9, lost: 15, mismatch: 18 } as const;

const NO_DRIVER =
  "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n\n";
const NO_DEVICES = 'No devices were found\n';
const INVALID = "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n";

const UNDERSTOOD =
  'This nvidia-smi tells of simulated GPUs and prints no table for people. It understands -q -x, -L, --version, --query-gpu=FIELDS and --query-compute-apps=FIELDS with --format=csv[,noheader][,nounits], and -i ID with each of them.\n';

interface Asked {
  readonly query: boolean;
  readonly xml: boolean;
  readonly list: boolean;
  readonly version: boolean;
  readonly gpuFields: readonly string[] | undefined;
  readonly processFields: readonly string[] | undefined;
  readonly format: readonly string[] | undefined;
  /** Indices, UUIDs or PCI addresses; undefined for all. */
  readonly ids: readonly string[] | undefined;
  /** The first argument that is not understood. */
  readonly unknown: string | undefined;
}

/**
 * What nvidia-smi prints when it is called with these arguments on that host, failures included.
 *
 * Texts and codes are those of real runs: a driver mismatch ends each run with 18, on stdout; an unknown field ends it with
 * 2 and no data; a GPU that is lost ends the run of older drivers with 15, while R570 and later complain of it on stderr
 * and tell of the others.
 */
export function answerNvidiaSmi(args: readonly string[], host: GpuHost): SmiAnswer {
  const { nvidiaDriver: driver } = host;
  if (driver === undefined) return said(NO_DRIVER, EXIT.noDriver);
  if (isMismatched(driver)) return said(mismatchText(driver), EXIT.mismatch);
  const asked = readArguments(args);
  if (asked.unknown !== undefined) {
    return said(
      `ERROR: Option ${asked.unknown} is not recognized. Please run 'nvidia-smi -h'.\n\n`,
      EXIT.invalid,
    );
  }
  if (args.length === 0) return { stdout: '', stderr: UNDERSTOOD, exitCode: EXIT.invalid };
  if (asked.version) return answerVersion(driver);
  const all = nvidiaGpus(host).map(nvidiaReading);
  const chosen = all.filter((gpu) => isChosen(gpu, asked.ids));
  if (chosen.length === 0) return said(NO_DEVICES, EXIT.noDevices);

  const lost = chosen.filter((gpu) => gpu.lost);
  const present = chosen.filter((gpu) => !gpu.lost);
  const complaint = lost.map((gpu) => lostText(gpu, driver)).join('');
  const goesOn = isFrom(smiLayoutOf(driver.version), 'r570');
  if (lost.length > 0 && !goesOn) return said(complaint, EXIT.lost);
  const unixSeconds = host.startUnixSeconds + host.nowSeconds;
  const answer = answerQuery(asked, present, { driver, unixSeconds, attachedGpus: all.length });
  if (answer.exitCode !== 0 || lost.length === 0) return answer;
  return { stdout: answer.stdout, stderr: complaint, exitCode: EXIT.lost };
}

function answerQuery(asked: Asked, gpus: readonly NvidiaReading[], query: SmiQuery): SmiAnswer {
  const { gpuFields, processFields, format } = asked;
  if (asked.list)
    return said(gpus.map(({ index, name, uuid }) => `GPU ${index}: ${name} (UUID: ${uuid})\n`).join(''));
  if (asked.query && asked.xml) return said(nvidiaSmiXml(gpus, query));
  const fields = gpuFields ?? processFields;
  if (fields === undefined || format?.includes('csv') !== true) return said(INVALID, EXIT.invalid);
  const tableFormat = { header: !format.includes('noheader'), units: !format.includes('nounits') };
  return tableAnswer(
    gpuFields === undefined
      ? queryComputeApps(fields, tableFormat, gpus, query)
      : queryGpus(fields, tableFormat, gpus, query),
  );
}

function tableAnswer(table: string | UnknownField): SmiAnswer {
  if (typeof table === 'string') return said(table);
  return said(`Field "${table.unknownField}" is not a valid field to query.\n\n`, EXIT.invalid);
}

/** R535 and later know the option; the words for CUDA's line changed with R610. */
function answerVersion({ version, cudaVersion }: NvidiaDriver): SmiAnswer {
  if (!isFrom(smiLayoutOf(version), 'r535')) return said(INVALID, EXIT.invalid);
  const library = libraryVersion(version);
  const lines = [`NVIDIA-SMI version  : ${version}`, `NVML version        : ${library}`];
  const versions =
    Number.parseInt(version, 10) >= 610
      ? [
          'DRIVER version      : Deprecated, see "KMD version" instead',
          'CUDA version        : Deprecated, see "CUDA UMD version" instead',
          `KMD version         : ${version}`,
          `CUDA UMD version    : ${cudaVersion}`,
        ]
      : [`DRIVER version      : ${version}`, `CUDA Version        : ${cudaVersion}`];
  return said(`${[...lines, ...versions].join('\n')}\n`);
}

/** From R535 on with the version of the library. */
function mismatchText({ version }: NvidiaDriver): string {
  const tellsVersion = isFrom(smiLayoutOf(version), 'r535');
  return `Failed to initialize NVML: Driver/library version mismatch\n${tellsVersion ? `NVML library version: ${libraryVersion(version)}\n` : ''}`;
}

/** NVML leaves out the last part: `580.105`. */
function libraryVersion(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

/** The address is written with four digits of domain here, and ever newer drivers put ever more before it. */
function lostText({ index, address }: NvidiaReading, { version }: NvidiaDriver): string {
  const layout = smiLayoutOf(version);
  const label = isFrom(layout, 'r570') ? `GPU${index}: ` : isFrom(layout, 'r535') ? 'GPU' : 'GPU ';
  return `Unable to determine the device handle for ${label}${address.slice(4)}: GPU is lost.  Reboot the system to recover this GPU\n`;
}

function isChosen({ index, uuid, address }: NvidiaReading, ids: readonly string[] | undefined): boolean {
  if (ids === undefined) return true;
  const plain = (text: string): string => text.toUpperCase().replace(/^0+/, '');
  return ids.some((id) => id === String(index) || id === uuid || plain(id) === plain(address));
}

function readArguments(args: readonly string[]): Asked {
  const valueOf = (long: string): string | undefined =>
    args.find((arg) => arg.startsWith(`${long}=`))?.slice(long.length + 1);
  const has = (short: string, long: string): boolean => args.includes(short) || args.includes(long);
  const at = args.indexOf('-i');
  const ids = at === -1 ? valueOf('--id') : args[at + 1];
  const known =
    /^(?:-[qxLi]|--(?:query|xml-format|list-gpus|version)|--(?:query-gpu|query-compute-apps|format|id)=.*)$/s;
  return {
    query: has('-q', '--query'),
    xml: has('-x', '--xml-format'),
    list: has('-L', '--list-gpus'),
    version: args.includes('--version'),
    gpuFields: listed(valueOf('--query-gpu')),
    processFields: listed(valueOf('--query-compute-apps')),
    format: listed(valueOf('--format')),
    ids: listed(ids),
    unknown: args.find((arg, index) => !known.test(arg) && (at === -1 || index !== at + 1)),
  };
}

function listed(text: string | undefined): readonly string[] | undefined {
  return text?.split(',').map((part) => part.trim());
}

function said(stdout: string, exitCode = 0): SmiAnswer {
  return { stdout, stderr: '', exitCode };
}
