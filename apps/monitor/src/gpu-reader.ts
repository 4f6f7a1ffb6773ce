import { runGpuReader } from '@llm-monitor/gpus/reader';

// A bundle of its own beside the program's: what talks to the driver holds nothing of the server in its memory.
runGpuReader();
