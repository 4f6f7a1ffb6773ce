import fc from 'fast-check';

import type { ProcessFiles } from './adapter.ts';
import {
  certainPort,
  engineOfArguments,
  modelOfArguments,
  portsNamed,
  programOfArguments,
  servedModel,
  servesApi,
} from './process-engine.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from './registry.ts';

const words = (line: string): string[] => line.split(' ');
const PYTHON = '/usr/bin/python3';
const HASH = 'a'.repeat(40);

describe('engine and model of a command line', () => {
  it.each<[line: string, engine: EngineName | undefined, model: string | undefined]>([
    // vLLM
    ['vllm serve Qwen/Qwen3-8B --port 8000', 'vllm', 'Qwen/Qwen3-8B'],
    [`${PYTHON} /usr/local/bin/vllm serve Qwen/Qwen3-8B`, 'vllm', 'Qwen/Qwen3-8B'],
    ['uv run vllm serve Qwen/Qwen3-8B', 'vllm', 'Qwen/Qwen3-8B'],
    ['vllm serve /models/Qwen3-8B/ --served-model-name qwen spare', 'vllm', 'qwen'],
    ['vllm serve Qwen/Qwen3-8B --served_model_name=qwen', 'vllm', 'qwen'],
    ['vllm serve Qwen/Qwen3-8B --served-model-name first --served-model-name last', 'vllm', 'last'],
    ['vllm serve /models/Qwen3-8B', 'vllm', 'Qwen3-8B'],
    ['vllm serve ./Qwen3-8B', 'vllm', 'Qwen3-8B'],
    ['vllm serve s3://bucket/Qwen3-8B', 'vllm', 'Qwen3-8B'],
    ['vllm serve https://user:key@host/Qwen3-8B?token=key', 'vllm', 'Qwen3-8B'],
    [`vllm serve /data/hub/models--Qwen--Qwen3-8B/snapshots/${HASH}`, 'vllm', 'Qwen/Qwen3-8B'],
    [`vllm serve /models/${HASH}`, 'vllm', undefined],
    ['vllm serve --port 8000 Qwen/Qwen3-8B', 'vllm', undefined],
    ['vllm serve --config served.yaml', 'vllm', undefined],
    ['vllm bench Qwen/Qwen3-8B', 'vllm', undefined],
    ['vllm serve Qwen/Qwen3-8B --api-key --served-model-name', 'vllm', 'Qwen/Qwen3-8B'],
    ['python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-8B', 'vllm', 'Qwen/Qwen3-8B'],
    ['python3 -m vllm.entrypoints.openai.api_server --model=Qwen/Qwen3-8B', 'vllm', 'Qwen/Qwen3-8B'],
    ['python3 -m vllm.entrypoints.openai.api_server --model', 'vllm', undefined],
    ['VLLM::EngineCore', 'vllm', undefined],
    ['VLLM::Worker_TP0', 'vllm', undefined],
    ['vllm::EngineCore', undefined, undefined],
    ['python3 train.py --model Qwen/Qwen3-8B --use vllm', undefined, undefined],
    ['jupyter-lab --notebook-dir=/srv/me/vllm', undefined, undefined],
    ['/opt/vllm-benchmarks serve Qwen/Qwen3-8B', undefined, undefined],
    // SGLang
    ['python3 -m sglang.launch_server --model-path Qwen/Qwen3-8B --port 30000', 'sglang', 'Qwen/Qwen3-8B'],
    ['python -m sglang.launch_server --model Qwen/Qwen3-8B', 'sglang', 'Qwen/Qwen3-8B'],
    ['sglang serve --model-path /m/qwen --served-model-name qwen3', 'sglang', 'qwen3'],
    ['sglang::scheduler_TP0', 'sglang', undefined],
    ['sglang::scheduler TP0', 'sglang', undefined],
    ['sglang_scheduler', undefined, undefined],
    // llama.cpp
    ['llama-server -m /models/qwen3-8b-q4.gguf --parallel 2', 'llamacpp', 'qwen3-8b-q4.gguf'],
    ['llama-server --model models/qwen3-8b-q4.gguf', 'llamacpp', 'qwen3-8b-q4.gguf'],
    ['llama-server -m /models/q.gguf -a qwen3', 'llamacpp', 'qwen3'],
    ['llama-server -m /models/q.gguf --alias small,big', 'llamacpp', 'big'],
    ['llama-server -hf ggml-org/gemma-3-4b-it-GGUF:Q4_K_M', 'llamacpp', 'ggml-org/gemma-3-4b-it-GGUF:Q4_K_M'],
    ['llama-server --hf-repo ggml-org/gemma-3-4b-it-GGUF', 'llamacpp', 'ggml-org/gemma-3-4b-it-GGUF'],
    ['llama-server -hf ggml-org/gemma-3-4b-it-GGUF -hff gemma-q8.gguf', 'llamacpp', 'gemma-q8.gguf'],
    ['/c/ld-linux.so.2 --library-path /lib /c/llama-server --model /m/tiny.gguf', 'llamacpp', 'tiny.gguf'],
    ['llama-server --models-dir /models', 'llamacpp', undefined],
    [`llama-server --model /o/blobs/sha256-${'0'.repeat(64)}`, 'llamacpp', undefined],
    ['llama-cli -m /models/qwen3-8b-q4.gguf', undefined, undefined],
    // Ollama
    ['/usr/local/bin/ollama serve', 'ollama', undefined],
    [
      `/usr/local/bin/ollama runner --ollama-engine --model /o/blobs/sha256-${'0'.repeat(64)}`,
      'ollama',
      undefined,
    ],
    ['ollama_llama_server --model /o/x', undefined, undefined],
    // TGI
    ['text-generation-launcher --model-id mistralai/Mistral-7B --port 80', 'tgi', 'mistralai/Mistral-7B'],
    [
      '/opt/conda/bin/python3.11 /opt/conda/bin/text-generation-server serve /data/m/x --num-shard 1',
      'tgi',
      'x',
    ],
    ['text-generation-server download-weights mistralai/Mistral-7B', 'tgi', undefined],
    ['text-generation-benchmark --model-id x', undefined, undefined],
    // Triton
    ['tritonserver --model-repository=/models --http-port 8000', 'triton', undefined],
    ['triton --model-repository=/models', undefined, undefined],
    // TensorRT-LLM
    ['trtllm-serve Qwen/Qwen3-8B --port 8000', 'trtllm', 'Qwen/Qwen3-8B'],
    ['trtllm-serve serve Qwen/Qwen3-8B', 'trtllm', 'Qwen/Qwen3-8B'],
    ['trtllm-serve serve /engines/qwen --served_model_name qwen3', 'trtllm', 'qwen3'],
    ['trtllm-serve serve --port 8000', 'trtllm', undefined],
    ['trtllm-serve disaggregated -c config.yaml', 'trtllm', undefined],
    ['trtllm-bench --model Qwen/Qwen3-8B', undefined, undefined],
    // LMDeploy
    [
      'lmdeploy serve api_server internlm/internlm3-8b --server-port 23333',
      'lmdeploy',
      'internlm/internlm3-8b',
    ],
    ['python /opt/bin/lmdeploy serve api_server /m/x --model-name internlm3', 'lmdeploy', 'internlm3'],
    ['lmdeploy chat internlm/internlm3-8b', 'lmdeploy', undefined],
    // the others
    ['aphrodite run Qwen/Qwen3-8B', 'aphrodite', 'Qwen/Qwen3-8B'],
    ['aphrodite tokenizer Qwen/Qwen3-8B', 'aphrodite', undefined],
    ['python3 koboldcpp.py --model /m/Qwen3 8B-Q4.gguf', 'koboldcpp', 'koboldcpp/Qwen3'],
    ['./koboldcpp-linux-x64 /m/Qwen3-8B.Q4_K.gguf 5001', 'koboldcpp', 'koboldcpp/Qwen3-8B.Q4_K'],
    ['koboldcpp --hordemodelname kindly --model /m/q.gguf', 'koboldcpp', 'koboldcpp/kindly'],
    ['koboldcpp --config q.kcpps', 'koboldcpp', undefined],
    ['python3 -m dynamo.vllm --model Qwen/Qwen3-8B', 'dynamo', 'Qwen/Qwen3-8B'],
    ['python3 -m dynamo.sglang --model-path /m/q --served-model-name qwen', 'dynamo', 'qwen'],
    ['python3 -m dynamo.planner --model x', undefined, undefined],
    [
      'python3 -m vllm_nvext.entrypoints.openai.api_server --served-model-name meta/llama3',
      'nim',
      'meta/llama3',
    ],
    ['ray::ServeReplica:llms:LLMServer:qwen2_5-0_5b', 'ray', undefined],
    ['ray::ServeReplica:app:GroundingDINOModel', undefined, undefined],
    ['ray::RayWorkerWrapper.execute_method', undefined, undefined],
    ['/usr/bin/Xorg :0 -model vllm', undefined, undefined],
  ])('%s', (line, engine, model) => {
    expect(engineOfArguments(words(line))).toBe(engine);
    expect(engine === undefined ? undefined : modelOfArguments(engine, words(line))).toBe(model);
  });

  it('takes programs with a space in their name, and nothing of an empty command line', () => {
    expect(engineOfArguments(['/opt/LM Studio/LM Studio', '--type=utility'])).toBe('lmstudio');
    expect(engineOfArguments(['/opt/LM Studio/crashpad'])).toBeUndefined();
    expect(engineOfArguments([])).toBeUndefined();
    expect(programOfArguments([])).toBeUndefined();
  });

  it.each([
    ['a name of 200 characters', 'x'.repeat(200), 'x'.repeat(128)],
    ['an empty name', '', undefined],
    ['a name with a line break', 'a\nb', undefined],
    ['the folder above', '/models/..', undefined],
  ])('caps and refuses what is no name: %s', (_what, model, expected) => {
    expect(modelOfArguments('vllm', ['vllm', 'serve', model])).toBe(expected);
  });

  it('has no program, worker or title that two engines share', () => {
    const all = ENGINE_NAMES.flatMap((name) => {
      const { programs, commandLine: { workers = [] } = {} } = adapterOf(name);
      return [...programs, ...workers];
    });
    expect(all.filter((program, index) => all.indexOf(program) !== index)).toEqual([]);
  });

  it('never throws, and never shows a path or a word with a key', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'vllm',
        'serve',
        'python3',
        '-m',
        '-c',
        'llama-server',
        '--model',
        '--api-key',
        'ollama',
      ),
      fc.string(),
      fc.constant('/secret/key-123/'),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), fc.constantFrom(...ENGINE_NAMES), (line, engine) => {
        engineOfArguments(line);
        const model = modelOfArguments(engine, line);
        expect(model === undefined || (model.length <= 128 && !model.startsWith('/'))).toBe(true);
        expect(programOfArguments(line) ?? '').not.toMatch(/[/\s]/);
      }),
      { seed: 5, numRuns: 2000 },
    );
  });
});

it.each<[line: string, program: string]>([
  ['/usr/local/bin/vllm serve x --api-key sk-1', 'vllm'],
  [`${PYTHON} -m vllm.entrypoints.openai.api_server --api-key sk-1`, 'vllm.entrypoints.openai.api_server'],
  [`${PYTHON} -u /app/main.py --key sk-1`, 'main.py'],
  [`${PYTHON} -c key='sk-1'`, 'python3'],
  [`${PYTHON} -c /sk-1`, 'python3'],
  ['node -e sk-1.js', 'node'],
  ['node server.mjs', 'server.mjs'],
  [`${PYTHON} -W sk-1 main.py`, 'python3'],
  ['/c/ld-linux.so.2 --library-path /lib /c/llama-server --api-key sk-1', 'llama-server'],
  ['/opt/ComfyUI/run --listen', 'run'],
  ['VLLM::EngineCore', 'VLLM::EngineCore'],
])('shows the program and nothing else: %s', (line, program) => {
  expect(programOfArguments(words(line))).toBe(program);
});

it('shows nothing of a title behind its first space', () => {
  expect(programOfArguments(['nginx: master process /usr/sbin/nginx -g key'])).toBe('nginx:');
});

it('knows which of its processes serve the API of an engine', () => {
  expect(servesApi('vllm', words('vllm serve x'))).toBe(true);
  expect(servesApi('vllm', ['VLLM::EngineCore'])).toBe(false);
  expect(servesApi('tgi', words('text-generation-server serve x'))).toBe(false);
  expect(servesApi('ollama', words('ollama serve'))).toBe(true);
  expect(servesApi('ollama', words('ollama runner --port 40000'))).toBe(false);
});

it.each<
  [what: string, engine: EngineName | undefined, line: string, own: number[], port: number | undefined]
>([
  ['the one that is named', 'vllm', 'vllm serve x --port 9000', [9000, 41111, 8000], 9000],
  ['none while the named one is not open', 'vllm', 'vllm serve x --port 9000', [8000], undefined],
  ['the default of several', 'vllm', 'vllm serve x', [41111, 8000], 8000],
  ['none of several strange ones', 'vllm', 'vllm serve x', [41111, 41112], undefined],
  ['the only one', 'ollama', 'ollama serve', [12345], 12345],
  ['none', 'ollama', 'ollama serve', [], undefined],
  ['of an unknown program the only one', undefined, 'python3 main.py', [8188], 8188],
  ['of an unknown program the named one', undefined, 'jupyter --port=8888', [8888, 40000], 8888],
  ['of an unknown program none of several', undefined, 'python3 main.py', [8188, 40000], undefined],
])('takes as port: %s', (_what, engine, line, own, port) => {
  expect(certainPort(engine, words(line), new Set(own))).toBe(port);
});

it('reads named ports in both forms, and no other option', () => {
  expect(portsNamed(words('x --port 1 --http-port=2 -p 3 --nccl-port 4 --port 0 --port'))).toEqual([1, 2, 3]);
});

describe('the model of an Ollama runner', () => {
  const digest = '1'.repeat(64);
  const manifest = (of: string, mediaType = 'application/vnd.ollama.image.model'): string =>
    JSON.stringify({
      layers: [
        { mediaType: 'other', digest: 'sha256:2' },
        { mediaType, digest: `sha256:${of}` },
      ],
    });
  const runner = ['ollama', 'runner', '--model', `/o/models/blobs/sha256-${digest}`, '--port', '40000'];

  /** A tree of files by their paths. */
  const filesOf = (tree: Record<string, string>): ProcessFiles => ({
    list: (folder) => {
      const below = Object.keys(tree).filter((file) => file.startsWith(`${folder}/`));
      const parts = below.map((file) => file.slice(folder.length + 1).split('/'));
      return Promise.resolve({
        folders: [...new Set(parts.flatMap(([name = '', ...rest]) => (rest.length > 0 ? [name] : [])))],
        files: parts.flatMap(([name = '', ...rest]) => (rest.length === 0 ? [name] : [])),
      });
    },
    text: (file) => Promise.resolve(tree[file]),
  });
  const MANIFESTS = '/o/models/manifests';

  it.each<[what: string, tree: Record<string, string>, model: string | undefined]>([
    ['of the library', { 'registry.ollama.ai/library/qwen3/8b': manifest(digest) }, 'qwen3:8b'],
    ['of a user', { 'registry.ollama.ai/me/qwen3/latest': manifest(digest) }, 'me/qwen3:latest'],
    [
      'of the Hub',
      { 'hf.co/unsloth/Qwen3-GGUF/Q4_K_M': manifest(digest) },
      'hf.co/unsloth/Qwen3-GGUF:Q4_K_M',
    ],
    [
      'among others',
      {
        'registry.ollama.ai/library/gemma/2b': manifest('3'.repeat(64)),
        'registry.ollama.ai/library/broken/2b': '{"layers": [',
        'registry.ollama.ai/library/qwen3/8b': manifest(digest),
      },
      'qwen3:8b',
    ],
    [
      'that is no model layer',
      { 'registry.ollama.ai/library/q/8b': manifest(digest, 'x.license') },
      undefined,
    ],
    [
      'under two names',
      {
        'registry.ollama.ai/library/qwen3/8b': manifest(digest),
        'registry.ollama.ai/library/qwen3/latest': manifest(digest),
      },
      undefined,
    ],
    ['without manifests', {}, undefined],
  ])('is looked up by its blob: %s', async (_what, tree, model) => {
    const files = filesOf(
      Object.fromEntries(Object.entries(tree).map(([file, text]) => [`${MANIFESTS}/${file}`, text])),
    );
    expect(await servedModel('ollama', runner, files)).toBe(model);
  });

  it('asks for no files when the name stands on the command line, or no blob', async () => {
    const unread: ProcessFiles = {
      list: () => Promise.reject(new Error('not to be read')),
      text: () => Promise.reject(new Error('not to be read')),
    };
    expect(await servedModel('vllm', ['vllm', 'serve', 'x'], unread)).toBe('x');
    expect(await servedModel('ollama', ['ollama', 'runner', '--model', '/o/x'], unread)).toBeUndefined();
  });

  it('gives up on a folder with too many manifests', async () => {
    const crowd = Object.fromEntries(
      Array.from({ length: 1001 }, (_, index) => [
        `${MANIFESTS}/registry.ollama.ai/library/m${index}/latest`,
        manifest(index === 0 ? digest : '3'.repeat(64)),
      ]),
    );
    expect(await servedModel('ollama', runner, filesOf(crowd))).toBeUndefined();
  });
});
