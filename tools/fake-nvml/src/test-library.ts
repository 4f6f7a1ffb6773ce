import koffi from 'koffi';

/** Numbers are `unsigned int`, bigints handles and 64-bit numbers, buffers what is written to. */
export type Argument = number | bigint | string | Buffer | null;

/** A compiled fake library, to be called in this process. Each has its own state until it is closed. */
export interface LoadedLibrary {
  /** The function's return code. @throws where there is no such symbol */
  readonly call: (name: string, ...args: readonly Argument[]) => number;
  readonly close: () => void;
}

/** Loads a library over a host file; a test's own environment is not the one that C sees. */
export function loadLibrary(file: string, hostFile: string, callLog: string | null = null): LoadedLibrary {
  const library = koffi.load(file);
  const declare = (result: string, name: string, args: readonly Argument[]) =>
    library.func(`${result} ${name}(${args.map(typeOf).join(', ')})`) as (...args: Argument[]) => unknown;
  declare('void', 'fakeNvmlConfigure', [hostFile, ''])(hostFile, callLog);
  return {
    call: (name, ...args) => Number(declare('int', name, args)(...args)),
    close: () => void library.unload(),
  };
}

function typeOf(argument: Argument): string {
  if (typeof argument === 'number') return 'uint32_t';
  if (typeof argument === 'bigint') return 'uint64_t';
  return typeof argument === 'string' ? 'const char *' : 'void *';
}
