import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promtoolPath, promtoolReason, runPromtoolCheck } from './promtool.ts';

const withPromtool = promtoolPath() === undefined ? describe.skip : describe;
const title = promtoolPath() === undefined ? ` (${promtoolReason})` : '';

withPromtool(`promtool check metrics${title}`, () => {
  it('accepts a family that follows the conventions', () => {
    const text =
      '# HELP llm_requests_total Requests.\n# TYPE llm_requests_total counter\nllm_requests_total 1\n';
    expect(runPromtoolCheck(text)).toEqual({ ok: true, output: '' });
  });

  it('refuses a counter whose name does not end in _total', () => {
    const text = '# HELP llm_requests Requests.\n# TYPE llm_requests counter\nllm_requests 1\n';
    const { ok, output } = runPromtoolCheck(text);
    expect(ok).toBe(false);
    expect(output).toContain('llm_requests');
    expect(output).toContain('_total');
  });

  it('refuses half a line', () => {
    expect(runPromtoolCheck('llm_requests_total{server="a').ok).toBe(false);
  });
});

describe('the search for promtool', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'promtool-'));
    writeFileSync(path.join(folder, 'promtool'), '#!/bin/sh\n');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('takes a program on the search path', () => {
    chmodSync(path.join(folder, 'promtool'), 0o755);
    expect(promtoolPath(`/nowhere${path.delimiter}${folder}`)).toBe(path.join(folder, 'promtool'));
  });

  it('passes over a file that is no program', () => {
    expect(promtoolPath(folder)).not.toBe(path.join(folder, 'promtool'));
  });
});
