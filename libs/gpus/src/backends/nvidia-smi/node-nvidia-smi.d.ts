declare module 'node-nvidia-smi' {
  /**
   * Runs `nvidia-smi -q -x` of the PATH and gives its XML as xml2js parses it, or whatever it failed with: an Error, or
   * what stood on stderr.
   */
  function nodeNvidiaSmi(callback: (error: unknown, data?: unknown) => void): void;
  export = nodeNvidiaSmi;
}
