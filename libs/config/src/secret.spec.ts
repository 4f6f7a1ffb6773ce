import { inspect } from 'node:util';
import { Secret } from './secret.ts';

describe('Secret', () => {
  const token = new Secret('hunter2');

  it.each([
    ['JSON.stringify', JSON.stringify({ token })],
    ['a string template', `${String(token)}`],
    ['util.inspect', inspect({ token }, { showHidden: true, depth: 9 })],
    ['the spread of its properties', JSON.stringify({ ...token })],
  ])('is not told by %s', (_, printed) => {
    expect(printed).not.toContain('hunter2');
  });

  it('is told by reveal', () => {
    expect(token.reveal()).toBe('hunter2');
  });
});
