import { errorCode, readText, type DeviceFiles } from '../../pci/device-files.ts';
import type { GpuPoints } from '../../gpu-points.ts';
import type { UnsupportedReading } from '../../reading.ts';

/** What kernels answer for a figure that this chip does not have (MangoHud#464, #291; btop#1794). */
const NOT_SUPPORTED = ['ENOENT', 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP', 'ENODATA', 'ENOSYS', 'ENXIO'];

/** The files of one folder of a card: each that fails costs its own figure only, and is remembered for `check`. */
export class CardFiles {
  /** Why each file that was asked for gave nothing. */
  readonly failures = new Map<string, string>();
  /** Files that gave something. */
  readonly answered = new Set<string>();
  private readonly files: DeviceFiles;
  private readonly folder: string;
  private readonly prefix: string;
  private readonly points: GpuPoints;

  /** @param prefix of the names under which figures are told of, `hwmon/` */
  constructor(files: DeviceFiles, folder: string, prefix: string, points: GpuPoints) {
    this.files = files;
    this.folder = folder;
    this.prefix = prefix;
    this.points = points;
  }

  /** Undefined where the file is not there, fails, or is empty. */
  text(name: string): string | undefined {
    const text = this.attempt(name, (file) => readText(this.files, file));
    return text === '' ? undefined : text;
  }

  content(name: string): Buffer | undefined {
    return this.attempt(name, (file) => this.files.read(file));
  }

  entries(name: string): readonly string[] {
    return this.attempt(name, (file) => this.files.list(file)) ?? [];
  }

  /** A whole number; what is there and is none is counted as not understood. */
  integer(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined || /^-?\d+$/.test(text)) return text === undefined ? undefined : Number(text);
    this.points.refuse(this.field(name), text);
    return undefined;
  }

  field(name: string): string {
    return name === '.' ? this.prefix : this.prefix + name;
  }

  unsupported(): UnsupportedReading[] {
    return [...this.failures].map(([name, code]) => ({ field: this.field(name), why: whyUnsupported(code) }));
  }

  private attempt<T>(name: string, read: (file: string) => T): T | undefined {
    try {
      const answer = read(name === '.' ? this.folder : `${this.folder}/${name}`);
      this.answered.add(name);
      return answer;
    } catch (error) {
      this.failures.set(name, errorCode(error));
      return undefined;
    }
  }
}

/** EPERM is no word on permissions here: the driver says it while it resets the GPU, and of one that sleeps. */
export function whyUnsupported(code: string): UnsupportedReading['why'] {
  if (code === 'EACCES') return 'no_permission';
  return NOT_SUPPORTED.includes(code) ? 'not_supported' : 'failed';
}
