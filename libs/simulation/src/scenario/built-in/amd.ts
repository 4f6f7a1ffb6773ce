/** AMD: two accelerators, and an APU that shares its memory with the processor. */
export const amd = `# AMD GPUs: two MI300X with vLLM, and a Strix Halo with llama.cpp and Ollama.
seed: amd

host:
  name: amd
  gpus:
    - { board: mi300x, count: 2, ambient: 28 }
    - { board: strix-halo, ambient: 24 }
  driver: { amd: 6.10.5 }

engines:
  - name: chat
    kind: vllm
    port: 8000
    model: meta-llama/Llama-3.3-70B-Instruct
    gpus: [0]
    settings: { context_tokens: 32768 }
  - name: experts
    kind: sglang
    port: 30000
    model: mistralai/Mixtral-8x7B-Instruct-v0.1
    gpus: [1]
  - name: editor
    kind: llamacpp
    port: 8080
    model: llama3.1:8b
    gpus: [2]
    settings: { context_tokens: 32768, max_sequences: 2 }
  - name: desk
    kind: ollama
    port: 11434
    models: [llama3.2:3b, qwen2.5:0.5b]
    gpus: [2]
    settings: { context_tokens: 8192 }

traffic:
  - engine: chat
    arrivals: { diurnal: { rate: 0.1, peak_hour: 14, depth: 0.5 } }
    prompt: chat
    output: chat
    prefix: { turns: 3 }
  - engine: experts
    arrivals: { bursty: { rate: 0.15, burst_rate: 3, mean_quiet: 90s, mean_burst: 20s } }
    prompt: chat
    output: chat
  - engine: editor
    arrivals: { poisson: { rate: 0.1 } }
    prompt: { shape: code, max: 8000 }
    output: code
    max_tokens: 512
  - engine: desk
    model: llama3.2:3b
    arrivals: { poisson: { rate: 0.04 } }
    prompt: { shape: chat, max: 6000 }
    output: chat
    tenants: { home: 1 }
`;
