import { escapeHtml } from './escape-html.ts';

it.each([
  [`<a href="x" title='y'>&</a>`, '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;&lt;/a&gt;'],
  ['plain', 'plain'],
])('writes %s as %s', (text, expected) => {
  expect(escapeHtml(text)).toBe(expected);
});
