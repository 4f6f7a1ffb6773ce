import { joinTables, mapRules, passedOn } from './family-tables.ts';

describe('tables of families', () => {
  it('are joined rule by rule, the short forms written out', () => {
    expect(
      joinTables(
        { llm_requests_running: 'one_running', llm_batch_size: ['one_batch', { from: 'one_size' }] },
        { llm_requests_running: { from: 'two_running', optional: true } },
      ),
    ).toEqual({
      llm_requests_running: [{ from: 'one_running' }, { from: 'two_running', optional: true }],
      llm_batch_size: [{ from: 'one_batch' }, { from: 'one_size' }],
    });
  });

  it.each([
    ['an expected rule', { from: 'in:a' }, { from: 'in:a', expectedWith: 'in:' }],
    [
      'a rule that says with what it comes',
      { from: 'in:a', expectedWith: 'in:b' },
      { from: 'in:a', expectedWith: 'in:b' },
    ],
    ['a rule of some versions', { from: 'in:a', since: '0.11' }, { from: 'in:a', optional: true }],
    ['a rule of older versions', { from: 'in:a', until: '0.11' }, { from: 'in:a', optional: true }],
  ] as const)('passed on by another server: %s', (_, own, passed) => {
    expect(passedOn({ llm_requests_running: own }, 'in:')).toEqual({ llm_requests_running: [passed] });
  });

  it('are changed rule by rule', () => {
    expect(mapRules({ llm_batch_size: ['a', 'b'] }, (rule) => ({ ...rule, fold: 'max' }))).toEqual({
      llm_batch_size: [
        { from: 'a', fold: 'max' },
        { from: 'b', fold: 'max' },
      ],
    });
  });
});
