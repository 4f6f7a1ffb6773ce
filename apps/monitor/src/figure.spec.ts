import {
  agoText,
  countFigure,
  gibibytesText,
  latencyFigure,
  rateFigure,
  shareFigure,
  spanText,
  unknownFigure,
} from './figure.ts';

it.each([
  [0, '0'],
  [0.04, '0'],
  [0.25, '0.3'],
  [9.94, '9.9'],
  [9.96, '10'],
  [1234.5, '1,235'],
  [99_999, '99,999'],
  [123_456, '123.5K'],
])('shows a rate of %d tokens per second as %s', (value, text) => {
  expect(rateFigure(value)).toEqual({ text, unit: 'tok/s', value });
});

it.each([
  [0, '0'],
  [0.004, '< 1'],
  [0.5, '50'],
  [0.934, '93'],
  [0.996, '> 99'],
  [1, '100'],
])('shows a share of %d as %s %%', (value, text) => {
  expect(shareFigure(value)).toEqual({ text, unit: '%', value });
});

it.each([
  [0.0042, '4.2', 'ms'],
  [0.00996, '10', 'ms'],
  [0.32, '320', 'ms'],
  [0.9994, '999', 'ms'],
  [0.9996, '1.00', 's'],
  [3.314, '3.31', 's'],
  [12.34, '12.3', 's'],
])('shows a latency of %d s as %s %s', (seconds, text, unit) => {
  expect(latencyFigure(seconds)).toEqual({ text, unit, value: seconds });
});

it('says that a latency beyond the last bound is longer', () => {
  expect(latencyFigure(10, true).text).toBe('> 10');
});

it.each([
  [-5, '0 s'],
  [59.9, '59 s'],
  [60, '1 min'],
  [3599, '59 min'],
  [18_600, '5 h 10 min'],
  [188_400, '2 d 4 h'],
])('shows a span of %d s as %s', (seconds, text) => {
  expect(spanText(seconds)).toBe(text);
});

it('shows an unknown figure as a dash with its reason, and gives it no value', () => {
  expect(unknownFigure('not given')).toEqual({ text: '–', reason: 'not given' });
});

it('groups a large count', () => {
  expect(countFigure(12_345)).toEqual({ text: '12,345', value: 12_345 });
});

it.each([
  [0, '0 MiB'],
  [205 * 1024 ** 2, '205 MiB'],
  [1023.6 * 1024 ** 2, '1 GiB'],
  [79.6 * 1024 ** 3, '79.6 GiB'],
])('shows the memory of a GPU of %d bytes as %s', (bytes, text) => {
  expect(gibibytesText(bytes)).toBe(text);
});

it.each([
  [2.9, 'just now'],
  [3, '3 s ago'],
  [300, '5 min ago'],
])('shows what was %d s ago as %s', (seconds, text) => {
  expect(agoText(seconds)).toBe(text);
});
