import type { EngineFaults } from './engine.ts';

/** Faults that tell when one is switched, so that an engine that rests need not look. */
export function createEngineFaults(changed: () => void): EngineFaults {
  const faults: EngineFaults = { hung: false, slowdown: 1, kvHeldRatio: 0, cpuFallback: false };
  return {
    get hung() {
      return faults.hung;
    },
    set hung(hung) {
      faults.hung = hung;
      changed();
    },
    get slowdown() {
      return faults.slowdown;
    },
    set slowdown(slowdown) {
      faults.slowdown = slowdown;
    },
    get kvHeldRatio() {
      return faults.kvHeldRatio;
    },
    set kvHeldRatio(kvHeldRatio) {
      faults.kvHeldRatio = kvHeldRatio;
      changed();
    },
    get cpuFallback() {
      return faults.cpuFallback;
    },
    set cpuFallback(cpuFallback) {
      faults.cpuFallback = cpuFallback;
      changed();
    },
  };
}
