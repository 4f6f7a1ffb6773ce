import { printableText } from './printable-text.ts';

it.each([
  ['qwen3-8b', 'qwen3-8b'],
  ['a\u001b[2Jb', 'a [2Jb'],
  ['two\r\nlines', 'two  lines'],
  ['\u009b31m red', ' 31m red'],
  ['\u007f\u0000', '  '],
  ['Größe 模型', 'Größe 模型'],
])('writes %j as %j', (text, expected) => {
  expect(printableText(text)).toBe(expected);
});
