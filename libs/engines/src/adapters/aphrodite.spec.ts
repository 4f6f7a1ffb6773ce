import { readSaved } from '../read-saved.ts';

it('owes nothing that vLLM has only since some version: its own versions are counted otherwise', async () => {
  const names = [
    'num_requests_running',
    'num_requests_waiting',
    'gpu_cache_usage_perc',
    'num_preemptions_total',
    'prompt_tokens_total',
    'generation_tokens_total',
    'request_success_total',
    'request_prompt_tokens',
    'request_generation_tokens',
    'time_to_first_token_seconds',
    'time_per_output_token_seconds',
    'e2e_request_latency_seconds',
  ];
  const metrics = names.map((name) => `# TYPE aphrodite:${name} unknown\naphrodite:${name} 1\n`).join('');
  const { engine, reading } = await readSaved(
    `GET /metrics\n200 text/plain\n\n${metrics}\nGET /version\n200 application/json\n\n{"version":"0.11.0"}\n`,
    'saved',
  );
  expect(engine).toBe('aphrodite');
  expect(reading.version).toBe('0.11.0');
  expect(reading.missing).toEqual([]);
});
