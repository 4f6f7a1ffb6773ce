import { DEFAULT_HOST } from './engine-config.ts';
import { ENGINE_KINDS } from './engine-kinds.ts';
import { pcieBytesPerSecond, stepCost, type Machine, type StepLoad } from './step-time.ts';
import { FakeGpu, H100, LLAMA_8B, model } from './test-engine.ts';

function machine(change: Partial<Machine> = {}): Machine {
  const chosen = change.model ?? model(LLAMA_8B);
  return {
    model: chosen,
    gpus: [new FakeGpu()],
    split: 'tensor',
    gpuLayers: chosen.layers,
    host: DEFAULT_HOST,
    efficiency: ENGINE_KINDS.vllm.efficiency,
    ...change,
  };
}

function decode(sequences: number, context: number): StepLoad {
  return {
    sequences,
    tokens: sequences,
    attendedPairs: sequences * (context + 1),
    contextTokens: sequences * context,
    draftTokens: 0,
  };
}

function prefill(tokens: number): StepLoad {
  return {
    sequences: 1,
    tokens,
    attendedPairs: (tokens * (tokens + 1)) / 2,
    contextTokens: 0,
    draftTokens: 0,
  };
}

function slowed(change: { computeRatio?: number; bandwidthRatio?: number }): FakeGpu {
  return Object.assign(new FakeGpu(), change);
}

const tokensPerSecond = (parts: Machine, load: StepLoad): number =>
  load.tokens / stepCost(parts, load).seconds;

describe('against what is published', () => {
  it.each([
    { what: '8B in 16 bits, one stream', load: decode(1, 500), change: {}, from: 100, to: 200 },
    { what: '8B in 16 bits, 256 streams', load: decode(256, 1000), change: {}, from: 8000, to: 16_000 },
    { what: '8B in 16 bits, prompts', load: prefill(8192), change: {}, from: 20_000, to: 40_000 },
    {
      what: '70B in 16 bits over 4 GPUs, one stream',
      load: decode(1, 500),
      change: {
        model: model('meta-llama/Llama-3.3-70B-Instruct'),
        gpus: [1, 2, 3, 4].map(() => new FakeGpu()),
      },
      from: 45,
      to: 80,
    },
    {
      what: '30B-A3B, one stream',
      load: decode(1, 500),
      change: { model: model('Qwen/Qwen3-30B-A3B') },
      from: 120,
      to: 280,
    },
  ])('an H100 with $what is in the known order', ({ load, change, from, to }) => {
    const speed = tokensPerSecond(machine({ ...change, gpuLayers: change.model?.layers ?? 32 }), load);
    expect(speed).toBeGreaterThan(from);
    expect(speed).toBeLessThan(to);
  });
});

describe('what holds it back', () => {
  it.each([
    { what: 'decoding', load: decode(8, 1000), byCompute: 1, byBandwidth: 1.85 },
    { what: 'prefill', load: prefill(4096), byCompute: 1.95, byBandwidth: 1 },
  ])(
    '$what slows down $byBandwidth times with half the bandwidth, $byCompute times with half the compute',
    (row) => {
      const whole = stepCost(machine(), row.load).seconds;
      const compute = stepCost(machine({ gpus: [slowed({ computeRatio: 0.5 })] }), row.load).seconds;
      const bandwidth = stepCost(machine({ gpus: [slowed({ bandwidthRatio: 0.5 })] }), row.load).seconds;
      expect(compute / whole).toBeCloseTo(row.byCompute, 1);
      expect(bandwidth / whole).toBeCloseTo(row.byBandwidth, 1);
    },
  );

  it('reads the weights once for the whole batch', () => {
    const [one, many] = [stepCost(machine(), decode(1, 0)), stepCost(machine(), decode(16, 0))];
    expect(many.memoryBytes / one.memoryBytes).toBeLessThan(1.01);
    expect(many.flops / one.flops).toBeCloseTo(16);
  });

  it('takes the time of the slowest GPU', () => {
    const slow = stepCost(
      machine({ gpus: [new FakeGpu(), slowed({ bandwidthRatio: 0.25 })] }),
      decode(1, 100),
    );
    const bothSlow = stepCost(
      machine({ gpus: [slowed({ bandwidthRatio: 0.25 }), slowed({ bandwidthRatio: 0.25 })] }),
      decode(1, 100),
    );
    expect(slow.seconds).toBe(bothSlow.seconds);
  });
});

describe('several GPUs', () => {
  const two = [new FakeGpu(), new FakeGpu()];
  const { nvlink: _nvlink, ...pcie } = H100;

  it('share the work of each layer, and exchange over NVLink', () => {
    const [one, both] = [stepCost(machine(), prefill(2048)), stepCost(machine({ gpus: two }), prefill(2048))];
    expect(both.flops).toBe(one.flops / 2);
    expect(both.seconds).toBeLessThan(one.seconds);
    expect(both.seconds).toBeGreaterThan(one.seconds / 2);
    // 2 all-reduces in each of 32 layers, of 2048 x 4096 elements of 2 bytes, 2(N-1)/N of it sent by each.
    expect(both.nvlinkBytes).toBe(64 * 2048 * 4096 * 2);
    expect([both.pcieBytes, one.nvlinkBytes]).toEqual([0, 0]);
  });

  it('lose more to the exchange over PCIe', () => {
    const overPcie = stepCost(machine({ gpus: [new FakeGpu(pcie), new FakeGpu(pcie)] }), prefill(2048));
    expect(overPcie.seconds).toBeGreaterThan(stepCost(machine({ gpus: two }), prefill(2048)).seconds * 1.2);
    expect([overPcie.nvlinkBytes, overPcie.pcieBytes]).toEqual([0, 64 * 2048 * 4096 * 2]);
  });

  it('gain nothing for one stream when each has half of the layers', () => {
    const [one, layers] = [
      stepCost(machine(), decode(1, 100)),
      stepCost(machine({ gpus: two, split: 'layers' }), decode(1, 100)),
    ];
    expect(layers.seconds).toBeCloseTo(one.seconds, 5);
    expect(layers.gpuSeconds).toBeCloseTo(one.gpuSeconds / 2, 5);
  });
});

describe('layers on the processor', () => {
  const small = model('llama3.1:8b');
  const parts = { model: small, split: 'layers', efficiency: ENGINE_KINDS.llamacpp.efficiency } as const;
  const speed = (gpuLayers: number): number =>
    tokensPerSecond(machine({ ...parts, gpuLayers }), decode(1, 100));

  it('slow everything down by the memory of the host', () => {
    expect(speed(32)).toBeGreaterThan(200);
    expect(speed(16)).toBeLessThan(speed(32) / 2);
    // 4.92 GB through 180 GB/s
    expect(speed(0)).toBeCloseTo(36, 0);
  });

  it('leave nothing for the GPU when all are there', () => {
    const cost = stepCost(machine({ ...parts, gpuLayers: 0 }), decode(1, 100));
    expect(cost).toMatchObject({ gpuSeconds: 0, flops: 0, memoryBytes: 0 });
  });
});

it('counts a draft head as one layer more for each draft', () => {
  const plain = stepCost(machine(), decode(1, 100));
  const drafting = stepCost(machine(), { ...decode(1, 100), tokens: 5, draftTokens: 4 });
  expect(drafting.seconds / plain.seconds).toBeGreaterThan(1.05);
  expect(drafting.seconds / plain.seconds).toBeLessThan(1.2);
});

it.each([
  { generation: 3, width: 16, gigabytes: 15.76 },
  { generation: 4, width: 8, gigabytes: 15.76 },
  { generation: 5, width: 16, gigabytes: 63.04 },
])('PCIe $generation x$width carries $gigabytes GB/s', ({ generation, width, gigabytes }) => {
  expect(pcieBytesPerSecond({ pcie: { generation, width } })).toBeCloseTo(gigabytes * 1e9, -6);
});
