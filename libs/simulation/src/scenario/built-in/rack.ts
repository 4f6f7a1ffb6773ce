const GPUS_PER_ENGINE = 4;

/** Sixteen engines of four GPUs each; 50 requests a second together. */
const ENGINES = [
  ...Array.from({ length: 8 }, (_, index) => ({ name: `vllm-${index}`, kind: 'vllm', rate: 4 })),
  ...Array.from({ length: 4 }, (_, index) => ({ name: `sglang-${index}`, kind: 'sglang', rate: 3 })),
  ...Array.from({ length: 2 }, (_, index) => ({ name: `tgi-${index}`, kind: 'tgi', rate: 1 })),
  ...Array.from({ length: 2 }, (_, index) => ({ name: `triton-${index}`, kind: 'triton', rate: 2 })),
];

function engineLines({ name, kind }: (typeof ENGINES)[number], index: number): string {
  const gpus = Array.from({ length: GPUS_PER_ENGINE }, (_, gpu) => index * GPUS_PER_ENGINE + gpu);
  return `  - name: ${name}
    kind: ${kind}
    port: ${9000 + index}
    model: meta-llama/Llama-3.3-70B-Instruct
    gpus: [${gpus.join(', ')}]
    settings: { context_tokens: 32768 }
`;
}

function trafficLines({ name, rate }: (typeof ENGINES)[number], index: number): string {
  const arrivals =
    index % 2 === 0
      ? `{ poisson: { rate: ${rate} } }`
      : `{ diurnal: { rate: ${rate}, peak_hour: 14, depth: 0.4 } }`;
  return `  - engine: ${name}
    arrivals: ${arrivals}
    prompt: chat
    output: chat
    tenants: { web: 5, mobile: 3, batch: 2 }
    prefix: { turns: 3 }
    cancel: { ratio: 0.04, patience: 6s }
`;
}

/** A rack of eight machines, served as one host: the size that the mock must keep up with. */
export const rack = `# 64 GPUs, 16 engines, 50 requests a second.
seed: rack
start_hour: 8

host:
  name: rack
  gpus:
    - { board: h100-sxm, count: ${ENGINES.length * GPUS_PER_ENGINE}, ambient: 27 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }

engines:
${ENGINES.map(engineLines).join('')}
traffic:
${ENGINES.map(trafficLines).join('')}`;
