/** Each kind of engine once: what tests compare the exporters with. */
export const allEngines = `# Each kind of engine once, on a GPU of its own, under even load.
seed: all-engines

host:
  name: all-engines
  gpus:
    - { board: h100-sxm, count: 4, ambient: 26 }
    - { board: rtx-4090, count: 2, ambient: 24 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }

engines:
  - name: vllm
    kind: vllm
    port: 8000
    model: meta-llama/Llama-3.1-8B-Instruct
    gpus: [0]
    settings:
      context_tokens: 16384
      loras: [support, sql]
      max_loras: 2
  - name: sglang
    kind: sglang
    port: 30000
    model: Qwen/Qwen2.5-7B-Instruct
    gpus: [1]
    settings: { speculative: { draft_tokens: 4, acceptance: 0.7 } }
  - name: tgi
    kind: tgi
    port: 3000
    model: mistralai/Mistral-7B-Instruct-v0.3
    gpus: [2]
  - name: triton
    kind: triton
    port: 8002
    model: Qwen/Qwen2.5-7B-Instruct
    gpus: [3]
  - name: llamacpp
    kind: llamacpp
    port: 8080
    model: llama3.1:8b
    gpus: [4]
    settings: { context_tokens: 32768 }
  - name: ollama
    kind: ollama
    port: 11434
    models: [llama3.2:3b, qwen2.5:0.5b, nomic-embed-text]
    gpus: [5]
    settings: { context_tokens: 8192, max_sequences: 2 }

traffic:
  - engine: vllm
    arrivals: { poisson: { rate: 0.7 } }
    prompt: chat
    output: chat
    tenants: { acme: 3, globex: 1 }
    prefix: { turns: 3 }
    cancel: { ratio: 0.05, patience: 3s }
    loras: { support: 0.2, sql: 0.1 }
  - engine: sglang
    arrivals: { poisson: { rate: 0.7 } }
    prompt: chat
    output: chat
    prefix: { system_tokens: 300, system_ratio: 0.8 }
  - engine: tgi
    arrivals: { poisson: { rate: 0.6 } }
    prompt: chat
    output: chat
  - engine: triton
    arrivals: { poisson: { rate: 0.6 } }
    prompt: chat
    output: chat
  - engine: llamacpp
    arrivals: { poisson: { rate: 1 } }
    prompt: code
    output: code
  - name: ollama
    engine: ollama
    model: llama3.2:3b
    arrivals: { poisson: { rate: 0.5 } }
    prompt: { shape: chat, max: 6000 }
    output: chat
  - name: ollama-embeddings
    engine: ollama
    model: nomic-embed-text
    arrivals: { poisson: { rate: 0.1 } }
    prompt: { median: 200, sigma: 0.6, max: 2000 }
    output: 0
    kinds: { embedding: 1 }
`;
