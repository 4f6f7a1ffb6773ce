import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';
import { dynamo } from './dynamo.ts';

const WORKER = [
  '# TYPE dynamo_component_inflight_requests gauge',
  'dynamo_component_inflight_requests{dynamo_endpoint="generate",model="m"} 3',
  'dynamo_component_inflight_requests{dynamo_endpoint="load_lora",model="m"} 1',
  '',
].join('\n');

describe('dynamo', () => {
  it('counts a worker’s own requests where its engine does not say', async () => {
    const { engine, reading } = await readSaved(WORKER, 'worker.prom');
    expect(engine).toBe('dynamo');
    expect(linesOf(reading, 'llm_requests_running')).toEqual(['{model="m"} 3']);
  });

  it.each([
    ['vLLM', 'vllm:num_requests_running{engine="0",model_name="m"}'],
    ['SGLang', 'sglang:num_running_reqs{model_name="m",tp_rank="0"}'],
    ['TensorRT-LLM', 'trtllm_num_requests_running{model_name="m"}'],
  ])('believes %s where it does, and adds nothing to it', async (_, point) => {
    const name = point.slice(0, point.indexOf('{'));
    const { engine, reading } = await readSaved(`${WORKER}# TYPE ${name} gauge\n${point} 2\n`, 'worker.prom');
    expect(engine).toBe('dynamo');
    expect(linesOf(reading, 'llm_requests_running')).toEqual(['{model="m"} 2']);
  });

  it('counts output tokens once, as they come where the frontend does so', async () => {
    const sums =
      '# TYPE dynamo_frontend_output_sequence_tokens histogram\ndynamo_frontend_output_sequence_tokens_bucket{model="m",le="+Inf"} 1\ndynamo_frontend_output_sequence_tokens_sum{model="m"} 50\ndynamo_frontend_output_sequence_tokens_count{model="m"} 1\n';
    const live =
      '# TYPE dynamo_frontend_output_tokens_total counter\ndynamo_frontend_output_tokens_total{model="m"} 64\n';
    const older = await readSaved(sums, 'frontend.prom');
    expect(linesOf(older.reading, 'llm_generation_tokens_total')).toEqual(['{model="m"} 50']);
    const newer = await readSaved(sums + live, 'frontend.prom');
    expect(linesOf(newer.reading, 'llm_generation_tokens_total')).toEqual(['{model="m"} 64']);
  });

  it('asks a frontend for its models, and not a worker, which has no such list', async () => {
    const models = '{"object":"list","data":[{"id":"m","object":"object","owned_by":"nvidia"}]}';
    const saved = (exposition: string): string =>
      `GET /metrics\n200\n\n${exposition}\nGET /v1/models\n200\n\n${models}\n`;
    const frontend = await readSaved(
      saved('# TYPE dynamo_frontend_queued_requests gauge\ndynamo_frontend_queued_requests{model="m"} 0\n'),
      'f.http',
    );
    expect(linesOf(frontend.reading, 'llm_model_info')).toEqual(['{model="m"} 1']);
    const worker = await readSaved(saved(WORKER), 'w.http');
    expect(linesOf(worker.reading, 'llm_model_info')).toEqual([]);
  });

  it('does not take the KV cache of one worker for that of all', () => {
    expect(JSON.stringify(dynamo.families)).not.toContain('dynamo_frontend_model_total_kv_blocks');
  });
});
