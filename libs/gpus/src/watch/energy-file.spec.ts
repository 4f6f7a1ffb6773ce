import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';

import {
  diskStateFiles,
  formatEnergyState,
  parseEnergyState,
  procBootFacts,
  UnreadableEnergyState,
  type EnergyState,
} from './energy-file.ts';

const state: EnergyState = {
  bootId: 'boot-1',
  owner: { pid: 7, startTicks: 1234 },
  joules: new Map([['GPU-a', 12.5]]),
};

describe('the state file of energy', () => {
  it('reads back what was written', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.option(fc.record({ pid: fc.nat(), startTicks: fc.nat() }), { nil: undefined }),
        fc.array(
          fc.tuple(fc.string(), fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map(Math.abs)),
        ),
        (bootId, owner, joules) => {
          const written = { bootId, owner, joules: new Map(joules.filter(([uuid]) => uuid !== '__proto__')) };
          expect(parseEnergyState(formatEnergyState(written))).toEqual(written);
        },
      ),
      { seed: 3 },
    );
  });

  const text = formatEnergyState(state);
  const without = (replacement: object): string => JSON.stringify({ ...JSON.parse(text), ...replacement });

  it.each([
    { why: 'it is empty', text: '', message: 'it is no JSON' },
    { why: 'it is cut', text: text.slice(0, -10), message: 'it is no JSON' },
    { why: 'it is something else', text: '[]', message: 'it is no JSON object of less than 1 MiB' },
    {
      why: 'it is huge',
      text: `${text}${' '.repeat(1024 * 1024)}`,
      message: 'it is no JSON object of less than 1 MiB',
    },
    { why: 'it is foreign', text: '{"version":1}', message: 'it does not say "llm-monitor gpu energy 1"' },
    { why: 'it has no boot', text: without({ bootId: '' }), message: 'it has no bootId' },
    { why: 'its owner is no one', text: without({ owner: 7 }), message: 'its owner is no object' },
    {
      why: 'its owner has no start',
      text: without({ owner: { pid: 7 } }),
      message: 'its owner has no pid and startTicks',
    },
    { why: 'it has no sums', text: without({ joules: [] }), message: 'its joules are no object' },
    {
      why: 'a sum is negative',
      text: without({ joules: { 'GPU-a': -1 } }),
      message: 'the joules of GPU-a are no number from 0 up',
    },
    {
      why: 'a sum is text',
      text: without({ joules: { 'GPU-a': '1' } }),
      message: 'the joules of GPU-a are no number from 0 up',
    },
    {
      why: 'a sum is lost',
      text: without({ joules: { 'GPU-a': null } }),
      message: 'the joules of GPU-a are no number from 0 up',
    },
    {
      why: 'there are too many',
      text: without({
        joules: Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`GPU-${index}`, 1])),
      }),
      message: 'it has more than 1024 GPUs',
    },
  ])('is refused when $why', ({ text: damaged, message }) => {
    expect(() => parseEnergyState(damaged)).toThrow(new UnreadableEnergyState(message));
  });
});

describe('diskStateFiles', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'energy-file-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('replaces a file as a whole, for this user only, and leaves nothing beside it', async () => {
    const file = path.join(directory, 'new', 'energy.json');
    await diskStateFiles.replace(file, 'one');
    await diskStateFiles.replace(file, 'two');
    expect(await diskStateFiles.read(file)).toBe('two');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(path.dirname(file))).toEqual(['energy.json']);
  });

  it('does not write through a link that somebody laid', async () => {
    const file = path.join(directory, 'energy.json');
    const victim = path.join(directory, 'victim');
    writeFileSync(victim, 'untouched');
    symlinkSync(victim, `${file}.tmp-${process.pid}`);
    symlinkSync(victim, file);
    await diskStateFiles.replace(file, 'one');
    expect(readFileSync(victim, 'utf8')).toBe('untouched');
    expect(lstatSync(file).isSymbolicLink()).toBe(false);
  });

  it('rejects where it cannot write', async () => {
    writeFileSync(path.join(directory, 'file'), '');
    await expect(diskStateFiles.replace(path.join(directory, 'file', 'energy.json'), 'one')).rejects.toThrow(
      /ENOTDIR|EEXIST/,
    );
  });
});

/** Node's mkdir with `recursive` never ends there. */
(process.platform === 'linux' ? it : it.skip)('gives up on a folder below /proc', async () => {
  const file = '/proc/no-such-folder/below/energy.json';
  await expect(diskStateFiles.replace(file, 'one')).rejects.toThrow(/ENOENT/);
});

describe('procBootFacts', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'energy-proc-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const ticks = (state: string, start: string): string =>
    `7 (a) b (c)) ${state} 1 7 7 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 ${start} 1000 100\n`;
  const writeStat = (text: string): void => {
    mkdirSync(path.join(directory, '7'));
    writeFileSync(path.join(directory, '7', 'stat'), text);
  };

  it.each([
    { why: 'runs', stat: ticks('S', '1234'), isAlive: true },
    { why: 'is stuck in the kernel', stat: ticks('D', '1234'), isAlive: true },
    { why: 'has ended and is not reaped', stat: ticks('Z', '1234'), isAlive: false },
    { why: 'is another one with the same number', stat: ticks('S', '1235'), isAlive: false },
    { why: 'cannot be read', stat: '7 (a) S', isAlive: false },
  ])('knows whether a process is alive that $why', ({ stat, isAlive }) => {
    writeStat(stat);
    expect(procBootFacts(directory).isAlive({ pid: 7, startTicks: 1234 })).toBe(isAlive);
  });

  it('knows nothing without /proc', () => {
    const boot = procBootFacts(path.join(directory, 'none'));
    expect(boot.bootId()).toBeUndefined();
    expect(boot.self()).toBeUndefined();
    expect(boot.isAlive({ pid: 7, startTicks: 1234 })).toBe(false);
  });

  it('reads the boot without its line end', () => {
    mkdirSync(path.join(directory, 'sys', 'kernel', 'random'), { recursive: true });
    writeFileSync(path.join(directory, 'sys', 'kernel', 'random', 'boot_id'), '03157297-c758-425f\n');
    expect(procBootFacts(directory).bootId()).toBe('03157297-c758-425f');
  });

  (process.platform === 'linux' ? it : it.skip)('knows this process and its children on Linux', async () => {
    const boot = procBootFacts();
    const self = boot.self();
    expect(self?.pid).toBe(process.pid);
    expect(self !== undefined && boot.isAlive(self)).toBe(true);
    const child = spawn(process.execPath, ['-e', '']);
    const { pid } = child;
    await once(child, 'exit');
    expect(boot.isAlive({ pid: pid ?? 0, startTicks: self?.startTicks ?? 0 })).toBe(false);
  });
});
