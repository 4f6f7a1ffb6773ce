import { at, booleanAt, listAt, numberAt, textAt } from './json.ts';

const answer: unknown = JSON.parse(
  '{"models":[{"name":"a","size":3,"empty":"","big":1e999,"on":false}],"none":null,"__proto__":{"size":1}}',
);

it('steps through objects and arrays', () => {
  expect(textAt(answer, 'models', 0, 'name')).toBe('a');
  expect(numberAt(answer, 'models', 0, 'size')).toBe(3);
  expect(booleanAt(answer, 'models', 0, 'on')).toBe(false);
  expect(listAt(answer, 'models')).toHaveLength(1);
});

it.each([
  ['a missing key', () => at(answer, 'models', 0, 'other')],
  ['an index past the end', () => at(answer, 'models', 1, 'name')],
  ['a step into null', () => at(answer, 'none', 'name')],
  ['a step into text', () => at(answer, 'models', 0, 'name', 'length')],
  ['what every object inherits', () => at(answer, 'constructor')],
  ['a number that is text', () => numberAt({ size: '3' }, 'size')],
  ['a number beyond all bounds', () => numberAt(answer, 'models', 0, 'big')],
  ['empty text', () => textAt(answer, 'models', 0, 'empty')],
  ['text that is a number', () => textAt(answer, 'models', 0, 'size')],
  ['a boolean that is a number', () => booleanAt({ on: 1 }, 'on')],
])('gives undefined for %s', (_, value) => {
  expect(value()).toBeUndefined();
});

it('gives no elements of what is no list', () => {
  expect(listAt(answer, 'none')).toEqual([]);
  expect(listAt(undefined, 'models')).toEqual([]);
  expect(listAt({ models: { 0: 'a', length: 1 } }, 'models')).toEqual([]);
});
