import { Registry } from 'prom-client';

import { createHttpMetrics, httpFamilies } from './http-families.ts';
import { ask, createHold, startTestApp } from './test-app.ts';

it('registers exactly the families of the table, as the table says', async () => {
  const registry = new Registry();
  createHttpMetrics(registry);
  const registered = await registry.getMetricsAsJSON();
  expect(registered.map(({ name, help, type }) => ({ name, help, type }))).toEqual(
    httpFamilies.map(({ name, help, type }) => ({ name, help, type })),
  );
});

it('labels its series with the labels of the table', async () => {
  const registry = new Registry();
  const metrics = createHttpMetrics(registry);
  metrics.started();
  metrics.ended({ pattern: '/metrics', method: 'GET', status: 200, durationSeconds: 0.2 });
  for (const { name, labels } of httpFamilies) {
    const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {};
    const used = new Set(
      values.flatMap((value) => Object.keys(value.labels)).filter((label) => label !== 'le'),
    );
    expect([...used].sort()).toEqual([...labels].sort());
  }
});

it.each(httpFamilies)('$name is named by its type and unit', ({ name, type, unit }) => {
  expect(name).toMatch(/^llm_monitor_http_/);
  expect(name.endsWith('_total')).toBe(type === 'counter');
  if (unit !== undefined) expect(name.endsWith(`_${unit}`)).toBe(true);
});

describe('counting', () => {
  it('uses the pattern of a route, never the path that was asked', async () => {
    const { server, registry } = await startTestApp({
      routes: (router) => router.get('/engines/:name', (ctx) => void (ctx.body = 'x')),
    });
    for (const path of [
      '/engines/a',
      '/engines/b',
      '/engines/%zz',
      '/secret-1',
      '/secret-2',
      '/metrics?x=1',
    ]) {
      await ask(server.url + path);
    }
    await ask(`${server.url}/metrics`, { method: 'POST' });
    await ask(`${server.url}/metrics`, { method: 'PROPFIND' });
    await server.stop(1);
    const text = await registry.metrics();
    const counts = text.split('\n').filter((line) => line.startsWith('llm_monitor_http_requests_total{'));
    expect(counts.sort()).toEqual([
      'llm_monitor_http_requests_total{path="/engines/:name",method="GET",status="200"} 3',
      'llm_monitor_http_requests_total{path="/metrics",method="GET",status="200"} 1',
      'llm_monitor_http_requests_total{path="/metrics",method="POST",status="405"} 1',
      'llm_monitor_http_requests_total{path="/metrics",method="other",status="405"} 1',
      'llm_monitor_http_requests_total{path="other",method="GET",status="404"} 2',
    ]);
    expect(text).toContain('llm_monitor_http_request_duration_seconds_count{path="/metrics"} 3');
    expect(text).toContain('llm_monitor_http_requests_in_flight 0');
    expect(text).not.toContain('secret');
  });

  it('sees a request in flight', async () => {
    const hold = createHold<string>();
    const { server, registry } = await startTestApp({
      metrics: async () => {
        hold.reach();
        return { contentType: 'text/plain', body: await hold.promise };
      },
    });
    const answer = ask(`${server.url}/metrics`);
    await hold.reached;
    expect(await registry.metrics()).toContain('llm_monitor_http_requests_in_flight 1');
    hold.release('');
    await answer;
    await server.stop(1);
    expect(await registry.metrics()).toContain('llm_monitor_http_requests_in_flight 0');
  });
});
