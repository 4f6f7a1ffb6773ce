import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';
import { sglang } from './sglang.ts';

const SCHEDULER = [
  '# TYPE sglang:num_running_reqs gauge',
  'sglang:num_running_reqs{model_name="m"} 0',
  '# TYPE sglang:token_usage gauge',
  'sglang:token_usage{model_name="m"} 0',
].join('\n');

function serverInfo(facts: object): string {
  return JSON.stringify({ model_path: 'm', internal_states: [{}], version: '0.5.6', ...facts });
}

describe('sglang', () => {
  it('is never asked a path that makes it generate', () => {
    const paths = [...sglang.requests.map(({ path }) => path), ...sglang.fingerprints, sglang.health];
    expect(JSON.stringify(paths)).not.toMatch(/"\/health/);
  });

  it.each([
    [
      'the schedulers, one each',
      {
        internal_states: [
          { effective_max_running_requests_per_dp: 48 },
          { effective_max_running_requests_per_dp: 48 },
        ],
      },
      ['{model="m"} 96'],
    ],
    ['the argument, where schedulers do not say', { max_running_requests: 64 }, ['{model="m"} 64']],
    ['nobody, with the argument left to SGLang', { max_running_requests: null }, []],
    [
      'one scheduler of two only',
      { internal_states: [{ effective_max_running_requests_per_dp: 48 }, {}] },
      [],
    ],
  ])('takes the capacity from %s', async (_, facts, expected) => {
    const text = `GET /metrics\n200\n\n${SCHEDULER}\n\nGET /server_info\n200\n\n${serverInfo(facts)}\n`;
    const { reading } = await readSaved(text, 'saved.http');
    expect(linesOf(reading, 'llm_requests_capacity')).toEqual(expected);
  });

  it('tells vLLM in development mode, which has /server_info too, from itself', async () => {
    await expect(readSaved('{"vllm_config":{"model":"m"}}', 'server_info.json')).rejects.toMatchObject({
      reason: 'not_recognized',
    });
    expect((await readSaved(serverInfo({}), 'server_info.json')).engine).toBe('sglang');
  });

  const RESPONSES = [
    ['/v1/chat/completions', '400', 3],
    ['/generate', '503', 2],
    ['/v1/completions', '499', 5],
    ['/v1/models', '404', 70],
    ['Unknown', '404', 90],
    ['/metrics', '499', 8],
    ['/v1/chat/completions', '200', 400],
  ].map(
    ([endpoint, status, count]) =>
      `sglang:http_responses_total{endpoint="${endpoint}",method="POST",status_code="${status}"} ${count}`,
  );

  it.each([
    ['by status, where SGLang does not count them', [], 5],
    [
      'as SGLang counts them, not once more by status',
      ['# TYPE sglang:num_aborted_requests_total counter', 'sglang:num_aborted_requests_total{} 6'],
      6,
    ],
  ])('counts failures of the routes that generate; aborted ones %s', async (_, counted, aborted) => {
    const lines = [...counted, '# TYPE sglang:http_responses_total counter', ...RESPONSES, ''];
    const { reading } = await readSaved(lines.join('\n'), 'responses.prom');
    expect(linesOf(reading, 'llm_request_errors_total').sort()).toEqual([
      `{error_type="aborted"} ${aborted}`,
      '{error_type="overloaded"} 2',
      '{error_type="validation"} 3',
    ]);
  });

  it.each([
    ['/server_info', 'newer builds'],
    ['/get_server_info', 'older builds'],
  ])('says its version at %s of %s, and the other path is no error', async (path) => {
    const list = '{"object":"list","data":[{"id":"m","object":"model","owned_by":"sglang"}]}';
    const text = `GET /metrics\n200\n\n${SCHEDULER}\n\nGET ${path}\n200\n\n${serverInfo({})}\n\nGET /v1/models\n200\n\n${list}\n`;
    const { reading } = await readSaved(text, 'saved.http');
    expect([reading.version, reading.errors]).toEqual(['0.5.6', []]);
  });

  it('counts a request with a priority once', async () => {
    const points = ['{priority=""} 7', '{priority="0"} 5', '{priority="9"} 2'].map(
      (point) => `sglang:num_running_reqs${point}`,
    );
    const { reading } = await readSaved(
      `# TYPE sglang:num_running_reqs gauge\n${points.join('\n')}\n`,
      'priorities.prom',
    );
    expect(linesOf(reading, 'llm_requests_running')).toEqual(['{} 7']);
  });
});

const files = captureFiles('engines/sglang').filter((file) => file.endsWith('.prom'));
(files.length > 0 ? describe : describe.skip)(
  `captures of sglang (${files.length > 0 ? files.length : capturesReason})`,
  () => {
    const read = (file: string) =>
      readSaved(readFileSync(path.join(capturesDirectory() ?? '', 'engines/sglang', file), 'utf8'), file);

    it('count each value of two tensor ranks once', async () => {
      const { reading } = await read('generated/sglang-2026-07-tp2-all-schedulers.prom');
      expect(linesOf(reading, 'llm_requests_running')).toEqual([
        '{model="meta-llama/Llama-3.1-8B-Instruct"} 9',
      ]);
      expect(linesOf(reading, 'llm_kv_cache_capacity_tokens')).toEqual([
        '{model="meta-llama/Llama-3.1-8B-Instruct"} 430839',
      ]);
    });

    it.each(files)('%s is recognized, and lacks nothing that its version has', async (file) => {
      const { engine, reading } = await read(file);
      expect({ engine, missing: reading.missing, issues: reading.issues }).toEqual({
        engine: 'sglang',
        missing: [],
        issues: [],
      });
    });
  },
);
