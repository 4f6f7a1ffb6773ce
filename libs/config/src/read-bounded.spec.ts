import { Readable } from 'node:stream';

import { readBounded, TooLargeError } from './read-bounded.ts';

describe('readBounded', () => {
  it.each([
    ['nothing', [], 0, ''],
    ['as much as is allowed', ['ab', 'c'], 3, 'abc'],
    ['a letter cut between two chunks', [Buffer.from([0xc3]), Buffer.from([0xa4])], 2, 'ä'],
  ])('reads %s', async (_title, chunks, most, expected) => {
    expect(await readBounded(Readable.from(chunks), most)).toBe(expected);
  });

  it('refuses a byte more, and lets the rest go unread', async () => {
    const stream = Readable.from(['ab', 'cd', 'ef']);
    await expect(readBounded(stream, 3)).rejects.toThrow(TooLargeError);
    expect(stream.destroyed).toBe(true);
  });
});
