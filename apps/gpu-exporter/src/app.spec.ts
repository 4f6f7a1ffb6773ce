import type { GpuSnapshot } from '@llm-monitor/gpus';
import { promtoolPath, promtoolReason, runPromtoolCheck } from '@llm-monitor/testing';

import type { GpusView } from './gpus-view.ts';
import { startTestExporter, type TestExporter } from './test-exporter.ts';
import {
  APU,
  backendState,
  createFakeWatch,
  HUNG,
  LOST_GPU,
  snapshotOf,
  VLLM_GPU,
  type FakeWatch,
} from './test-gpus.ts';

const exporters: TestExporter[] = [];
afterEach(async () => {
  await Promise.all(exporters.splice(0).map(({ exporter }) => exporter.stop(0)));
});

async function start(
  snapshot: GpuSnapshot = snapshotOf(),
  variables: Readonly<Record<string, string>> = {},
): Promise<TestExporter & { watch: FakeWatch }> {
  const watch = createFakeWatch(snapshot, ['the kernel log may not be read']);
  const exporter = await startTestExporter(watch, variables);
  exporters.push(exporter);
  return { ...exporter, watch };
}

const HTML = { accept: 'text/html' };
const NO_GPU = snapshotOf({ gpus: [], backends: [], nothing: 'no NVIDIA or AMD GPU on the PCI bus' });

describe('/metrics', () => {
  it('speaks both formats, and names every family once', async () => {
    const { get } = await start(snapshotOf({ gpus: [VLLM_GPU, LOST_GPU] }));
    const text = await get('/metrics');
    expect(text.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const heads = (await text.text()).split('\n').filter((line) => line.startsWith('# TYPE '));
    expect(new Set(heads).size).toBe(heads.length);
    expect(heads).toContain('# TYPE gpu_up gauge');
    expect(heads).toContain('# TYPE gpu_energy_joules_total counter');
    expect(heads).toContain('# TYPE llm_monitor_build_info gauge');
    const open = await get('/metrics', { accept: 'application/openmetrics-text; version=1.0.0' });
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text');
    expect(await open.text()).toMatch(/\n# EOF\n$/);
  });

  it('gives each client a window of its own, told apart by address, user agent and ?client=', async () => {
    const { get, watch } = await start();
    await get('/metrics', { 'user-agent': 'Prometheus/3.5' });
    await get('/metrics', { 'user-agent': 'Prometheus/3.5' });
    await get('/metrics', { 'user-agent': 'vmagent' });
    await get('/metrics?client=b', { 'user-agent': 'Prometheus/3.5' });
    expect(watch.clients).toEqual([
      '127.0.0.1 Prometheus/3.5',
      '127.0.0.1 Prometheus/3.5',
      '127.0.0.1 vmagent',
      '127.0.0.1 Prometheus/3.5 b',
    ]);
  });

  it('moves no window for a page', async () => {
    const { get, watch } = await start();
    for (const path of ['/', '/gpus', '/-/ready']) await (await get(path, HTML)).text();
    expect(watch.clients).toEqual([]);
  });

  it('has no series left of a GPU that is gone', async () => {
    const { scrape, watch } = await start();
    expect((await scrape()).text).toContain(VLLM_GPU.reading.uuid);
    watch.set(NO_GPU);
    expect((await scrape()).text).not.toContain(VLLM_GPU.reading.uuid);
  });

  it.each([
    [{}, undefined],
    [{ EXPECTED_DEVICES: '8' }, 'gpu_expected_devices 8\n'],
  ])('with %j says how many GPUs there should be', async (variables, expected) => {
    const { text } = await (await start(NO_GPU, variables)).scrape();
    if (expected === undefined) expect(text).not.toContain('gpu_expected_devices');
    else expect(text).toContain(expected);
  });

  it('shows as many processes as the settings allow, and counts the others', async () => {
    const { scrape } = await start(snapshotOf(), { MAX_PROCESSES_PER_GPU: '1' });
    await scrape();
    const { text } = await scrape();
    expect(text).toMatch(/gpu_process_info\{.*pid="4321".*engine="vllm"/);
    expect(text).not.toContain('pid="99"');
    expect(text).toContain('llm_monitor_dropped_series_total{source="nvml",reason="budget"}');
    const none = await (await start(snapshotOf(), { MAX_PROCESSES_PER_GPU: '0' })).scrape();
    expect(none.text).not.toContain('gpu_process_info');
  });

  it('never tells the arguments of a process, which may hold a key', async () => {
    const { scrape, get } = await start();
    const everything = [
      (await scrape()).text,
      await (await get('/gpus')).text(),
      await (await get('/gpus', HTML)).text(),
      await (await get('/', HTML)).text(),
    ].join('\n');
    expect(everything).toContain('meta-llama/Llama-3.1-70B');
    expect(everything).not.toContain('hunter2');
  });

  (promtoolPath() === undefined ? it.skip : it)(
    `is accepted by promtool${promtoolPath() === undefined ? ` (${promtoolReason})` : ''}`,
    async () => {
      const { scrape } = await start(
        snapshotOf({
          gpus: [VLLM_GPU, LOST_GPU, APU],
          backends: [HUNG, backendState({ backend: 'amdgpu' })],
        }),
        { EXPECTED_DEVICES: '3' },
      );
      expect(runPromtoolCheck((await scrape()).text)).toEqual({ ok: true, output: '' });
    },
  );
});

describe('health', () => {
  it('is good from the start, and ready once the GPUs were looked at', async () => {
    const { get, watch, exporter } = await start();
    expect((await get('/-/healthy')).status).toBe(200);
    const early = await get('/-/ready');
    expect([early.status, await early.text()]).toEqual([
      503,
      'not ready: the first reading of the GPUs is under way\n',
    ]);
    watch.readNow();
    await exporter.firstReading;
    expect((await get('/-/ready')).status).toBe(200);
  });

  it.each([
    ['without a GPU', NO_GPU, 'No GPU is seen: no NVIDIA or AMD GPU on the PCI bus.'],
    [
      'with a driver that hangs',
      snapshotOf({ backends: [HUNG] }),
      '1 GPU that nvml cannot read now (hung): the driver has not answered for 5 s.',
    ],
    ['with a driver that never answered', snapshotOf({ gpus: [], backends: [HUNG] }), 'nvml fails (hung)'],
  ])('is good and ready %s, and the page says what is the matter', async (_title, snapshot, words) => {
    const { get, watch, exporter } = await start(snapshot);
    watch.readNow();
    await exporter.firstReading;
    expect((await get('/-/healthy')).status).toBe(200);
    expect((await get('/-/ready')).status).toBe(200);
    expect(await (await get('/', HTML)).text()).toContain(words);
    expect(exporter.overview().seen).toContain(words);
  });
});

describe('the pages', () => {
  it('name on the first one what reads how many GPUs, any failure with its mend, and every address', async () => {
    const { get } = await start(snapshotOf({ gpus: [VLLM_GPU, LOST_GPU], backends: [HUNG] }));
    const response = await get('/', HTML);
    const page = await response.text();
    expect(response.headers.get('content-security-policy')).toContain('sha256-');
    expect(page).toContain('2 GPUs that nvml cannot read now (hung):');
    expect(page).toContain('Down: 1 (lost).');
    expect(page).not.toContain('read by nvml');
    expect(page).toContain('the driver has not answered for 5 s');
    expect(page).toContain('<code>sudo dmesg | grep -i xid | tail</code>');
    for (const path of ['/metrics', '/gpus', '/-/healthy', '/-/ready'])
      expect(page).toContain(`href="${path}"`);
  });

  it('answer /gpus with JSON to programs', async () => {
    const unsupported = [{ field: 'nvmlDeviceGetFanSpeed_v2', why: 'not_supported' as const }];
    const { get } = await start(
      snapshotOf({ gpus: [VLLM_GPU, LOST_GPU], backends: [backendState({ unsupported })] }),
    );
    const response = await get('/gpus');
    expect(response.headers.get('content-type')).toContain('application/json');
    const view = (await response.json()) as GpusView;
    expect(view.backends).toMatchObject([
      {
        backend: 'nvml',
        state: 'reading',
        gpus: 2,
        unsupported: [{ why: 'not_supported', fields: ['nvmlDeviceGetFanSpeed_v2'] }],
      },
    ]);
    expect(view.gpus[0]).toMatchObject({
      condition: 'up',
      figures: { utilizationRatio: 0.874, temperatureCelsius: 64 },
      without: ['fan'],
      missing: [{ why: 'not_supported', metrics: ['gpu_fan_speed_ratio'] }],
      processes: [
        { pid: 4321, name: 'python3', engine: 'vllm', model: 'meta-llama/Llama-3.1-70B', port: 8000 },
        { pid: 99, name: 'Xorg' },
      ],
      xids: { '94': 2 },
    });
    expect(view.gpus[0]?.processes?.[1]).not.toHaveProperty('engine');
    expect(view.gpus[1]).toMatchObject({ condition: 'lost', figures: {}, without: [], xids: { '79': 1 } });
    expect(view.gpus[1]).not.toHaveProperty('processes');
    expect(view.remarks).toEqual(['the kernel log may not be read']);
  });

  it('name the metrics that a GPU is without, and of native readings only those that say no more', async () => {
    const unsupported = ['nvmlDeviceGetFanSpeed_v2', 'nvmlDeviceGetSomethingNew'].map((field) => ({
      field,
      why: 'not_supported' as const,
    }));
    const { get } = await start(snapshotOf({ backends: [backendState({ unsupported })] }));
    const page = await (await get('/gpus', HTML)).text();
    expect(page).toContain(
      '<dt>Without</dt><dd>gpu_fan_speed_ratio (this GPU or driver does not have it)</dd>',
    );
    expect(page.match(/nvmlDevice\w+/g)).toEqual(['nvmlDeviceGetSomethingNew']);
  });

  it('answer /gpus with a page to people, whatever a process calls itself', async () => {
    const evil = {
      ...VLLM_GPU,
      processes: [{ pid: 1, type: 'compute' as const, name: '<script>alert(1)</script>', owner: {} }],
    };
    const { get } = await start(snapshotOf({ gpus: [evil, LOST_GPU] }));
    const page = await (await get('/gpus', HTML)).text();
    expect(page).toContain('87 %');
    expect(page).toContain('engine unknown');
    expect(page).toContain('It fell off the bus (XID 79)');
    expect(page).not.toContain('<script>');
  });

  it.each([
    ['up', true],
    ['lost', false],
    ['suspended', false],
  ] as const)(
    'say of a GPU that is %s and has no list of processes that the driver does not tell: %j',
    async (condition, isSaid) => {
      const gpu = { ...LOST_GPU, reading: { ...LOST_GPU.reading, condition } };
      const { get } = await start(snapshotOf({ gpus: [gpu] }));
      const page = await (await get('/gpus', HTML)).text();
      expect(page.includes('the driver does not tell')).toBe(isSaid);
      expect(page.includes('<dt>Processes</dt>')).toBe(isSaid);
    },
  );

  it('say once what to do about a driver that hangs, above its GPUs', async () => {
    const gone = (gpu: string) => ({
      ...LOST_GPU,
      reading: { ...LOST_GPU.reading, gpu, uuid: `GPU-${gpu}`, condition: 'driver_unreachable' as const },
    });
    const { get } = await start(
      snapshotOf({
        gpus: [gone('0'), gone('1'), APU],
        backends: [HUNG, backendState({ backend: 'amdgpu' })],
      }),
    );
    const page = await (await get('/gpus', HTML)).text();
    expect(page).toContain(
      '1 GPU, read by amdgpu. 2 GPUs that nvml cannot read now (hung): the driver has not answered for 5 s.</p>',
    );
    expect(page.match(/sudo dmesg/g)).toHaveLength(1);
    expect(page.indexOf('sudo dmesg')).toBeLessThan(page.indexOf('GPU 0:'));
    expect(page).not.toContain('the failure of the backend says why');
  });
});

describe('the exporter', () => {
  it('stops its readers with its server', async () => {
    const { exporter, watch, get } = await start();
    await exporter.stop(0);
    expect(watch.isStopped()).toBe(true);
    await expect(get('/metrics')).rejects.toThrow();
  });

  it('tells when nothing could be read for too long, only where that is asked for', async () => {
    const { exporter, clock } = await start(snapshotOf({ backends: [HUNG] }), {
      EXIT_ON_PERSISTENT_FAILURE: '60s',
    });
    clock.pass(61);
    expect(await exporter.persistentFailure).toEqual(['nvml: hung']);
  });
});
