import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { linesOf } from '../lines-of.ts';
import { readSaved } from '../read-saved.ts';
import { tgi } from './tgi.ts';

const INFO = {
  model_id: 'm',
  max_concurrent_requests: 8,
  max_stop_sequences: 4,
  max_total_tokens: 2048,
  version: '1.4.5',
};

describe('tgi', () => {
  it('is never asked for its health, which may run the model', () => {
    expect(tgi).not.toHaveProperty('health');
    expect(tgi.requests.map(({ path, name }) => (typeof path === 'string' ? path : name))).toEqual([
      '/info',
      '/metrics',
    ]);
  });

  it('reads the info of 1.x, and not that of the embeddings server', async () => {
    expect((await readSaved(JSON.stringify(INFO), 'info.json')).engine).toBe('tgi');
    const embeddings = {
      model_id: 'm',
      max_concurrent_requests: 512,
      max_input_length: 512,
      max_batch_tokens: 16384,
      version: '1.8.0',
    };
    await expect(readSaved(JSON.stringify(embeddings), 'info.json')).rejects.toMatchObject({
      reason: 'not_recognized',
    });
  });

  it('is read on its metrics port, where nothing names the model', async () => {
    const { engine, reading } = await readSaved(
      '# TYPE tgi_queue_size gauge\ntgi_queue_size 3\n',
      'metrics.prom',
    );
    expect(engine).toBe('tgi');
    expect(linesOf(reading, 'llm_requests_waiting')).toEqual(['{} 3']);
  });

  it('owes its latencies once requests have succeeded, and nothing before', async () => {
    const idle = await readSaved('# TYPE tgi_queue_size gauge\ntgi_queue_size 0\n', 'idle.prom');
    expect(idle.reading.missing).toEqual([]);
    const served = await readSaved(
      '# TYPE tgi_request_success counter\ntgi_request_success 1\n',
      'renamed.prom',
    );
    expect(served.reading.missing).toContain('tgi_request_duration');
  });
});

const files = captureFiles('engines/tgi').filter((file) => file.endsWith('.prom'));
(files.length > 0 ? describe : describe.skip)(
  `captures of tgi (${files.length > 0 ? files.length : capturesReason})`,
  () => {
    it('give tokens from the sums of histograms, and no speculation where none is', async () => {
      const file = path.join(capturesDirectory() ?? '', 'engines/tgi/tgi-v3.prom');
      const { reading } = await readSaved(readFileSync(file, 'utf8'), 'tgi-v3.prom');
      expect(reading.missing).toEqual([]);
      expect(linesOf(reading, 'llm_prompt_tokens_total')).toEqual(['{} 662']);
      expect(linesOf(reading, 'llm_generation_tokens_total')).toEqual(['{} 3423']);
      expect(linesOf(reading, 'llm_spec_decode_accepted_tokens_total')).toEqual([]);
    });
  },
);
