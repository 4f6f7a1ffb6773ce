import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { readFileCommand } from './read-command.ts';

const fixture = (name: string): string => path.resolve(__dirname, '../../../libs/engines/fixtures', name);
const nothing = (): Readable => Readable.from([]);

describe('read', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(path.join(tmpdir(), 'llm-exporter-read-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  const saved = (name: string, content: string | Buffer): string => {
    const file = path.join(folder, name);
    writeFileSync(file, content);
    return file;
  };

  it('normalizes a transcript to standard output', async () => {
    const { stdout, stderr, exitCode } = await readFileCommand(
      fixture('llamacpp-b11669-busy.http'),
      undefined,
      nothing(),
    );
    expect(exitCode).toBe(0);
    expect(stdout).toContain('llm_prompt_tokens_total{server="saved",engine="llamacpp"');
    expect(stderr).toContain('is read as llamacpp');
  });

  it('takes standard input for -', async () => {
    const text = readFileSync(fixture('vllm-0.4-v0.http'));
    const { stdout, stderr, exitCode } = await readFileCommand('-', undefined, Readable.from([text]));
    expect([exitCode, stderr.split('\n')[0]]).toEqual([
      0,
      expect.stringContaining('standard input is read as vllm'),
    ]);
    expect(stdout).toContain('llm_requests_running{');
  });

  it('takes the engine it is told for an exposition that names none', async () => {
    const file = saved('odd.prom', 'vllm:num_requests_running 2\n');
    const { stdout } = await readFileCommand(file, 'vllm', nothing());
    expect(stdout).toContain('llm_requests_running{server="saved",engine="vllm"} 2');
  });

  it('tells what was odd, by kind', async () => {
    const file = saved('half.prom', 'vllm:num_requests_running 2\nvllm:num_requests_run');
    const { stderr } = await readFileCommand(file, undefined, nothing());
    expect(stderr).toContain('cut_last_line, 1 times, first: "vllm:num_requests_run"');
  });

  it.each([
    ['a web page', '<html>Welcome to nginx!</html>', 'is not an answer of any engine known'],
    ['metrics of something else', 'node_load1 0.5\n', 'with --engine'],
    ['nothing', '', 'is not an answer of any engine known'],
    ['binary noise', Buffer.from([0xff, 0x00, 0x80, 0x0a]), 'is not an answer of any engine known'],
  ])('says of %s that it is no engine’s', async (name, content, words) => {
    const file = saved(`${name}.prom`, content);
    const { stdout, stderr, exitCode } = await readFileCommand(file, undefined, nothing());
    expect([stdout, exitCode]).toEqual(['', 1]);
    expect(stderr).toContain(file);
    expect(stderr).toContain(words);
  });

  it('refuses what is larger than any answer', async () => {
    const megabyte = Buffer.alloc(1024 ** 2, '# a\n');
    const { stderr, exitCode } = await readFileCommand(
      '-',
      undefined,
      Readable.from(Array.from({ length: 17 }, () => megabyte)),
    );
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('larger than 16 MiB')]);
  });

  it.each([
    ['a file that is not there', 'gone.prom', 'does not exist: is the path right?'],
    ['a folder', '.', 'is a folder: name a file in it'],
  ])('says of %s what to do', async (_title, name, words) => {
    const { stderr, exitCode } = await readFileCommand(path.join(folder, name), undefined, nothing());
    expect(exitCode).toBe(1);
    expect(stderr).toContain(words);
  });
});

const captures = capturesDirectory();
const withCaptures = captures === undefined ? describe.skip : describe;
withCaptures(captures === undefined ? `captures (${capturesReason})` : 'captures', () => {
  it.each(captureFiles('engines'))('%s is normalized, or refused with a reason', async (file) => {
    const { stdout, stderr, exitCode } = await readFileCommand(
      path.join(captures ?? '', 'engines', file),
      undefined,
      nothing(),
    );
    expect(stderr).not.toBe('');
    expect(exitCode === 1 || stdout.includes('llm_up{')).toBe(true);
  });
});
