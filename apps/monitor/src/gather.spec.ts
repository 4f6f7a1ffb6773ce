import { gather } from './gather.ts';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

describe('gather', () => {
  it('acts once for the calls that come together, and again for those after that', () => {
    const act = jest.fn();
    const soon = gather(act, 100, jest.fn());
    soon();
    soon();
    expect(act).not.toHaveBeenCalled();
    jest.advanceTimersByTime(100);
    soon();
    jest.advanceTimersByTime(99);
    expect(act).toHaveBeenCalledTimes(1);
    jest.advanceTimersByTime(1);
    expect(act).toHaveBeenCalledTimes(2);
  });

  it('tells once of a fault that goes on, and again of one after it went well', () => {
    const bug = new Error('a bug');
    let fails = true;
    const act = jest.fn(() => {
      if (fails) throw bug;
    });
    const onFault = jest.fn();
    const soon = gather(act, 100, onFault);
    const call = (): void => {
      soon();
      jest.advanceTimersByTime(100);
    };
    call();
    call();
    expect(onFault.mock.calls).toEqual([[bug]]);
    fails = false;
    call();
    fails = true;
    call();
    expect(onFault).toHaveBeenCalledTimes(2);
    expect(act).toHaveBeenCalledTimes(4);
  });
});
