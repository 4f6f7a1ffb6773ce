import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';

function successes(models: Readonly<Record<string, number>>): string {
  const points = Object.entries(models).map(
    ([model, count]) => `nv_inference_request_success{model="${model}",version="1"} ${count}`,
  );
  return `# TYPE nv_inference_request_success counter\n${points.join('\n')}\n`;
}

describe('triton', () => {
  it.each([
    [
      'of a pipeline, not of its steps',
      { ensemble: 9, preprocessing: 9, tensorrt_llm: 0, postprocessing: 9 },
      ['ensemble 9'],
    ],
    [
      'of both pipelines',
      { ensemble: 9, tensorrt_llm_bls: 4, preprocessing: 13, tensorrt_llm: 0 },
      ['ensemble 9', 'tensorrt_llm_bls 4'],
    ],
    ['of the engine, where it stands alone', { tensorrt_llm: 5 }, ['tensorrt_llm 5']],
    [
      'of other models beside a pipeline',
      { ensemble: 9, tensorrt_llm: 0, reranker: 3 },
      ['ensemble 9', 'reranker 3'],
    ],
    ['of models that only look like steps', { preprocessing: 2, resnet: 3 }, ['preprocessing 2', 'resnet 3']],
  ])('counts requests %s', async (_, models, expected) => {
    const { reading } = await readSaved(successes(models), 'metrics.prom');
    expect(linesOf(reading, 'llm_requests_finished_total')).toEqual(
      expected.map(
        (each) => `{model="${each.split(' ')[0] ?? ''}",finish_reason="all"} ${each.split(' ')[1] ?? ''}`,
      ),
    );
  });

  it('derives the share of the KV cache in use where an older backend does not print it', async () => {
    const blocks = ['max"} 400', 'free"} 300', 'used"} 100', 'tokens_per"} 64'].map(
      (block) =>
        `nv_trt_llm_kv_cache_block_metrics{model="tensorrt_llm",version="1",kv_cache_block_type="${block}`,
    );
    const text = `# TYPE nv_trt_llm_kv_cache_block_metrics gauge\n${blocks.join('\n')}\n`;
    const { reading } = await readSaved(text, 'metrics.prom');
    expect(linesOf(reading, 'llm_kv_cache_usage_ratio')).toEqual([
      '{model="tensorrt_llm",kind="device"} 0.25',
    ]);
    expect(linesOf(reading, 'llm_kv_cache_capacity_tokens')).toEqual(['{model="tensorrt_llm"} 25600']);
    expect(linesOf(reading, 'llm_kv_cache_used_tokens')).toEqual(['{model="tensorrt_llm"} 6400']);
  });

  it.each([
    ['200', 'ready'],
    ['400', 'loading'],
    ['503', 'loading'],
    ['404', 'unknown'],
  ])('is, when readiness on the HTTP port answers %s, %s', async (status, state) => {
    const metadata = 'GET /v2\n200\n\n{"name":"triton","version":"2.60.0"}\n\n';
    const text = `${metadata}GET /v2/health/ready\n${status}\n\n`;
    const { reading } = await readSaved(text, 'saved.http');
    expect([reading.up, reading.state, reading.version]).toEqual([true, state, '2.60.0']);
  });

  it('is up, in a state unknown, at its metrics port, which answers 400 to all but metrics', async () => {
    const refusals = ['/v2', '/v2/health/ready'].map((path) => `GET ${path}\n400\n\n`);
    const text = `GET /metrics\n200\n\n${successes({ m: 1 })}\n${refusals.join('')}`;
    const { reading } = await readSaved(text, 'saved.http');
    expect([reading.up, reading.state, reading.errors]).toEqual([true, 'unknown', []]);
    expect(linesOf(reading, 'llm_ready')).toEqual([]);
  });

  it('is not up where all that is left on its HTTP port is another server, which answers 400', async () => {
    const text = ['/metrics', '/v2', '/v2/health/ready'].map((path) => `GET ${path}\n400\n\n`).join('');
    const { reading } = await readSaved(text, 'saved.http', 'triton');
    expect(reading.up).toBe(false);
  });

  it('with its vLLM backend is Triton, not vLLM', async () => {
    const text = `${successes({ m: 1 })}# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model="m",version="1"} 2\n`;
    const { engine, reading } = await readSaved(text, 'metrics.prom');
    expect(engine).toBe('triton');
    expect(linesOf(reading, 'llm_requests_running')).toEqual(['{model="m"} 2']);
  });
});
