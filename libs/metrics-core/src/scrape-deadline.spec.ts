import { scrapeDeadlineMilliseconds } from './scrape-deadline.ts';

it.each([
  { why: 'what Prometheus waits less the margin', header: '10', milliseconds: 9500 },
  { why: 'fractions, too', header: '2.5', milliseconds: 2000 },
  { why: 'half a second at least', header: '0.6', milliseconds: 500 },
  { why: 'half a second even for somebody in a hurry', header: '0.001', milliseconds: 500 },
  { why: 'two minutes at most', header: '86400', milliseconds: 120_000 },
  { why: 'the fallback without the header', header: undefined, milliseconds: 8000 },
  { why: 'the fallback for zero', header: '0', milliseconds: 8000 },
  { why: 'the fallback for what is no number', header: '1e9', milliseconds: 8000 },
  { why: 'the fallback for less than nothing', header: '-5', milliseconds: 8000 },
  { why: 'the fallback for two of them', header: '10, 10', milliseconds: 8000 },
])('is $why', ({ header, milliseconds }) => {
  const headers = header === undefined ? {} : { 'x-prometheus-scrape-timeout-seconds': header };
  expect(scrapeDeadlineMilliseconds(headers, 8, 0.5)).toBe(milliseconds);
});
