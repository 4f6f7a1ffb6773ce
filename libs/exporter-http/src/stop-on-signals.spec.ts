import { EventEmitter } from 'node:events';

import { stopOnSignals, type SignalSource } from './stop-on-signals.ts';
import { createHold, createTestLog } from './test-app.ts';

/** The part of a process that is needed, with its exit as an event. */
class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];
  readonly exited = new Promise<number>((resolve) => this.once('exited', resolve));

  exit(code: number): void {
    this.exits.push(code);
    this.emit('exited', code);
  }
}

it('takes the real process', () => {
  const real: Pick<SignalSource, 'on'> = process;
  expect(typeof real.on).toBe('function');
});

it.each(['SIGTERM', 'SIGINT'])('%s stops, then exits with 0', async (signal) => {
  const source = new FakeProcess();
  const log = createTestLog();
  const hold = createHold<undefined>();
  stopOnSignals(source, () => hold.promise, log.logger);
  source.emit(signal);
  expect(source.exits).toEqual([]);
  hold.release(undefined);
  expect(await source.exited).toBe(0);
  expect(log.records.map(({ msg }) => msg)).toEqual(['stopping', 'stopped']);
});

it.each([
  ['SIGTERM', 'SIGTERM', 143],
  ['SIGTERM', 'SIGINT', 130],
  ['SIGINT', 'SIGINT', 130],
])('%s then %s exits at once with %i, and stops only once', (first, second, code) => {
  const source = new FakeProcess();
  let stops = 0;
  const stop = () => {
    stops += 1;
    return new Promise<void>(() => undefined);
  };
  stopOnSignals(source, stop, createTestLog().logger);
  source.emit(first);
  source.emit(second);
  expect(source.exits).toEqual([code]);
  expect(stops).toBe(1);
});

it('exits with 1 when stopping fails', async () => {
  const source = new FakeProcess();
  const log = createTestLog();
  stopOnSignals(source, () => Promise.reject(new Error('disk full')), log.logger);
  source.emit('SIGTERM');
  expect(await source.exited).toBe(1);
  expect(await log.first('could not stop cleanly')).toMatchObject({
    level: 50,
    err: { message: 'disk full' },
  });
});
