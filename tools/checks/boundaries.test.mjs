import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));

// The boundary rule stays silent when it cannot find the project graph on disk, so the graph is made first.
process.env['NX_DAEMON'] = 'false';
process.chdir(workspaceRoot);
const { createProjectGraphAsync } = await import('@nx/devkit');

const BOUNDARY_RULES = ['@nx/enforce-module-boundaries', 'no-restricted-imports'];
const eslint = new ESLint({
  cwd: workspaceRoot,
  ruleFilter: ({ ruleId }) => BOUNDARY_RULES.includes(ruleId),
  // Imports are judged by their text, so the files need not exist nor be typechecked.
  overrideConfig: { files: ['**/*.ts'], languageOptions: { parserOptions: { projectService: false } } },
});

/** Beside each import that a rule refuses, the nearest one that it allows. */
const CASES = [
  {
    rule: 'the ground knows no web framework',
    refused: { from: 'libs/metrics-core/src/example.ts', imports: 'koa' },
    allowed: { from: 'libs/exporter-http/src/example.ts', imports: 'koa' },
  },
  {
    rule: 'the ground does not import the domain',
    refused: { from: 'libs/metrics-core/src/example.ts', imports: '@llm-monitor/engines' },
    allowed: { from: 'libs/engines/src/example.ts', imports: '@llm-monitor/metrics-core' },
  },
  {
    rule: 'the domain does not import delivery',
    refused: { from: 'libs/engines/src/example.ts', imports: '@llm-monitor/exporter-http' },
    allowed: { from: 'apps/llm-exporter/src/example.ts', imports: '@llm-monitor/engines' },
  },
  {
    rule: 'nothing reaches into another project by a relative path',
    refused: { from: 'libs/engines/src/example.ts', imports: '../../../apps/llm-exporter/src/main.ts' },
    allowed: { from: 'libs/engines/src/example.ts', imports: './index.ts' },
  },
  {
    rule: 'apps do not import each other',
    refused: { from: 'apps/monitor/src/example.ts', imports: '../../llm-exporter/src/main.ts' },
    allowed: { from: 'apps/monitor/src/example.ts', imports: './main.ts' },
  },
  {
    rule: 'test support stays in tests',
    refused: { from: 'libs/engines/src/example.ts', imports: '@llm-monitor/testing' },
    allowed: { from: 'libs/engines/src/example.spec.ts', imports: '@llm-monitor/testing' },
  },
];

describe('boundaries between projects', () => {
  /** @type {Awaited<ReturnType<typeof createProjectGraphAsync>>} */
  let graph;
  before(async () => {
    graph = await createProjectGraphAsync();
  });

  for (const { rule, refused, allowed } of CASES) {
    it(`${rule}: ${refused.from} must not import ${refused.imports}`, async () => {
      const found = await complaints(refused);
      assert.ok(
        found.some(([name]) => BOUNDARY_RULES.includes(name)),
        `no complaint of a boundary: ${found.join()}`,
      );
    });
    it(`${rule}: ${allowed.from} may import ${allowed.imports}`, async () => {
      assert.deepEqual(await complaints(allowed), []);
    });
  }

  it('every project has one type and one layer: without tags no boundary would hold it', () => {
    for (const { name, data } of Object.values(graph.nodes)) {
      const kinds = (data.tags ?? []).map((tag) => tag.split(':')[0]);
      for (const kind of ['type', 'layer']) {
        assert.equal(
          kinds.filter((each) => each === kind).length,
          1,
          `${name}: needs exactly one ${kind}: tag`,
        );
      }
    }
  });
});

/** @param {{ from: string, imports: string }} example @returns {Promise<[rule: string, message: string][]>} */
async function complaints({ from, imports }) {
  const text = `import { example } from '${imports}';\nexport const again: unknown = example;\n`;
  const [result] = await eslint.lintText(text, { filePath: from });
  return (result?.messages ?? []).map(({ ruleId, message }) => [ruleId ?? 'no rule', message]);
}
