import { Faults } from './faults.ts';

describe('faults', () => {
  it('are told once for each place, and end nothing', () => {
    const told: object[] = [];
    const faults = new Faults({ error: (facts) => void told.push(facts) });
    const first = new Error('one');
    const fail = (error: Error) => (): void => {
      throw error;
    };
    faults.guard('here', fail(first));
    faults.guard('here', fail(new Error('two')));
    faults.guard('well', () => undefined);
    faults.tell('there', 'not even an error');
    expect(told).toEqual([
      { err: first, place: 'here' },
      { err: 'not even an error', place: 'there' },
    ]);
  });
});
