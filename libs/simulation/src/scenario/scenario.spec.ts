import fc from 'fast-check';
import { demo } from './built-in/demo.ts';
import { formatScenarioProblem } from './read-yaml.ts';
import { parseScenario, type Scenario } from './scenario.ts';
import { TEST_CATALOGUE } from './test-catalogue.ts';

const BASE = `seed: test
host:
  gpus:
    - { board: h100-sxm, count: 2, power_limit: 500 }
    - { board: rtx-4090, ambient: 30 }
  driver: { nvidia: 570.10, cuda: 12.8 }
engines:
  - name: chat
    kind: vllm
    version: 0.10
    port: 8000
    model: meta-llama/Llama-3.1-8B-Instruct
    gpus: [0, 1]
    tensor_parallel: 2
    settings: { context_tokens: 8192, loras: [sql], prefix_caching: false }
  - name: local
    kind: ollama
    port: 11434
    models: [llama3.2:3b, qwen2.5:0.5b]
    gpus: [2]
    settings: { keep_alive: 10m, max_sequences: 2 }
traffic:
  - name: web
    engine: chat
    arrivals: { poisson: { rate: 2.5 } }
    prompt: chat
    output: { median: 200, sigma: 0.5, max: 900 }
    max_tokens: 1000
    tenants: { acme: 2, globex: 1 }
    prefix: { system_tokens: 200, system_ratio: 0.5, turns: 3 }
    cancel: { ratio: 0.1, patience: 4s }
    deadline: 2m
    retries: { attempts: 1, backoff: 250ms }
    loras: { sql: 0.25 }
  - engine: local
    arrivals: { bursty: { rate: 0.1, burst_rate: 1, mean_quiet: 1m, mean_burst: 10s } }
    prompt: 100
    output: code
timeline:
  - { at: 10m, incident: hang, target: chat, for: 5m }
  - { at: 1h30m, incident: fan_stop }
`;

/** The base with some of its text changed: each change must find its text. */
function problemsWith(...changes: readonly (readonly [from: string, to: string])[]): readonly string[] {
  const text = changes.reduce((current, [from, to]) => {
    if (!current.includes(from)) throw new Error(`the scenario does not contain ${from}`);
    return current.replace(from, to);
  }, BASE);
  return problemsOf(text);
}

function problemsOf(text: string): readonly string[] {
  const read = parseScenario(text, TEST_CATALOGUE);
  return read.ok ? [] : read.problems.map((problem) => formatScenarioProblem(problem, 's'));
}

function scenarioOf(text: string): Scenario {
  const read = parseScenario(text, TEST_CATALOGUE);
  if (!read.ok) throw new Error(problemsOf(text).join('\n'));
  return read.scenario;
}

describe('a scenario', () => {
  const scenario = scenarioOf(BASE);

  it('has its GPUs one by one', () => {
    expect(
      scenario.host.gpus.map(({ board, powerLimitWatts, ambientCelsius }) => [
        board.key,
        powerLimitWatts,
        ambientCelsius,
      ]),
    ).toEqual([
      ['h100-sxm', 500, 24],
      ['h100-sxm', 500, 24],
      ['rtx-4090', undefined, 30],
    ]);
    expect(scenario.host.driver).toEqual({ nvidia: '570.10', cuda: '12.8' });
  });

  it('has engines with their defaults below what it says', () => {
    const [chat, local] = scenario.engines;
    expect(chat).toMatchObject({
      name: 'chat',
      kind: 'vllm',
      version: '0.10',
      port: 8000,
      gpus: [0, 1],
      settings: {
        maxSequences: 256,
        gpuMemoryRatio: 0.9,
        contextTokens: 8192,
        prefixCaching: false,
        loras: { names: ['sql'], max: 1 },
      },
    });
    expect(chat?.models.map(({ name }) => name)).toEqual(['meta-llama/Llama-3.1-8B-Instruct']);
    expect(local).toMatchObject({
      settings: { keepAliveSeconds: 600, maxSequences: 2, contextTokens: 4096 },
    });
    expect(local).not.toHaveProperty('version');
    expect(local?.models.map(({ name }) => name)).toEqual(['llama3.2:3b', 'qwen2.5:0.5b']);
  });

  it('has traffic as it says', () => {
    expect(scenario.traffic[0]).toEqual({
      name: 'web',
      engine: 'chat',
      model: 'meta-llama/Llama-3.1-8B-Instruct',
      arrivals: { kind: 'poisson', ratePerSecond: 2.5 },
      prompt: { kind: 'recorded', shape: 'chat', scale: 1, minTokens: 1, maxTokens: 7192 },
      output: { kind: 'log-normal', medianTokens: 200, sigma: 0.5, minTokens: 1, maxTokens: 900 },
      maxTokens: 1000,
      maxPromptTokens: 7192,
      tenants: [
        { name: 'acme', weight: 2 },
        { name: 'globex', weight: 1 },
      ],
      kinds: { chat: 1, completion: 0, embedding: 0 },
      systemPrompt: { tokens: 200, ratio: 0.5 },
      conversations: {
        meanTurns: 3,
        turnTokens: { kind: 'log-normal', medianTokens: 60, sigma: 0.8, minTokens: 1, maxTokens: 7192 },
      },
      impatience: { ratio: 0.1, medianSeconds: 4, sigma: 0.5 },
      deadlineSeconds: 120,
      retries: { attempts: 1, backoffSeconds: 0.25, maxBackoffSeconds: 8 },
      loras: [{ name: 'sql', ratio: 0.25 }],
    });
  });

  it('has traffic with the defaults of a plain client', () => {
    expect(scenario.traffic[1]).toEqual({
      name: 'local',
      engine: 'local',
      model: 'llama3.2:3b',
      arrivals: {
        kind: 'bursty',
        ratePerSecond: 0.1,
        burstRatePerSecond: 1,
        meanQuietSeconds: 60,
        meanBurstSeconds: 10,
      },
      prompt: { kind: 'log-normal', medianTokens: 100, sigma: 0, minTokens: 1, maxTokens: 3072 },
      output: { kind: 'recorded', shape: 'code', scale: 1, minTokens: 1, maxTokens: Number.MAX_SAFE_INTEGER },
      maxTokens: 1024,
      maxPromptTokens: 3072,
      tenants: [{ name: 'default', weight: 1 }],
      kinds: { chat: 1, completion: 0, embedding: 0 },
      deadlineSeconds: 600,
      retries: { attempts: 2, backoffSeconds: 0.5, maxBackoffSeconds: 8 },
      loras: [],
    });
  });

  it('has a timeline of incidents that can be played', () => {
    expect(scenario.timeline).toEqual([
      { atSeconds: 600, forSeconds: 300, incident: { name: 'hang', target: 'chat', parameters: {} } },
      { atSeconds: 5400, incident: { name: 'fan_stop', target: 2, parameters: {} } },
    ]);
  });

  it('has defaults for all but the host and the engines', () => {
    const { seed, startHour, traffic, timeline, host } = scenarioOf('host: { gpus: [] }\nengines: []\n');
    expect({ seed, startHour, traffic, timeline, host }).toEqual({
      seed: 'llm-monitor',
      startHour: 9,
      traffic: [],
      timeline: [],
      host: { name: 'mock-host', gpus: [], driver: {} },
    });
  });

  it('tells the tide the hour at which the day starts', () => {
    const diurnal = 'diurnal: { rate: 2, peak_hour: 15, depth: 0.4 }';
    const text = BASE.replace('poisson: { rate: 2.5 }', diurnal).replace('seed: test', 'start_hour: 6.5');
    expect(scenarioOf(text).traffic[0]?.arrivals).toEqual({
      kind: 'diurnal',
      ratePerSecond: 2,
      peakHour: 15,
      depthRatio: 0.4,
      startHour: 6.5,
    });
  });
});

describe('a problem is told with its line, its path and how to mend it:', () => {
  it.each<{
    why: string;
    change: readonly [string, string];
    problem: string | RegExp;
    also?: readonly [string, string];
  }>([
    {
      why: 'a field that is not known',
      change: ['tensor_parallel: 2', 'tensor_paralel: 2'],
      problem:
        's:14:5: engines[0].tensor_paralel: there is no field "tensor_paralel"; did you mean tensor_parallel?',
    },
    {
      why: 'a field that is nowhere near',
      change: ['{ nvidia: 570.10, cuda: 12.8 }', '{ xyz: 1 }'],
      problem: 's:6:13: host.driver.xyz: there is no field "xyz"; known are nvidia, cuda, amd',
    },
    {
      why: 'a field of a setting',
      change: ['prefix_caching: false', 'prefix_cashing: false'],
      problem:
        's:15:53: engines[0].settings.prefix_cashing: there is no field "prefix_cashing"; did you mean prefix_caching?',
    },
    {
      why: 'a field of a length',
      change: ['median: 200', 'medium: 200'],
      problem: 's:27:15: traffic[0].output.medium: there is no field "medium"; did you mean median?',
    },
    {
      why: 'a field at the top',
      change: ['timeline:', 'timeleine:'],
      problem: 's:39:1: timeleine: there is no field "timeleine"; did you mean timeline?',
    },
    {
      why: 'a field that is missing',
      change: ['    port: 8000\n', ''],
      problem: 's:8:5: engines[0].port: it is missing: expected a port number from 0 to 65535',
    },
    {
      why: 'a model that is missing',
      change: ['    model: meta-llama/Llama-3.1-8B-Instruct\n', ''],
      problem:
        's:8:5: engines[0].model: it is missing: expected the name of a model, as meta-llama/Llama-3.1-8B-Instruct',
    },
    {
      why: 'a list that is none',
      change: ['gpus: [0, 1]', 'gpus: 0'],
      problem: 's:13:5: engines[0].gpus: it is "0": expected a list',
    },
    {
      why: 'a map that is none',
      change: ['{ poisson: { rate: 2.5 } }', 'often'],
      problem: 's:25:5: traffic[0].arrivals: it is "often": expected key: value lines',
    },
    {
      why: 'a negative rate',
      change: ['rate: 2.5', 'rate: -2.5'],
      problem: 's:25:28: traffic[0].arrivals.poisson.rate: it is "-2.5": expected a number from 0 to 100000',
    },
    {
      why: 'a duration without a unit',
      change: ['patience: 4s', 'patience: 4'],
      problem:
        /^s:31:27: traffic\[0\]\.cancel\.patience: it is "4": expected a duration with its unit .*: the unit is missing$/,
    },
    {
      why: 'two kinds of arrivals',
      change: ['poisson: { rate: 2.5 }', 'poisson: { rate: 1 }, diurnal: { rate: 1 }'],
      problem:
        's:25:5: traffic[0].arrivals: expected one of poisson, diurnal and bursty, and there is poisson and diurnal',
    },
    {
      why: 'no kind of arrivals',
      change: ['poisson: { rate: 2.5 }', ''],
      problem:
        's:25:5: traffic[0].arrivals: expected one of poisson, diurnal and bursty, and there is nothing',
    },
    {
      why: 'a shape that is not known',
      change: ['prompt: chat', 'prompt: chatt'],
      problem:
        's:26:5: traffic[0].prompt.shape: it is "chatt": expected one of chat, code, document, agent: did you mean chat?',
    },
    {
      why: 'a length of two kinds',
      change: ['{ median: 200', '{ shape: chat, median: 200'],
      problem: 's:27:5: traffic[0].output: expected either shape or median, and there is both',
    },
    {
      why: 'bounds that cross',
      change: ['max: 900', 'min: 901, max: 900'],
      problem: 's:27:40: traffic[0].output.min: it is 901 and max is 900; min must not be above max',
    },
    {
      why: 'tenants without weight',
      change: ['{ acme: 2, globex: 1 }', '{ acme: 0, globex: 0 }'],
      problem:
        's:29:5: traffic[0].tenants: all weights are 0, so nobody is left to choose; give one more than 0',
    },
    {
      why: 'a negative weight',
      change: ['acme: 2', 'acme: -2'],
      problem: 's:29:16: traffic[0].tenants.acme: it is "-2": expected a number from 0 to 1000000',
    },
    {
      why: 'LoRA ratios beyond the whole',
      also: ['loras: [sql]', 'loras: [sql, b]'],
      change: ['loras: { sql: 0.25 }', 'loras: { sql: 0.25, b: 0.8 }'],
      problem: 's:34:5: traffic[0].loras: the ratios are 1.05 together; at most 1 can be',
    },
    {
      why: 'a LoRA that the engine does not have',
      change: ['loras: { sql: 0.25 }', 'loras: { sqll: 0.25 }'],
      problem: 's:34:14: traffic[0].loras.sqll: engine chat has no LoRA "sqll"; did you mean sql?',
    },
    {
      why: 'a board that is not known',
      change: ['board: rtx-4090', 'board: rtx-4091'],
      problem: 's:5:9: host.gpus[1].board: no board is called "rtx-4091"; did you mean rtx-4090?',
    },
    {
      why: 'a power limit that the board does not take',
      change: ['power_limit: 500', 'power_limit: 900'],
      problem:
        's:4:36: host.gpus[0].power_limit: h100-sxm takes a power limit from 200 to 700 watts, not 900',
    },
    {
      why: 'a model that is not known',
      change: ['Llama-3.1-8B-Instruct', 'Llama-3.1-8B-Instruc'],
      problem:
        's:12:5: engines[0].model: no model is called "meta-llama/Llama-3.1-8B-Instruc"; did you mean meta-llama/Llama-3.1-8B-Instruct?',
    },
    {
      why: 'one of several models that is not known',
      change: ['qwen2.5:0.5b', 'qwen2.5:0.6b'],
      problem: 's:19:27: engines[1].models[1]: no model is called "qwen2.5:0.6b"; did you mean qwen2.5:0.5b?',
    },
    {
      why: 'several models on an engine of one',
      change: ['model: meta-llama/Llama-3.1-8B-Instruct', 'models: [Qwen/Qwen2.5-7B-Instruct, llama3.2:3b]'],
      problem:
        's:12:5: engines[0].models: vllm serves one model; make an engine for each (ollama and triton serve several)',
    },
    {
      why: 'an engine that is not known',
      change: ['engine: chat', 'engine: chatt'],
      problem: 's:24:5: traffic[0].engine: no engine is called "chatt"; did you mean chat?',
    },
    {
      why: 'a kind of engine that is not known',
      change: ['kind: vllm', 'kind: vlm'],
      problem:
        's:9:5: engines[0].kind: it is "vlm": expected one of vllm, sglang, tgi, llamacpp, ollama, triton: did you mean vllm?',
    },
    {
      why: 'a model that the engine does not serve',
      change: ['  - engine: local', '  - engine: local\n    model: llama3.1:8b'],
      problem:
        's:36:5: traffic[1].model: engine local does not serve "llama3.1:8b"; did you mean llama3.2:3b?',
    },
    {
      why: 'answers that fill the context',
      change: ['max_tokens: 1000', 'max_tokens: 8192'],
      problem:
        's:28:5: traffic[0].max_tokens: a request of engine chat has room for 8192 tokens, and answers alone may take 8192; lower it, or raise context_tokens of the engine',
    },
    {
      why: 'two engines on one port',
      change: ['port: 11434', 'port: 8000'],
      problem:
        's:18:5: engines[1].port: port 8000 is taken by engines[0]; give each engine a port of its own',
    },
    {
      why: 'two engines of one name',
      also: ['engine: local', 'name: local\n    engine: chat'],
      change: ['name: local', 'name: chat'],
      problem:
        's:16:5: engines[1].name: name chat is taken by engines[0]; give each engine a name of its own',
    },
    {
      why: 'a GPU that is not there',
      change: ['gpus: [2]', 'gpus: [3]'],
      problem: 's:20:12: engines[1].gpus[0]: there is no GPU 3; the host has 0 to 2',
    },
    {
      why: 'a GPU that is named twice',
      change: ['gpus: [0, 1]', 'gpus: [1, 1]'],
      problem: 's:13:15: engines[0].gpus[1]: GPU 1 is named twice; name it once',
    },
    {
      why: 'no GPU where one is needed',
      change: ['gpus: [0, 1]\n    tensor_parallel: 2', 'gpus: []'],
      problem: 's:13:5: engines[0].gpus: vllm needs a GPU; llamacpp and ollama can do without',
    },
    {
      why: 'GPUs and tensor parallelism that differ',
      change: ['tensor_parallel: 2', 'tensor_parallel: 4'],
      problem:
        's:14:5: engines[0].tensor_parallel: it is 4 and the engine has 2 GPUs; make them equal, or leave it out',
    },
    {
      why: 'heads that the GPUs cannot share',
      change: ['gpus: [0, 1]\n    tensor_parallel: 2', 'gpus: [0, 1, 2]'],
      problem:
        's:13:5: engines[0].gpus: meta-llama/Llama-3.1-8B-Instruct has 32 attention heads, which 3 GPUs cannot share evenly; take a number of GPUs that divides them',
    },
    {
      why: 'a setting that the engine does not have',
      change: ['keep_alive: 10m', 'memory_ratio: 0.5'],
      problem: 's:21:17: engines[1].settings.memory_ratio: ollama has no such setting; leave it out',
    },
    {
      why: 'an incident that is not known',
      change: ['incident: hang', 'incident: hangs'],
      problem: 's:40:16: timeline[0].incident: no incident is called "hangs"; did you mean hang?',
    },
    {
      why: 'an incident whose target is of the wrong kind',
      change: ['target: chat', 'target: web'],
      problem:
        's:40:32: timeline[0].target: hang happens to an engine, and "web" is a traffic; there is chat, local',
    },
    {
      why: 'an incident with a parameter out of range',
      change: ['incident: fan_stop', 'incident: overload, target: web, parameters: { factor: -1 }'],
      problem: 's:41:65: timeline[1].parameters.factor: expected a number from 0 to 1000',
    },
    {
      why: 'an incident that ends before it begins',
      change: ['for: 5m', 'for: 0s'],
      problem: /^s:40:46: timeline\[0\]\.for: it is "0s": expected a duration .* of at least 1ms/,
    },
    {
      why: 'an incident before the world',
      change: ['at: 10m', 'at: -10m'],
      problem: /^s:40:7: timeline\[0\]\.at: it is "-10m": expected a duration/,
    },
    {
      why: 'the same incident twice at once',
      change: ['at: 1h30m, incident: fan_stop', 'at: 14m, incident: hang, target: chat'],
      problem:
        's:41:7: timeline[1].at: hang goes on there already (line of timeline[0]); begin it after the other has ended, or give that one a shorter "for"',
    },
  ])('$why', ({ change, problem, also }) => {
    const matching: unknown = typeof problem === 'string' ? problem : expect.stringMatching(problem);
    expect(problemsWith(change, ...(also === undefined ? [] : [also]))).toEqual([matching]);
  });
});

describe('the nearest to a problem is accepted:', () => {
  it.each<{ why: string; change: readonly [string, string] }>([
    { why: 'a rate of 0', change: ['rate: 2.5', 'rate: 0'] },
    { why: 'ports that the system chooses', change: ['port: 11434', 'port: 0'] },
    { why: 'the highest power limit', change: ['power_limit: 500', 'power_limit: 700'] },
    { why: 'LoRA ratios of all', change: ['loras: { sql: 0.25 }', 'loras: { sql: 1 }'] },
    { why: 'room for a prompt of one token', change: ['max_tokens: 1000', 'max_tokens: 8191'] },
    { why: 'no GPU for an engine that can do without', change: ['gpus: [2]', 'gpus: []'] },
    { why: 'a GPU shared with an engine of slots', change: ['gpus: [2]', 'gpus: [0, 2]'] },
    {
      why: 'a model larger than memory where layers can be on the processor',
      change: ['qwen2.5:0.5b', 'meta-llama/Llama-3.3-70B-Instruct'],
    },
    { why: 'a large model on enough GPUs', change: ['gpus: [0, 1]\n    tensor_parallel: 2', 'gpus: [0]'] },
    {
      why: 'the same incident when the first has ended',
      change: ['at: 1h30m, incident: fan_stop', 'at: 15m, incident: hang, target: chat'],
    },
    {
      why: 'the same incident elsewhere',
      change: ['at: 1h30m, incident: fan_stop', 'at: 12m, incident: hang, target: local'],
    },
    { why: 'another incident at the same time', change: ['at: 1h30m', 'at: 10m'] },
  ])('$why', ({ change }) => {
    expect(problemsWith(change)).toEqual([]);
  });
});

describe('memory', () => {
  const engine = (name: string, model: string, gpus: string, settings = '') =>
    `  - { name: ${name}, kind: vllm, port: ${8000 + name.length}, model: ${model}, gpus: ${gpus}, settings: {${settings}} }\n`;
  const withEngines = (...engines: readonly string[]): readonly string[] =>
    problemsOf(`host: { gpus: [{ board: h100-sxm, count: 2 }] }\nengines:\n${engines.join('')}`);

  it('holds a model that fits, and refuses one that does not', () => {
    expect(withEngines(engine('a', 'Qwen/Qwen2.5-32B-Instruct', '[0]'))).toEqual([]);
    expect(withEngines(engine('a', 'meta-llama/Llama-3.3-70B-Instruct', '[0, 1]'))).toEqual([]);
    expect(withEngines(engine('a', 'meta-llama/Llama-3.3-70B-Instruct', '[0]'))).toEqual([
      's:3:40: engines[0].model: the weights of meta-llama/Llama-3.3-70B-Instruct are 141.1 GB, more than there is room for on 1 × h100-sxm (85.9 GB), of which vllm takes 0.9; give it more GPUs or a smaller model',
    ]);
  });

  it('is shared by engines that take half of it each, and not by those that take all', () => {
    const [half, small] = ['memory_ratio: 0.5', 'Qwen/Qwen2.5-7B-Instruct'];
    expect(withEngines(engine('a', small, '[0]', half), engine('bb', small, '[0]', half))).toEqual([]);
    expect(withEngines(engine('a', small, '[0]'), engine('bb', small, '[0]'))).toEqual([
      's:4:74: engines[1].gpus: it takes 0.9 of the memory of GPU 0, which a uses too: 1.8 together; give it another GPU, or lower memory_ratio of each',
    ]);
    expect(withEngines(engine('a', small, '[0]'), engine('bb', small, '[1]'))).toEqual([]);
  });

  it('refuses layers that do not fit when it is told how many must', () => {
    const llamacpp = (layers: number) =>
      problemsOf(
        `host: { gpus: [{ board: rtx-4090 }] }\nengines:\n  - { name: a, kind: llamacpp, port: 1, model: meta-llama/Llama-3.3-70B-Instruct, gpus: [0], settings: { gpu_layers: ${layers} } }\n`,
      );
    expect(llamacpp(10)).toEqual([]);
    expect(llamacpp(80)).toEqual([
      expect.stringMatching(/^s:3:\d+: engines\[0\]\.settings\.gpu_layers: 80 layers of .* are 141\.1 GB/),
    ]);
  });
});

it('tells all problems at once, in the order of the lines', () => {
  const problems = problemsWith(
    ['board: rtx-4090', 'board: rtx-9999'],
    ['kind: vllm', 'kind: vllm\n    colour: red'],
    ['gpus: [0, 1]', 'gpus: [0, 7]'],
    ['settings: { context_tokens: 8192', 'settings: { memory_ratio: 2'],
    ['port: 11434', 'port: 8000'],
    ['rate: 2.5', 'rate: -1'],
    ['engine: local', 'engine: nobody'],
    ['incident: hang', 'incident: hung_up'],
    ['incident: fan_stop', 'incident: ecc, target: chat'],
  );
  expect(problems.map((problem) => problem.split(': ')[1])).toEqual([
    'host.gpus[1].board',
    'engines[0].colour',
    'engines[0].gpus[1]',
    'engines[0].settings.memory_ratio',
    'engines[1].port',
    'traffic[0].arrivals.poisson.rate',
    'traffic[1].engine',
    'timeline[0].incident',
    'timeline[1].target',
  ]);
});

it.each([
  '',
  '[]',
  'text',
  'null',
  'host:',
  '- a',
  'engines: {}',
  'host: { gpus: [x] }\nengines: [1, []]\ntraffic: 3',
])('refuses %j with a problem', (text) => {
  expect(problemsOf(text).length).toBeGreaterThan(0);
});

it('never throws, whatever lines are lost, doubled or mixed up', () => {
  const lines = demo.split('\n');
  const edits = fc.array(
    fc.record({
      line: fc.nat(lines.length - 1),
      with: fc.constantFrom('', '- x', 'a: [', '  b: {}', 'gpus: [999]'),
    }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(edits, (changes) => {
      const text = [...lines];
      for (const change of changes) text[change.line] = change.with;
      const read = parseScenario(text.join('\n'), TEST_CATALOGUE);
      if (!read.ok) expect(read.problems.every(({ line, column }) => line >= 1 && column >= 1)).toBe(true);
    }),
    { seed: 6, numRuns: 150 },
  );
});
