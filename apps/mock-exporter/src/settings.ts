import {
  defineSettings,
  durationBetween,
  filePath,
  host,
  httpSettings,
  numberBetween,
  plainText,
  type SettingsOf,
} from '@llm-monitor/config';

/** Every setting of the mock-exporter, once. */
export const settings = defineSettings(
  'mock-exporter',
  {
    MOCK_EXPORTER_SCENARIO: {
      schema: plainText.default('demo'),
      help: 'What is simulated: the name of a scenario that comes with the mock (demo, all-engines, rack, amd), or the path of a YAML file.',
      group: 'World',
    },
    MOCK_EXPORTER_SPEED: {
      schema: numberBetween(0.01, 1000).default(1),
      help: 'Seconds of the world in one second of this machine; requests sent to its engines are answered as much faster.',
      group: 'World',
    },
    MOCK_EXPORTER_WARM_UP: {
      schema: durationBetween(0, 86_400).default(60),
      help: 'Time that passes in the world before it is shown: engines have loaded their models then, and GPUs are warm.',
      group: 'World',
    },
    MOCK_EXPORTER_ENGINE_HOST: {
      schema: host.default('127.0.0.1'),
      help: 'Address on which the engines of the world listen, each on its own port by the scenario.',
      group: 'World',
    },
    MOCK_EXPORTER_HOST_FOLDER: {
      schema: filePath.optional(),
      help: 'Folder for what programs find on the simulated host: bin/nvidia-smi, sys/, proc/, the kernel log, and nvml.json for tests. Written anew while the mock runs; without it only the engines are there.',
      example: '/run/mock-exporter',
      group: 'World',
    },
  },
  {
    description: 'simulates a host with GPUs and LLM engines, which the real exporters take for real',
    include: httpSettings({ port: 9503 }),
    commands: {
      incidents: {
        arguments: [],
        help: 'List the incidents that the running mock can play, and those that go on.',
      },
      start: {
        arguments: ['INCIDENT', '[TARGET]'],
        help: 'Start an incident in the running mock, on a GPU by its index, or an engine or a traffic by its name.',
        flags: {
          for: {
            schema: durationBetween(1, 86_400).optional(),
            help: 'How long it goes on; until it is stopped where it is left out.',
          },
        },
      },
      stop: {
        arguments: ['INCIDENT'],
        help: 'Stop an incident of that name in the running mock, on every target.',
      },
    },
  },
);

export type Settings = SettingsOf<typeof settings>;
