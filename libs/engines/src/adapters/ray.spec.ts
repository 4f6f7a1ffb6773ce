import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { rulesOf } from '../apply-rules.ts';
import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';
import { vllmFamilies } from './vllm.ts';

function family(name: string, type: string, ...points: string[]): string {
  return `# TYPE ${name} ${type}\n${points.map((point) => `${name}${point}\n`).join('')}`;
}

const ONE = 'ReplicaId="a1",engine="0",model_name="m"';
const OTHER = 'ReplicaId="b2",engine="0",model_name="n"';
const CACHE = family(
  'ray_vllm_cache_config_info',
  'gauge',
  '{block_size="16",num_gpu_blocks="100",engine="0"} 1',
);

describe('ray', () => {
  it.each([
    ['a colon', family('ray_vllm:prompt_tokens_total', 'counter', `{${ONE}} 5`)],
    ['an underscore', family('ray_vllm_prompt_tokens_total', 'counter', `{${ONE}} 5`)],
    ['no _total', family('ray_vllm_prompt_tokens', 'gauge', `{${ONE}} 5`)],
    [
      '_total and without it at once',
      family('ray_vllm_prompt_tokens', 'gauge', `{${ONE}} 5`) +
        family('ray_vllm_prompt_tokens_total', 'counter', `{${ONE}} 5`),
    ],
  ])('reads a counter with %s once', async (_, text) => {
    const { engine, reading } = await readSaved(text, 'node.prom');
    expect(engine).toBe('ray');
    expect(linesOf(reading, 'llm_prompt_tokens_total')).toEqual(['{model="m"} 5']);
  });

  it.each(['', '_total'])('counts cached tokens once, by source and as hits, with %p', async (suffix) => {
    const source = `{${ONE},source="local_cache_hit"} 100`;
    const { reading } = await readSaved(
      family(`ray_vllm_prompt_tokens_by_source${suffix}`, 'gauge', source) +
        family(`ray_vllm_prefix_cache_hits${suffix}`, 'gauge', `{${ONE}} 100`),
      'node.prom',
    );
    expect(linesOf(reading, 'llm_prompt_tokens_cached_total')).toEqual(['{model="m",source="device"} 100']);
  });

  it('reads no rule of vLLM that adds families, of which Ray might print both names', () => {
    const adding = Object.values(vllmFamilies)
      .flatMap((rules) => rulesOf(rules))
      .filter(({ plus }) => plus !== undefined);
    expect(adding).toEqual([]);
  });

  it('tells the size of the KV cache of a lone replica, and of none where it cannot tell which', async () => {
    const lone = family('ray_vllm_num_requests_running', 'gauge', `{${ONE}} 1`);
    const alone = await readSaved(lone + CACHE, 'node.prom');
    expect(linesOf(alone.reading, 'llm_kv_cache_capacity_tokens')).toHaveLength(1);
    expect(linesOf(alone.reading, 'llm_requests_running')).toEqual(['{model="m"} 1']);
    const two = family('ray_vllm_num_requests_running', 'gauge', `{${ONE}} 1`, `{${OTHER}} 2`);
    const both = await readSaved(two + CACHE, 'node.prom');
    expect(linesOf(both.reading, 'llm_kv_cache_capacity_tokens')).toEqual([]);
    expect(linesOf(both.reading, 'llm_requests_running')).toEqual([
      '{model="m",replica="a1"} 1',
      '{model="n",replica="b2"} 2',
    ]);
  });
});

const files = captureFiles('engines/ray').filter((file) => file.endsWith('.prom'));
(files.length > 0 ? describe : describe.skip)(
  `captures of ray (${files.length > 0 ? files.length : capturesReason})`,
  () => {
    it('of a node without a model are up, and say nothing of an engine', async () => {
      const file = path.join(capturesDirectory() ?? '', 'engines/ray/ray-worker.prom');
      const { engine, reading } = await readSaved(readFileSync(file, 'utf8'), 'ray-worker.prom');
      expect({
        engine,
        up: reading.up,
        state: reading.state,
        version: reading.version,
        missing: reading.missing,
      }).toEqual({
        engine: 'ray',
        up: true,
        state: 'unknown',
        version: '2.6.1',
        missing: [],
      });
      // The process that prints this is the node's agent.
      expect(linesOf(reading, 'llm_engine_start_time_seconds')).toEqual([]);
    });
  },
);
