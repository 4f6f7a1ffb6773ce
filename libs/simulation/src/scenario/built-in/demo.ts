/** One machine of a small team: two data-center GPUs for many, two older cards for few. */
export const demo = `# Four GPUs and four engines under the load of a working day.
seed: demo
start_hour: 9

host:
  name: demo
  gpus:
    - { board: h100-sxm, count: 2, ambient: 26 }
    - { board: rtx-4090, ambient: 24 }
    - { board: rtx-3090, ambient: 24 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }

engines:
  - name: chat
    kind: vllm
    port: 8000
    model: meta-llama/Llama-3.1-8B-Instruct
    gpus: [0]
    settings: { context_tokens: 16384, loras: [support, sql], max_loras: 2 }
  - name: documents
    kind: sglang
    port: 30000
    model: Qwen/Qwen2.5-7B-Instruct
    gpus: [1]
  - name: editor
    kind: llamacpp
    port: 8080
    model: llama3.1:8b
    gpus: [2]
    settings: { context_tokens: 65536, max_sequences: 4 }
  - name: desk
    kind: ollama
    port: 11434
    models: [llama3.2:3b, "llama3.1:8b"]
    gpus: [3]
    settings: { context_tokens: 8192, max_sequences: 2 }

traffic:
  - name: assistant
    engine: chat
    arrivals: { diurnal: { rate: 0.6, peak_hour: 14, depth: 0.6 } }
    prompt: chat
    output: chat
    max_tokens: 1024
    tenants: { web: 6, mobile: 3, intern: 1 }
    prefix: { turns: 3 }
    cancel: { ratio: 0.05, patience: 4s }
    loras: { support: 0.2, sql: 0.1 }
  - name: batch
    engine: chat
    arrivals: { bursty: { rate: 0.02, burst_rate: 6, mean_quiet: 4m, mean_burst: 30s } }
    prompt: { median: 600, sigma: 0.4 }
    output: { median: 150, sigma: 0.6 }
    kinds: { completion: 1 }
    tenants: { reports: 1 }
    prefix: { system_tokens: 300 }
    deadline: 5m
  - name: documents
    engine: documents
    arrivals: { diurnal: { rate: 0.15, peak_hour: 11, depth: 0.5 } }
    prompt: { shape: document, max: 28000 }
    output: document
    max_tokens: 2000
    tenants: { legal: 2, research: 1 }
    prefix: { system_tokens: 700, system_ratio: 0.8 }
    cancel: { ratio: 0.03, patience: 20s }
  - name: editor
    engine: editor
    arrivals: { bursty: { rate: 0.5, burst_rate: 2, mean_quiet: 40s, mean_burst: 20s } }
    prompt: code
    output: code
    max_tokens: 512
    tenants: { developers: 1 }
    cancel: { ratio: 0.2, patience: 1s }
  - name: desk
    engine: desk
    model: llama3.2:3b
    arrivals: { poisson: { rate: 0.5 } }
    prompt: { shape: chat, max: 6000 }
    output: chat
    max_tokens: 1024
    tenants: { home: 1 }
    prefix: { turns: 4 }
`;
