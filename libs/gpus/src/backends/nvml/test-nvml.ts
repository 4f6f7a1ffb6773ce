import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import {
  buildFakeNvml,
  h100,
  h100Mig,
  hostOf,
  noCompilerReason,
  rtx4090,
  writeFakeHost,
  type FakeBoard,
  type FakeHost,
} from '@llm-monitor/fake-nvml';
import * as koffi from 'koffi';

import { allPoints } from '../../gpu-points.ts';
import type { BackendReading, GpuBackend, GpuReading } from '../../reading.ts';
import { createNvmlBackend } from './nvml-backend.ts';

/** What the tests of this backend share: a driver that they write, and clocks that they set. Not part of the library. */
export interface FakeDriver {
  readonly library: string;
  /** Where the host stands, for a fake nvidia-smi of the same driver. */
  readonly hostFile: string;
  /** With the memory of the host. */
  readonly procRoot: string;
  /** From now on the host is this. */
  readonly host: (host: FakeHost) => void;
  /** A backend over this library, or over another one of the same host. */
  readonly backend: (library?: string) => GpuBackend;
  /** Calls since the last time this was asked: `<function> <board UUID or ->`. */
  readonly calls: () => string[];
  /** Path of a copy of the library in which the function does not exist. */
  readonly without: (name: string) => string;
  /** Monotonic, and since the epoch; the test moves them. */
  readonly clock: { seconds: number; unixSeconds: number };
  readonly close: () => void;
}

/** What of jest is needed: this file is compiled with the library, which knows no jest. */
interface TestGlobals {
  readonly describe: (name: string, tests: () => void) => void;
  readonly it: { readonly skip: (name: string, test: () => void) => void };
  readonly afterAll: (end: () => void) => void;
}

/** Groups of tests over a driver of their own each; skipped where none can be built. */
export function driverTests(
  globals: TestGlobals,
): (name: string, tests: (driver: FakeDriver) => void) => void {
  const library = buildFakeNvml();
  return (name, tests) => {
    if (library === undefined) {
      globals.it.skip(`${name} (${noCompilerReason})`, () => undefined);
      return;
    }
    globals.describe(name, () => {
      const driver = startFakeDriver(library);
      globals.afterAll(() => driver.close());
      tests(driver);
    });
  };
}

/** An H100 with two of its NVLinks, so that a reviewer can read what is made of it. */
export function shortH100(index = 0): FakeBoard {
  const board = h100(index);
  return { ...board, nvlinks: (board.nvlinks ?? []).slice(0, 2) };
}

/** Boards that have, taken together, nearly all there is: whole, split by MIG, and with fans. */
export function variedHost(): FakeHost {
  return hostOf([shortH100(0), { ...h100Mig(1), nvlinks: [] }, rtx4090(0)]);
}

type Configure = (config: string, log: string) => void;

function startFakeDriver(library: string): FakeDriver {
  const folder = mkdtempSync(path.join(tmpdir(), 'nvml-backend-'));
  const config = path.join(folder, 'host.json');
  const log = path.join(folder, 'calls.log');
  const clock = { seconds: 1000, unixSeconds: 1_790_000_000 };
  const opened = new Set<GpuBackend>();
  // Loaded for as long as the test runs, so that a backend that unloads the library does not unload its configuration.
  const configured = new Map<string, ReturnType<typeof koffi.load>>();
  const configure = (library: string): void => {
    if (configured.has(library)) return;
    const loaded = koffi.load(library);
    configured.set(library, loaded);
    const set = loaded.func('void fakeNvmlConfigure(const char *config, const char *log)') as Configure;
    set(config, log);
  };
  writeFileSync(log, '');
  writeFileSync(path.join(folder, 'meminfo'), 'MemTotal:       125489508 kB\nMemAvailable:   104857600 kB\n');
  return {
    library,
    hostFile: config,
    procRoot: folder,
    clock,
    host: (host) => writeFakeHost(config, host),
    backend: (path = library) => {
      configure(path);
      const backend = createNvmlBackend({
        libraryPath: path,
        procRoot: folder,
        now: () => clock.seconds,
        unixNow: () => clock.unixSeconds,
      });
      opened.add(backend);
      return backend;
    },
    calls: () => {
      const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
      writeFileSync(log, '');
      return lines;
    },
    without: (name) => {
      const copy = path.join(folder, `without-${name}.so`);
      // One that is loaded must not change under its readers.
      if (!existsSync(copy)) writeFileSync(copy, renameSymbol(readFileSync(library), name));
      return copy;
    },
    close: () => {
      for (const backend of opened) backend.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/**
 * The library's bytes with another first letter in the name of a symbol, as it stands in the table of names: the linker
 * does not find it any more. Compiling one library for each function would take minutes.
 */
function renameSymbol(bytes: Buffer, name: string): Buffer {
  const renamed = Buffer.from(bytes);
  const whole = Buffer.from(`\0${name}\0`, 'latin1');
  for (let at = renamed.indexOf(whole); at !== -1; at = renamed.indexOf(whole, at + 1)) {
    renamed.write('x', at + 1, 'latin1');
  }
  return renamed;
}

const neverAborted = new AbortController().signal;

/** A reading of a bus that nobody has looked at, unless the test has. */
export function read(
  backend: GpuBackend,
  pci: Parameters<GpuBackend['read']>[0] = [],
): Promise<BackendReading> {
  return backend.read(pci, neverAborted);
}

/** A reading as lines that a reviewer can read: each GPU, its figures, its processes, and what is not there. */
export function readingLines(reading: BackendReading): string {
  const lines = [
    ...reading.gpus.flatMap(gpuLines),
    ...reading.unparsed.map(({ field, value }) => `unparsed ${field} ${value}`),
    ...reading.unsupported.map(({ field, why }) => `unsupported ${field} ${why}`),
  ];
  return `${lines.join('\n')}\n`;
}

function gpuLines(gpu: GpuReading): string[] {
  return [
    `gpu ${gpu.gpu} ${gpu.uuid} ${gpu.condition} ${JSON.stringify(gpu.facts)}`,
    ...pointLines(gpu),
    `processes ${gpu.processes === undefined ? 'not told' : String(gpu.processes.length)}`,
    ...(gpu.processes ?? []).map((process) => `process ${JSON.stringify(process)}`),
  ];
}

/** `metric{labels} value` */
export function pointLines(reading: GpuReading): string[] {
  return allPoints(reading).map(({ metric, value, labels = {} }) => {
    const pairs = Object.entries(labels).map(([name, label]) => `${name}="${label}"`);
    return `${metric}${pairs.length === 0 ? '' : `{${pairs.join()}}`} ${String(value)}`;
  });
}
