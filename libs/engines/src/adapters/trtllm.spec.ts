import { createEngineReader } from '../read-engine.ts';
import { detectEngine } from '../detect.ts';
import type { Get } from '../http-get.ts';
import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';
import { trtllm } from './trtllm.ts';

const MODELS = '{"object":"list","data":[{"id":"qwen","object":"model","owned_by":"tensorrt_llm"}]}';

/** A server that notes what it is asked; its `/metrics` would lose a record by the asking. */
function fakeServer(bodies: Readonly<Record<string, string>>): { get: Get; asked: string[] } {
  const asked: string[] = [];
  const get: Get = (path) => {
    asked.push(path);
    const body = bodies[path];
    return Promise.resolve({ path, status: body === undefined ? 404 : 200, headers: {}, body: body ?? '' });
  };
  return { get, asked };
}

describe('trtllm', () => {
  it('is never asked /metrics, neither to be recognized nor to be read', async () => {
    const { get, asked } = fakeServer({
      '/v1/models': MODELS,
      '/metrics': '[{"iterLatencyMS":7}]',
      '/version': '{"version":"1.2.0"}',
    });
    const { signal } = new AbortController();
    expect(await detectEngine(get, signal)).toMatchObject({ engine: 'trtllm' });
    const read = createEngineReader({
      adapter: trtllm,
      identity: { server: 'one', engine: 'trtllm' },
      url: 'http://one:8000',
      detectedBy: 'a test',
      get,
      now: () => 0,
    });
    expect(await read(signal)).toMatchObject({ up: true, version: '1.2.0', models: ['qwen'] });
    expect(asked).not.toContain('/metrics');
  });

  it.each([
    ['the list of models, where labels say "undefined"', 'undefined', 'qwen'],
    ['the labels, where they say it', 'served-name', 'served-name'],
  ])('takes the name of the model from %s', async (_, label, model) => {
    const exposition = [
      'trtllm_num_requests_running',
      'trtllm_kv_cache_max_blocks',
      'trtllm_kv_cache_tokens_per_block',
    ].map(
      (name) => `# TYPE ${name} gauge\n${name}{engine_type="undefined",model_name="${label}",pid="7"} 10\n`,
    );
    const text = `GET /v1/models\n200\n\n${MODELS}\n\nGET /prometheus/metrics\n200\n\n${exposition.join('')}`;
    const { reading } = await readSaved(text, 'saved.http');
    expect(linesOf(reading, 'llm_requests_running')).toEqual([`{model="${model}"} 10`]);
    expect(linesOf(reading, 'llm_kv_cache_capacity_tokens')).toEqual([`{model="${model}"} 100`]);
  });

  it('adds the tiers of the cache to the cached tokens, not to their total', async () => {
    const text = [
      '# TYPE trtllm_prompt_cached_tokens_total counter',
      'trtllm_prompt_cached_tokens_total{model_name="m"} 90',
      '# TYPE trtllm_prompt_cache_hit_tokens_total counter',
      'trtllm_prompt_cache_hit_tokens_total{model_name="m",cache_level="0",cache_tier="gpu"} 60',
      'trtllm_prompt_cache_hit_tokens_total{model_name="m",cache_level="1",cache_tier="gpu"} 20',
      'trtllm_prompt_cache_hit_tokens_total{model_name="m",cache_level="2",cache_tier="host"} 10',
      '',
    ];
    const both = await readSaved(text.join('\n'), 'tiers.prom');
    expect(linesOf(both.reading, 'llm_prompt_tokens_cached_total')).toEqual([
      '{model="m",source="device"} 80',
      '{model="m",source="host"} 10',
    ]);
    // Before the first hit the tiers have a head and no samples.
    const total = await readSaved([...text.slice(0, 3), ''].join('\n'), 'total.prom');
    expect(linesOf(total.reading, 'llm_prompt_tokens_cached_total')).toEqual([
      '{model="m",source="unknown"} 90',
    ]);
  });
});
