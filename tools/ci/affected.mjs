// What CI does when something is touched: one entry for each kind of change. tools/checks/affected.test.mjs makes every
// one of these changes in a scratch clone and asks Nx; .github/workflows/ci.yaml does what Nx then answers (plan.mjs).
// Format, references, generated files and the rules for every text file are checked whatever has changed.

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
const NOTHING = { tests: [], images: [], workspace: false, stack: false, scripts: false };
const ALL = { tests: ALL_TESTED, images: APPS, workspace: true, stack: true, scripts: true };

/**
 * @typedef {object} Row
 * @property {string} change  what was touched
 * @property {readonly string[]} files  stands for it
 * @property {readonly string[]} tests  projects whose tests run (lint and types follow them)
 * @property {readonly string[]} images  apps that are bundled, and whose images are built
 * @property {boolean} workspace  whether apps are tested against each other, and workflows, scripts and compose files checked
 * @property {boolean} stack  whether the stack is started for real
 * @property {boolean} scripts  whether the scripts set up a machine for real
 */

/** @type {readonly Row[]} */
export const AFFECTED = [
  { change: 'docs only', files: ['docs/engines.md', 'README.md'], ...NOTHING },
  {
    change: 'a runbook, which an alert links to',
    files: ['docs/runbooks/LlmEngineDown.md'],
    ...NOTHING,
    tests: ['observability'],
    workspace: true,
  },
  {
    change: 'the guide for contributors, whose examples are tried',
    files: ['CONTRIBUTING.md'],
    ...NOTHING,
    workspace: true,
  },
  {
    change: 'one app',
    files: ['apps/llm-exporter/src/main.ts'],
    ...NOTHING,
    tests: ['llm-exporter'],
    images: ['llm-exporter'],
    workspace: true,
    stack: true,
  },
  {
    change: 'the Dockerfile of one app',
    files: ['apps/gpu-exporter/Dockerfile'],
    ...NOTHING,
    tests: ['gpu-exporter'],
    images: ['gpu-exporter'],
    workspace: true,
    stack: true,
  },
  {
    change: 'the readings of engines, by which the owners of GPUs are told, too',
    files: ['libs/engines/src/families.ts'],
    ...NOTHING,
    tests: ['engines', 'gpus', ...APPS, 'observability', 'simulation'],
    images: APPS,
    workspace: true,
    stack: true,
  },
  {
    change: 'metrics-core, on which all readings stand',
    files: ['libs/metrics-core/src/index.ts'],
    ...NOTHING,
    tests: ['engines', 'gpus', 'metrics-core', ...APPS, 'observability', 'simulation'],
    images: APPS,
    workspace: true,
    stack: true,
  },
  {
    change: 'compose files',
    files: ['compose/docker-compose.yml'],
    ...NOTHING,
    workspace: true,
    stack: true,
  },
  {
    change: 'a script',
    files: ['scripts/development/compose.sh', 'tools/checks/scripts-in-containers.mjs'],
    ...NOTHING,
    workspace: true,
    stack: true,
    scripts: true,
  },
  {
    change: 'the Makefile',
    files: ['Makefile'],
    ...NOTHING,
    workspace: true,
    stack: true,
    scripts: true,
  },
  {
    change: 'the hooks, and what else is for those who work on it',
    files: ['lefthook.yml', '.devcontainer/devcontainer.json', '.vscode/tasks.json'],
    ...NOTHING,
    workspace: true,
  },
  {
    change: 'a workflow that is not this one',
    files: ['.github/workflows/build-images.yaml'],
    ...NOTHING,
    workspace: true,
  },
  {
    change: 'the workflow that does all this: each of its jobs is tried',
    files: ['.github/workflows/ci.yaml'],
    ...NOTHING,
    images: APPS,
    workspace: true,
    stack: true,
    scripts: true,
  },
  { change: 'a root configuration', files: ['tsconfig.base.json'], ...ALL },
  {
    change: 'a package: of which, and how it is used, does not matter',
    files: ['package-lock.json'],
    ...ALL,
  },
  { change: 'settings of all packages', files: ['package.json'], ...ALL },
];

/** Files whose change affects no project: all that is checked of them is what is checked of every file. */
export const AFFECT_NOTHING = [/\.md$/, /^\.env\.example$/, /^\.editorconfig$/];
