// CONTRIBUTING.md, followed by the letter: its engine and its GPU backend are added to a scratch clone, and must be well
// there.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ScratchClone, noGit } from './scratch-clone.mjs';

const GOLDEN = 'libs/engines/fixtures/acme-1.2.golden';
const JEST = 'node_modules/jest/bin/jest.js';

describe('CONTRIBUTING.md', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  before(() => {
    clone = new ScratchClone();
    const page = read('CONTRIBUTING.md');
    const blocks = (/** @type {string} */ language) =>
      [...page.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(
        ([, text = '']) => text,
      );
    const [answers = '', loading = ''] = blocks('http');
    const [adapter = '', vendor = '', backend = '', spec = '', choice = '', mends = ''] = blocks('ts');

    write('libs/engines/fixtures/acme-1.2.http', answers);
    write('libs/engines/fixtures/acme-1.2-loading.http', loading);
    write('libs/engines/src/adapters/acme.ts', adapter);
    edit('libs/engines/src/registry.ts', [
      [/^import .* from '\.\/adapters\//m, "import { acme } from './adapters/acme.ts';\n$&"],
      [/^ {2}openai,$/m, '  acme,\n$&'],
    ]);

    write('libs/gpus/src/backends/acme/acme-backend.ts', backend);
    write('libs/gpus/src/backends/acme/acme-backend.spec.ts', spec);
    edit('libs/gpus/src/reading.ts', [
      [/^export const BACKEND_VENDORS = \{$/m, "$&\n  acme: 'acme',"],
      [/^export const GPU_VENDORS = \{$/m, `$&\n  ${vendor.trim()}`],
    ]);
    edit('libs/gpus/src/watch/create-backend.ts', [
      [/^import /m, "import { createAcmeBackend } from '../backends/acme/acme-backend.ts';\n$&"],
      [/^const backends = \{$/m, '$&\n  acme: ({ sysfsRoot }) => createAcmeBackend({ sysfsRoot }),'],
    ]);
    edit('libs/gpus/src/mends.ts', [[/^const vendorMends: .* = \{$/m, `$&\n  ${mends.trim()}`]]);
    edit('libs/gpus/src/watch/choose-backends.ts', [
      [/^ {2}if \(has\('amd'\)\).*$/m, `$&\n  ${choice.trim()}`],
    ]);
    edit('libs/gpus/src/watch/choose-backends.spec.ts', [
      [
        /^ {4}\['neither', .*$/m,
        "    ['an Acme', { pci: [{ ...AMD, vendor: 'acme' }] }, false, ['acme']],\n$&",
      ],
    ]);
  });
  after(() => clone.remove());

  it('shows what type checks in every app, and is formatted as all else', () => {
    // What `nx typecheck` finds, in a fraction of the time: without what that leaves for other projects.
    write(
      '.cache/tsconfig.json',
      JSON.stringify({
        extends: '../tsconfig.base.json',
        compilerOptions: {
          ...{ composite: false, declarationMap: false, emitDeclarationOnly: false, noEmit: true },
          types: ['node', 'jest'],
        },
        files: [
          ...['gpu-exporter/src/main.ts', 'llm-exporter/src/main.ts', 'monitor/src/describe-gpus.ts'].map(
            (file) => `../apps/${file}`,
          ),
          '../libs/gpus/src/backends/acme/acme-backend.spec.ts',
          '../libs/gpus/src/watch/choose-backends.spec.ts',
        ],
      }),
    );
    clone.run('node_modules/.bin/tsc', ['-p', '.cache/tsconfig.json']);
    clone.run('node_modules/.bin/prettier', ['--check', 'libs/engines/src', 'libs/gpus/src']);
  });

  it('shows an engine that gets its golden from the tests, which then pass, and changes no other', () => {
    const jest = [JEST, '-c', 'libs/engines/jest.config.cjs', 'engines.spec'];
    clone.run('env', ['UPDATE_GOLDENS=1', 'node', ...jest]);
    assert.ok(existsSync(join(clone.folder, GOLDEN)));
    clone.run('node', jest);
    assert.deepEqual(clone.run('git', ['status', '--short', 'libs/engines']).split('\n').sort(), [
      '',
      ' M libs/engines/src/registry.ts',
      '?? libs/engines/fixtures/acme-1.2-loading.golden',
      '?? libs/engines/fixtures/acme-1.2-loading.http',
      `?? ${GOLDEN}`,
      '?? libs/engines/fixtures/acme-1.2.http',
      '?? libs/engines/src/adapters/acme.ts',
    ]);
  });

  it('shows an engine whose figures are those of its answers', () => {
    const golden = read(GOLDEN);
    assert.match(golden, /^# missing: nothing$/m);
    assert.match(golden, /^# issues: none$/m);
    for (const line of [
      'llm_engine_info{server="saved",engine="acme",version="1.2.0",detected_by="/metrics has acme_*"} 1',
      'llm_requests_waiting{server="saved",engine="acme",model="acme-7b"} 2',
      'llm_requests_finished_total{server="saved",engine="acme",model="acme-7b",finish_reason="length"} 6',
      'llm_request_errors_total{server="saved",engine="acme",model="acme-7b",error_type="internal"} 1',
      'llm_time_to_first_token_seconds_bucket{server="saved",engine="acme",model="acme-7b",le="0.7"} 76',
      'llm_time_to_first_token_seconds_sum{server="saved",engine="acme",model="acme-7b"} 9.1',
    ])
      assert.ok(golden.split('\n').includes(line), `${line} is not in\n${golden}`);
  });

  it('shows an engine that is known, and says so, while it loads', () => {
    assert.match(
      read('libs/engines/fixtures/acme-1.2-loading.golden'),
      /^# engine acme, by \/version answered as it does; state loading;/,
    );
  });

  it('shows a GPU backend whose tests pass, and that is chosen', () => {
    const jest = [JEST, '-c', 'libs/gpus/jest.config.cjs', '--json', 'acme', 'choose-backends'];
    const { numTotalTestSuites, numPassedTests } = JSON.parse(clone.run('node', jest));
    assert.equal(numTotalTestSuites, 2);
    assert.ok(numPassedTests > 10);
  });

  /** @param {string} file */
  function read(file) {
    return readFileSync(join(clone.folder, file), 'utf8');
  }

  /** @param {string} file @param {string} text */
  function write(file, text) {
    mkdirSync(dirname(join(clone.folder, file)), { recursive: true });
    writeFileSync(join(clone.folder, file), text);
  }

  /** What the page says in words. @param {string} file @param {readonly (readonly [RegExp, string])[]} edits */
  function edit(file, edits) {
    write(
      file,
      edits.reduce((text, [what, by]) => {
        assert.match(text, what, `${file} has changed, and this test has to be told`);
        return text.replace(what, by);
      }, read(file)),
    );
  }
});
