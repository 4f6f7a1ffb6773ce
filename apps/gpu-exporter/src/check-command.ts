import { printableText } from '@llm-monitor/config';
import type { GpuSnapshot, GpuWatch, Mend } from '@llm-monitor/gpus';
import type { Clock } from '@llm-monitor/metrics-core';

import { figureText, processText } from './figure-text.ts';
import { gpusView, isWell, type BackendView, type GpusView, type GpuView } from './gpus-view.ts';
import { unexplainedFields } from './native-fields.ts';

/** One look at the GPUs of this host, as the exporter takes them all the time. */
export interface Look {
  readonly snapshot: GpuSnapshot;
  readonly remarks: readonly string[];
}

export interface CheckOptions {
  readonly expectedDevices: number | undefined;
  readonly kernelLog: boolean;
  /** Names the native readings that gave nothing, too. */
  readonly verbose: boolean;
  readonly nowUnixSeconds: number;
}

/** What `check` found, as text, and the code to end with: 0 when there is a GPU, all are well and no backend fails. */
export interface CheckResult {
  readonly text: string;
  readonly exitCode: 0 | 1;
}

/** Past the deadline, after which the watch itself tells that the driver hangs. */
const DEADLINE_MARGIN_SECONDS = 2;
/** For a second backend in place of one that cannot work, and for the owners of processes. */
const SETTLE_SECONDS = 2;

/** Waits for the first readings, no longer than the deadline allows, and looks. The watch runs on. */
export async function lookOnce(
  watch: Pick<GpuWatch, 'firstReading' | 'onChange' | 'peek' | 'remarks'>,
  deadlineSeconds: number,
  clock: Pick<Clock, 'after'>,
): Promise<Look> {
  await within(watch.firstReading, deadlineSeconds + DEADLINE_MARGIN_SECONDS, clock);
  let stopListening = (): void => undefined;
  const settled = new Promise<void>((resolve) => {
    const look = (): void => {
      if (isSettled(watch.peek(0))) resolve();
    };
    stopListening = watch.onChange(look);
    look();
  });
  await within(settled, SETTLE_SECONDS, clock);
  stopListening();
  return { snapshot: watch.peek(SETTLE_SECONDS), remarks: watch.remarks() };
}

function isSettled({ backends, gpus }: GpuSnapshot): boolean {
  const allRead = backends.every(
    ({ failure, ageSeconds }) => failure === undefined && ageSeconds !== undefined,
  );
  const processes = gpus.flatMap((gpu) => gpu.processes ?? []);
  return allRead && processes.every(({ owner }) => Object.keys(owner).length > 0);
}

function within(event: Promise<void>, seconds: number, clock: Pick<Clock, 'after'>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(seconds * 1000, resolve);
    void event.then(() => {
      cancel();
      resolve();
    });
  });
}

/** The tables of backends and GPUs, what is wrong and how to mend it, fit for a terminal. */
export function renderCheck({ snapshot, remarks }: Look, options: CheckOptions): CheckResult {
  const { expectedDevices, kernelLog, verbose, nowUnixSeconds } = options;
  const view = gpusView(snapshot, remarks, nowUnixSeconds);
  const seen = view.gpus.filter(({ condition }) => isWell(condition)).length;
  const tooFew = expectedDevices !== undefined && seen < expectedDevices;
  const lines = [
    view.overview,
    ...(view.backends.length === 0 ? [] : ['', ...backendLines(view.backends, verbose)]),
    ...(view.gpus.length === 0 ? [] : ['', ...gpuLines(view)]),
    ...(tooFew
      ? ['', `Of ${expectedDevices} GPUs expected (GPU_EXPORTER_EXPECTED_DEVICES), ${seen} are well.`]
      : []),
    ...(kernelLog ? [] : ['', 'kernel log: not read (GPU_EXPORTER_KERNEL_LOG is off)']),
    ...(remarks.length === 0 ? [] : ['', ...remarks]),
  ];
  const isGood =
    view.gpus.length > 0 &&
    seen === view.gpus.length &&
    !tooFew &&
    view.backends.every(({ state }) => state === 'reading');
  return { text: `${lines.map(printableText).join('\n')}\n`, exitCode: isGood ? 0 : 1 };
}

function backendLines(backends: readonly BackendView[], verbose: boolean): string[] {
  const rows = backends.map((backend) => [
    backend.backend,
    backend.state,
    String(backend.gpus),
    backend.driverVersion ?? '-',
    backend.libraryVersion ?? '-',
  ]);
  return [
    ...table(['BACKEND', 'STATE', 'GPUS', 'DRIVER', 'LIBRARY'], rows),
    ...backends.flatMap((backend) => backendRemarks(backend, verbose)),
  ];
}

function backendRemarks(
  { backend, state, failure, unsupported, unparsed, abandoned }: BackendView,
  verbose: boolean,
): string[] {
  const lines: string[] = [];
  if (state === 'waiting') lines.push(`${backend}: has not answered yet`);
  if (failure !== undefined) {
    lines.push(`${backend}: ${failure.reason}: ${failure.message}`, ...mendLines(failure.mend));
  }
  if (abandoned > 0)
    lines.push(`${backend}: ${abandoned} readers are stuck in the driver; only a reboot ends them`);
  for (const { meaning, fields } of unsupported) {
    // The others are told as the metrics that are missing for them.
    const told = verbose ? fields : unexplainedFields(fields);
    if (told.length > 0) lines.push(`${backend}: cannot read ${told.join(', ')}: ${meaning}`);
  }
  for (const [field, count] of Object.entries(unparsed)) {
    lines.push(`${backend}: ${field} was not understood (${count} times)`);
  }
  return lines;
}

function gpuLines({ gpus }: GpusView): string[] {
  const rows = gpus.map((gpu) => {
    const { busy, memory, power, temperature } = figureText(gpu.figures);
    const { gpu: index, facts, uuid, condition } = gpu;
    return [index, facts.name ?? facts.vendor, condition, busy, memory, power, temperature, uuid];
  });
  // The UUID is last: whole, to be pasted into CUDA_VISIBLE_DEVICES, it is too wide to stand before anything.
  const head = ['GPU', 'NAME', 'STATE', 'BUSY', 'MEMORY', 'POWER', 'TEMPERATURE', 'UUID'];
  return [
    ...table(head, rows),
    ...gpus.flatMap(gpuRemarks),
    ...oncePerKind(gpus, ({ without }) =>
      without.length === 0 ? [] : [`does not tell ${without.join(', ')}`],
    ),
    ...oncePerKind(gpus, ({ missing }) =>
      missing.map(({ metrics, meaning }) => `without ${metrics.join(', ')}: ${meaning}`),
    ),
  ];
}

function gpuRemarks({ gpu, condition, mend, processes, xids }: GpuView): string[] {
  const lines: string[] = [];
  if (mend !== undefined) lines.push(`gpu ${gpu}: ${condition}`, ...mendLines(mend));
  if (condition === 'suspended') lines.push(`gpu ${gpu}: asleep, and left alone so that it stays so`);
  for (const [xid, count] of Object.entries(xids)) lines.push(`gpu ${gpu}: XID ${xid}, ${count} times`);
  for (const process of processes ?? []) {
    lines.push(`gpu ${gpu}: process ${process.pid}: ${processText(process)}`);
  }
  if (condition === 'up' && processes === undefined)
    lines.push(`gpu ${gpu}: the driver does not tell its processes`);
  return lines;
}

/** Eight like GPUs lack the same: said once. */
function oncePerKind(gpus: readonly GpuView[], say: (gpu: GpuView) => readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const gpu of gpus) {
    for (const words of say(gpu)) groups.set(words, [...(groups.get(words) ?? []), gpu.gpu]);
  }
  return [...groups].map(([words, indexes]) => `gpu ${indexes.join(', ')}: ${words}`);
}

function mendLines({ sentence, command }: Mend): string[] {
  return [`  ${sentence}`, `  $ ${command}`];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
