import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';

const RELEASE = 'GET /v1/version\n200\n\n{"release":"1.14.0","api":"1.0.0"}\n\n';

describe('nim', () => {
  it.each([
    ['vLLM', 'vllm:num_requests_running{engine="0",model_name="m"}'],
    ['TensorRT-LLM', 'trtllm_num_requests_running{engine_type="trtllm",model_name="m"}'],
  ])('of later releases is read by the names of %s inside', async (_, point) => {
    const name = point.slice(0, point.indexOf('{'));
    const text = `${RELEASE}GET /v1/metrics\n200\n\n# TYPE ${name} gauge\n${point} 4\n`;
    const { engine, reading } = await readSaved(text, 'saved.http');
    expect([engine, reading.version]).toEqual(['nim', '1.14.0']);
    expect(linesOf(reading, 'llm_requests_running')).toEqual(['{model="m"} 4']);
  });

  it.each([
    ['a release before 1.8, at /metrics', '/metrics', []],
    ['a later one, at /v1/metrics', '/v1/metrics', []],
    ['one whose metrics are nowhere', '/elsewhere', ['not_found']],
  ])('is read of %s', async (_, path, errors) => {
    const metrics = `GET ${path}\n200\n\n# TYPE num_requests_running gauge\nnum_requests_running 4\n\n`;
    const list = 'GET /v1/models\n200\n\n{"object":"list","data":[]}\n';
    const { reading } = await readSaved(`${RELEASE}${metrics}${list}`, 'saved.http');
    expect(reading.errors.map(({ reason }) => reason)).toEqual(errors);
    expect(linesOf(reading, 'llm_requests_running')).toEqual(errors.length > 0 ? [] : ['{} 4']);
  });

  it('of a release that is newer than some vLLM version does not owe what that version prints', async () => {
    const text = `${RELEASE}GET /v1/metrics\n200\n\n# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 4\n`;
    const { missing } = (await readSaved(text, 'saved.http')).reading;
    expect(missing).toContain('vllm:num_requests_waiting');
    expect(missing).not.toContain('vllm:request_time_per_output_token_seconds');
    expect(missing).not.toContain('num_requests_waiting');
  });
});

const files = captureFiles('engines/nim').filter((file) => file.endsWith('.prom'));
(files.length > 0 ? describe : describe.skip)(
  `captures of nim (${files.length > 0 ? files.length : capturesReason})`,
  () => {
    it('have one gap between tokens less than tokens, for each request', async () => {
      const file = path.join(capturesDirectory() ?? '', 'engines/nim/nim-1.x-llama-3.1-8b.prom');
      const { engine, reading } = await readSaved(readFileSync(file, 'utf8'), 'nim.prom');
      expect([engine, reading.missing]).toEqual(['nim', []]);
      expect(linesOf(reading, 'llm_inter_token_latency_seconds').at(-1)).toBe(
        '_count{model="meta/llama-3.1-8b-instruct"} 169',
      );
      expect(linesOf(reading, 'llm_generation_tokens_total')).toEqual([
        '{model="meta/llama-3.1-8b-instruct"} 174',
      ]);
    });
  },
);
