import { startFakeServer } from '@llm-monitor/testing';

import { detectEngine } from '../detect.ts';
import { createGet } from '../http-get.ts';
import { createEngineReader } from '../read-engine.ts';

import { litellm } from './litellm.ts';

const METRICS = '# TYPE litellm_spend_metric_total counter\nlitellm_spend_metric_total{model="m"} 1.5\n';

it('is found through its redirect, and read without it and without its costly /health', async () => {
  const server = await startFakeServer({
    '/metrics': { status: 307, headers: { location: '/metrics/' } },
    '/metrics/': METRICS,
    '/health/liveliness': '"I\'m alive!"',
  });
  try {
    const get = createGet({ url: server.url });
    const signal = AbortSignal.timeout(10_000);
    expect(await detectEngine(get, signal)).toEqual({ engine: 'litellm', by: '/metrics has litellm_*' });
    const before = server.requests.length;
    const read = createEngineReader({
      adapter: litellm,
      identity: { server: 's', engine: 'litellm' },
      url: server.url,
      detectedBy: 'test',
      get,
      now: () => 0,
    });
    expect(await read(signal)).toMatchObject({ up: true, state: 'ready', errors: [] });
    expect(server.requests.slice(before)).toEqual(['GET /metrics/', 'GET /health/liveliness']);
    expect(server.requests).not.toContain('GET /health');
  } finally {
    await server.close();
  }
});
