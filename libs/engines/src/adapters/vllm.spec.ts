import { readSaved } from '../read-saved.ts';
import type { EngineReading } from '../reading.ts';
import { modelListOf } from './vllm.ts';

async function read(lines: string): Promise<EngineReading> {
  const running = 'vllm:num_requests_running{model_name="m",engine="0"} 1\n';
  return (await readSaved(`${running}${lines}\n`, 'saved', 'vllm')).reading;
}

function samples({ families }: EngineReading, name: string): string[] {
  return (families.find((family) => family.name === name)?.points ?? []).flatMap(({ labels, ...point }) => {
    const { server: _server, engine: _engine, ...own } = labels;
    return 'value' in point ? [`${Object.values(own).join(' ')} ${point.value}`] : [];
  });
}

describe('the size of the KV cache', () => {
  it.each([
    ['as it says', 'kv_cache_size_tokens="5000",block_size="16",num_gpu_blocks="300"', ['m 5000']],
    [
      'as blocks times their size',
      'kv_cache_size_tokens="None",block_size="16",num_gpu_blocks="300"',
      ['m 4800'],
    ],
    ['unknown while the blocks are not counted', 'block_size="16",num_gpu_blocks="None"', []],
  ])('%s', async (_, labels, expected) => {
    const reading = await read(`vllm:cache_config_info{${labels},engine="0"} 1`);
    expect(samples(reading, 'llm_kv_cache_capacity_tokens')).toEqual(expected);
  });
});

describe('LoRA adapters', () => {
  const info = (running: string, waiting: string, time: number): string =>
    `vllm:lora_requests_info{max_lora="2",running_lora_adapters="${running}",waiting_lora_adapters="${waiting}"} ${time}\n`;

  it('the newest state alone is true, wherever it stands', async () => {
    const reading = await read(info('old', '', 100) + info('a, b', 'c', 300) + info('older', 'old', 50));
    expect(samples(reading, 'llm_lora_requests')).toEqual(['a running 1', 'b running 1', 'c waiting 1']);
    expect(samples(reading, 'llm_lora_adapters_max')).toEqual(['m 2']);
  });

  it('none at work is none', async () => {
    const reading = await read(info('a', '', 100) + info('', '', 200));
    expect(samples(reading, 'llm_lora_requests')).toEqual([]);
  });
});

it.each([
  ['awake', 'unknown'],
  ['weights_offloaded', 'sleeping'],
  ['discard_all', 'sleeping'],
])('with sleep_state %s it is %s', async (sleepState, expected) => {
  expect((await read(`vllm:engine_sleep_state{sleep_state="${sleepState}"} 1`)).state).toBe(expected);
});

it('counts failed requests of the routes that generate, not probes of other paths', async () => {
  const reading = await read(`http_requests_total{handler="/v1/chat/completions",status="4xx"} 3
http_requests_total{handler="/v1/chat/completions",status="2xx"} 90
http_requests_total{handler="/v1/completions",status="4xx"} 2
http_requests_total{handler="none",status="4xx"} 50
http_requests_total{handler="/metrics",status="5xx"} 7`);
  expect(samples(reading, 'llm_request_errors_total')).toEqual(['rejected 5']);
});

it('does not take blocks for tokens: gpu_prefix_cache_hits alone is not read', async () => {
  const reading = await read(
    '# TYPE vllm:gpu_prefix_cache_hits_total counter\nvllm:gpu_prefix_cache_hits_total 5',
  );
  expect(samples(reading, 'llm_prompt_tokens_cached_total')).toEqual([]);
});

it('says what it still owes when only the web server prints (--disable-log-stats)', async () => {
  const { reading } = await readSaved(
    '# TYPE http_requests_total counter\nhttp_requests_total{handler="/metrics",status="2xx"} 1\n',
    'saved',
    'vllm',
  );
  expect(reading.up).toBe(true);
  expect(reading.missing).toContain('vllm:num_requests_running');
});

describe('lists of models', () => {
  const list = (...owners: string[]) => ({
    object: 'list',
    data: owners.map((owner) => ({ id: 'm', object: 'model', owned_by: owner })),
  });

  it.each([
    ['of its own', list('vllm'), true],
    ['with a LoRA adapter', list('vllm', 'vllm'), true],
    ['with nothing in it', list(), true],
    ['of another engine', list('llamacpp'), false],
    ['of a gateway in front of it and another', list('vllm', 'openai'), false],
    ['of nobody', { object: 'list', data: [{ id: 'm' }] }, false],
    ['that is none', { data: [] }, false],
  ])('%s', (_, value, expected) => {
    expect(modelListOf('vllm')(value)).toBe(expected);
  });

  it.each(['vllm', 'lmdeploy', 'aphrodite', 'trtllm'] as const)(
    '%s takes no model from the list of another engine',
    async (engine) => {
      const text = `GET /v1/models\n200\n\n${JSON.stringify(list('somebody'))}\n`;
      const { reading } = await readSaved(text, 'saved.http', engine);
      expect(reading.models).toEqual([]);
      expect(reading.errors.map(({ reason }) => reason)).toContain('not_recognized');
    },
  );
});
