import { parseExposition } from './parse-exposition.ts';
import { createSelfMetrics, renderWith, selfFamilies } from './self-metrics.ts';

const create = (): ReturnType<typeof createSelfMetrics> =>
  createSelfMetrics({ app: 'llm-exporter', version: '1.2.3' });

async function series(metrics: ReturnType<typeof createSelfMetrics>): Promise<Record<string, number>> {
  const families = (await metrics.families()).filter(({ name }) => name.startsWith('llm_monitor_'));
  return Object.fromEntries(
    families.flatMap(({ name, points }) =>
      points.flatMap((point) =>
        'value' in point
          ? [[[name.slice('llm_monitor_'.length), ...Object.values(point.labels)].join(' '), point.value]]
          : [],
      ),
    ),
  );
}

describe('createSelfMetrics', () => {
  it('registers what the table declares, and nothing else of that prefix', async () => {
    const metrics = create();
    metrics.collectors.succeeded('vllm', 0.1, 1000);
    metrics.collectors.failed('vllm', 'timeout', 10);
    metrics.countDroppedSeries('vllm', 'budget', 5);
    const families = (await metrics.families()).filter(({ name }) => name.startsWith('llm_monitor_'));
    expect(
      families.map(({ name, type, help, points }) => ({
        name,
        type,
        help,
        labels: Object.keys(points[0]?.labels ?? {}),
      })),
    ).toEqual(selfFamilies.map(({ name, type, help, labels }) => ({ name, type, help, labels })));
    for (const family of selfFamilies) {
      expect(family.help).toMatch(/^[A-Z].*\.$/);
      if ('unit' in family) expect(family.name).toMatch(new RegExp(`_${family.unit}$`));
      expect(family.name.endsWith('_total')).toBe(family.type === 'counter');
    }
  });

  it('has the process’s own metrics under prom-client’s names', async () => {
    const names = (await create().families()).map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['process_cpu_seconds_total', 'nodejs_heap_size_used_bytes']),
    );
  });

  it('keeps the last success over a failure, and forgets all of a collector that is gone', async () => {
    const metrics = create();
    metrics.collectors.succeeded('vllm', 0.25, 1000);
    metrics.collectors.failed('vllm', 'timeout', 10);
    metrics.collectors.failed('vllm', 'timeout', 10);
    metrics.collectors.failed('vllm', 'unreachable', 1);
    metrics.collectors.succeeded('ollama', 0.5, 1001);
    metrics.countDroppedSeries('vllm', 'budget', 5);
    metrics.countDroppedSeries('vllm', 'budget', 2);
    const ollama = {
      'build_info llm-exporter 1.2.3': 1,
      'collector_success ollama': 1,
      'collector_duration_seconds ollama': 0.5,
      'collector_last_success_timestamp_seconds ollama': 1001,
    };
    expect(await series(metrics)).toEqual({
      ...ollama,
      'collector_success vllm': 0,
      'collector_duration_seconds vllm': 1,
      'collector_last_success_timestamp_seconds vllm': 1000,
      'collector_errors_total vllm timeout': 2,
      'collector_errors_total vllm unreachable': 1,
      'dropped_series_total vllm budget': 7,
    });
    metrics.collectors.forget('vllm');
    expect(await series(metrics)).toEqual(ollama);
  });
});

describe('renderWith', () => {
  const ours = [{ name: 'llm_up', type: 'gauge' as const, help: 'Up.', points: [{ labels: {}, value: 1 }] }];

  it.each(['text', 'openmetrics'] as const)('writes both as one %s', async (format) => {
    const metrics = create();
    metrics.collectors.failed('vllm', 'timeout', 1);
    // prom-client's own OpenMetrics output renames counters for good: the second text must be as the first.
    await renderWith(ours, metrics, 'openmetrics');
    const text = [...(await renderWith(ours, metrics, format))].join('');
    expect(text.startsWith('# HELP llm_up Up.\n# TYPE llm_up gauge\nllm_up 1\n')).toBe(true);
    expect(text.match(/# EOF/g)?.length ?? 0).toBe(format === 'text' ? 0 : 1);
    expect(text.endsWith(format === 'text' ? '\n' : '\n# EOF\n')).toBe(true);
    expect(text).toContain(
      `# TYPE llm_monitor_collector_errors${format === 'text' ? '_total' : ''} counter\n`,
    );
    const { families, issues } = parseExposition(text, { format });
    expect(issues).toEqual([]);
    expect(families.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['llm_up', 'llm_monitor_build_info', 'process_cpu_seconds_total']),
    );
  });
});
