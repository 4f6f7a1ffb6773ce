/** The half of the program that talks to a driver. */
export { runGpuReader } from '@llm-monitor/gpus/reader';
