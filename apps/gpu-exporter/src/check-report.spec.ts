import type { GpuSnapshot } from '@llm-monitor/gpus';
import fc from 'fast-check';

import { renderReport, type ReportSurroundings } from './check-report.ts';
import { APU, backendState, LOST_GPU, snapshotOf, VLLM_GPU } from './test-gpus.ts';

const SURROUNDINGS: ReportSurroundings = {
  version: '0.1.0',
  nodeVersion: 'v22.0.0',
  platform: 'linux',
  architecture: 'x64',
  kernel: '6.1.0-18-amd64',
  operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
  at: '2026-11-23T00:00:00.000Z',
  hostName: 'gpu-box.example.org',
  userName: 'alice',
};

interface Report {
  readonly remarks: readonly string[];
  readonly backends: readonly { readonly failure?: { readonly message: string } }[];
  readonly gpus: readonly {
    readonly uuid: string;
    readonly facts: Readonly<Record<string, string>>;
    readonly points: readonly object[];
    readonly processes?: readonly object[];
  }[];
}

const report = (snapshot: GpuSnapshot, remarks: readonly string[] = []): Report =>
  JSON.parse(renderReport({ snapshot, remarks }, SURROUNDINGS)) as Report;

const failing = (message: string) =>
  snapshotOf({
    backends: [backendState({ failure: { reason: 'internal', message, sinceUnixSeconds: 1_700_000_000 } })],
  });

describe('the report', () => {
  it('has every point of every GPU, and the UUIDs as numbers', () => {
    const { gpus } = report(snapshotOf({ gpus: [VLLM_GPU, LOST_GPU, APU] }));
    expect(gpus.map(({ uuid }) => uuid)).toEqual(['GPU-masked-0001', 'GPU-masked-0002', '0000:c1:00.0']);
    expect(gpus[0]?.points).toEqual(VLLM_GPU.reading.points);
    expect(gpus[0]?.facts).toEqual({
      vendor: 'nvidia',
      name: 'NVIDIA H100 80GB HBM3',
      driverVersion: '570.86.15',
      pciBusId: '0000:8f:00.0',
      serial: 'masked',
    });
  });

  it('keeps a version that looks like an address', () => {
    const facts = { ...VLLM_GPU.reading.facts, vbiosVersion: '96.00.74.00' };
    const gpu = { ...VLLM_GPU, reading: { ...VLLM_GPU.reading, facts } };
    expect(report(snapshotOf({ gpus: [gpu] })).gpus[0]?.facts['vbiosVersion']).toBe('96.00.74.00');
  });

  it('tells of a process its engine, and of the rest only whether it was found out', () => {
    expect(report(snapshotOf()).gpus[0]?.processes).toEqual([
      {
        type: 'compute',
        memoryBytes: 73 * 1024 ** 3,
        engine: 'vllm',
        hasModel: true,
        hasContainer: true,
        hasPort: true,
      },
      {
        type: 'graphics',
        memoryBytes: 4 * 1024 ** 2,
        engine: 'unknown',
        hasModel: false,
        hasContainer: false,
        hasPort: false,
      },
    ]);
  });

  it('has the UUIDs of MIG devices as numbers, too', () => {
    const labels = {
      gpu_instance_id: '1',
      compute_instance_id: '0',
      profile: '1g.10gb',
      mig_uuid: 'MIG-5c1c9e1a-0000-1111-2222-333344445555',
    };
    const reading = { ...VLLM_GPU.reading, points: [{ metric: 'gpu_mig_info' as const, value: 1, labels }] };
    expect(report(snapshotOf({ gpus: [{ ...VLLM_GPU, reading }] })).gpus[0]?.points).toEqual([
      { metric: 'gpu_mig_info', value: 1, labels: { ...labels, mig_uuid: 'MIG-masked-0002' } },
    ]);
  });

  it.each([
    ['a UUID that is known', `lost ${LOST_GPU.reading.uuid}`, 'lost GPU-masked-0002'],
    ['a UUID that is not', 'GPU-11111111-2222-3333-4444-555555555555', 'GPU-masked'],
    ['this host', 'gpu-box: no driver on GPU-BOX.example.org', 'masked: no driver on masked'],
    ['this user', "alice's folder, /home/bob", "masked's folder, /home/masked"],
    ['a long hexadecimal number', 'container 0123456789abcdef', 'container masked'],
    ['an address of mail or network', 'a@b.org at 10.1.2.3', 'masked at masked'],
    [
      'nothing, where nothing is',
      'NVML 12.570.86.15 of 0000:8f:00.0: -9',
      'NVML 12.570.86.15 of 0000:8f:00.0: -9',
    ],
    ['no part of another word', 'malice in gpu-boxes', 'malice in gpu-boxes'],
  ])('hides in a message %s', (_title, message, expected) => {
    const snapshot = { ...failing(message), gpus: [VLLM_GPU, LOST_GPU] };
    expect(report(snapshot).backends[0]?.failure?.message).toBe(expected);
  });

  it('hides the names of the host in remarks as well', () => {
    expect(report(snapshotOf(), ['gpu-box runs meta-llama/Llama-3.1-70B']).remarks).toEqual([
      'masked runs masked',
    ]);
  });

  it('has none of the identifiers it was made from, wherever they stood', () => {
    // Letters that occur in no word of a report, so that a hit is a leak and no accident.
    const word = fc.stringMatching(/^[QXZ]{3}[a-z0-9]{1,12}[QXZ]$/);
    const uuid = fc.uuid();
    fc.assert(
      fc.property(
        fc.record({
          uuid,
          migUuid: uuid,
          serial: word,
          model: word,
          container: fc.stringMatching(/^[0-9a-f]{12}$/),
          program: word,
          name: word,
          host: word,
          user: word,
        }),
        fc.boolean(),
        (secrets, asNvidia) => {
          const uuids = asNvidia
            ? [`GPU-${secrets.uuid}`, `MIG-${secrets.migUuid}`]
            : [secrets.uuid, secrets.migUuid];
          const everything = `at ${[...uuids, ...Object.values(secrets)].join(', ')}; and ${secrets.name}.`;
          const [gpuUuid = '', migUuid = ''] = uuids;
          const gpu = {
            ...VLLM_GPU,
            reading: {
              ...VLLM_GPU.reading,
              uuid: gpuUuid,
              facts: { vendor: 'nvidia' as const, serial: secrets.serial, name: `H100 of ${secrets.user}` },
              points: [{ metric: 'gpu_mig_info' as const, value: 1, labels: { mig_uuid: migUuid } }],
            },
            processes: [
              {
                pid: 1,
                type: 'compute' as const,
                name: `/opt/${secrets.name}`,
                owner: {
                  engine: 'vllm',
                  model: secrets.model,
                  container: secrets.container,
                  program: `/srv/${secrets.program} --model ${secrets.model}`,
                },
              },
            ],
          };
          const snapshot = snapshotOf({
            gpus: [gpu],
            backends: [
              backendState({
                failure: { reason: 'internal', message: everything, sinceUnixSeconds: 1 },
                unsupported: [{ field: everything, why: 'failed' }],
                unparsed: new Map([[everything, 1]]),
              }),
            ],
            nothing: everything,
          });
          const text = renderReport(
            { snapshot, remarks: [everything] },
            {
              ...SURROUNDINGS,
              hostName: secrets.host,
              userName: secrets.user,
              kernel: `6.1-${secrets.host}`,
            },
          ).toLowerCase();
          for (const secret of [...uuids, ...Object.values(secrets)]) {
            expect(text).not.toContain(secret.toLowerCase());
          }
        },
      ),
      { seed: 7, numRuns: 200 },
    );
  });
});
