import { GPU_READER_ARGUMENT } from '@llm-monitor/gpus/reader-messages';

/**
 * One program, two processes: the monitor, and the gpu-reader that it starts from the same file. Both halves are
 * imported only where they run, so that the reader holds nothing of the server in its memory.
 */
const isReader = process.argv[2] === GPU_READER_ARGUMENT && process.send !== undefined;
if (isReader) void import('./reader.ts').then(({ runGpuReader }) => runGpuReader());
else void import('./serve.ts').then(({ serve }) => serve());
