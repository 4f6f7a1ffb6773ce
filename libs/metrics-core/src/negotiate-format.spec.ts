import { negotiateFormat } from './negotiate-format.ts';

const prometheus2 =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
const prometheus3 =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2';

it.each([
  { accept: undefined, format: 'text' },
  { accept: '', format: 'text' },
  { accept: '*/*', format: 'text' },
  { accept: prometheus2, format: 'openmetrics' },
  { accept: prometheus3, format: 'openmetrics' },
  { accept: 'text/plain;version=0.0.4', format: 'text' },
  { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', format: 'text' },
  { accept: 'application/openmetrics-text', format: 'openmetrics' },
  {
    accept: 'APPLICATION/OpenMetrics-Text; Version="1.0.0"; Q=0.5, text/plain; q=0.4',
    format: 'openmetrics',
  },
  { accept: 'text/plain;q=0.6,application/openmetrics-text;q=0.5', format: 'text' },
  { accept: 'text/plain,application/openmetrics-text', format: 'text' },
  { accept: 'application/openmetrics-text,text/plain', format: 'openmetrics' },
  { accept: 'application/openmetrics-text;version=0.0.1', format: 'text' },
  { accept: 'application/openmetrics-text;version=2.0.0,text/plain;q=0.1', format: 'text' },
  { accept: 'application/openmetrics-text;q=0', format: 'text' },
  { accept: 'application/openmetrics-text;q=2', format: 'text' },
  { accept: ';;;,,q=,=', format: 'text' },
])('answers "$accept" with $format', ({ accept, format }) => {
  expect(negotiateFormat(accept)).toBe(format);
});
