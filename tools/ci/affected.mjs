// What CI does when something is touched: one line for each kind of change. tools/checks/affected.test.mjs makes every
// one of these changes in a scratch clone and asks Nx; .github/workflows/ci.yaml does what Nx then answers.

const APPS = ['gpu-exporter', 'llm-exporter', 'mock-exporter', 'monitor'];
const ALL_TESTED = [
  ...APPS,
  ...[
    'config',
    'engines',
    'exporter-http',
    'fake-nvml',
    'gpus',
    'metrics-core',
    'observability',
    'simulation',
    'testing',
  ],
];

/**
 * @typedef {object} Row
 * @property {string} change  what was touched
 * @property {readonly string[]} files  stands for it
 * @property {readonly string[]} tests  projects whose tests run (lint and types follow them)
 * @property {readonly string[]} images  apps that are bundled, and whose images are built
 * @property {boolean} workspace  whether apps are tested against each other, and scripts and compose files are checked
 * @property {boolean} e2e  whether the stack is started for real
 */

/** @type {readonly Row[]} */
export const AFFECTED = [
  {
    change: 'docs only',
    files: ['docs/engines.md', 'README.md'],
    tests: [],
    images: [],
    workspace: false,
    e2e: false,
  },
  {
    change: 'one app',
    files: ['apps/llm-exporter/src/main.ts'],
    tests: ['llm-exporter'],
    images: ['llm-exporter'],
    workspace: true,
    e2e: true,
  },
  {
    change: 'the Dockerfile of one app',
    files: ['apps/gpu-exporter/Dockerfile'],
    tests: ['gpu-exporter'],
    images: ['gpu-exporter'],
    workspace: true,
    e2e: true,
  },
  {
    change: 'the readings of engines, by which the owners of GPUs are told, too',
    files: ['libs/engines/src/families.ts'],
    tests: ['engines', 'gpus', ...APPS, 'observability', 'simulation'],
    images: APPS,
    workspace: true,
    e2e: true,
  },
  {
    change: 'metrics-core, on which all readings stand',
    files: ['libs/metrics-core/src/index.ts'],
    tests: ['engines', 'gpus', 'metrics-core', ...APPS, 'observability', 'simulation'],
    images: APPS,
    workspace: true,
    e2e: true,
  },
  {
    change: 'compose files',
    files: ['compose/docker-compose.yml'],
    tests: [],
    images: [],
    workspace: true,
    e2e: true,
  },
  {
    change: 'scripts',
    files: ['scripts/development/compose.sh'],
    tests: [],
    images: [],
    workspace: true,
    e2e: true,
  },
  {
    change: 'a workflow',
    files: ['.github/workflows/ci.yaml'],
    tests: [],
    images: [],
    workspace: true,
    e2e: false,
  },
  {
    change: 'a root configuration',
    files: ['tsconfig.base.json'],
    tests: ALL_TESTED,
    images: APPS,
    workspace: true,
    e2e: true,
  },
];
