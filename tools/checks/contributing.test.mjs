// CONTRIBUTING.md, followed by the letter: its engine is added to a scratch clone, and must be well there.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ScratchClone, noGit } from './scratch-clone.mjs';

const GOLDEN = 'libs/engines/fixtures/acme-1.2.golden';

describe('CONTRIBUTING.md', { skip: noGit }, () => {
  /** @type {ScratchClone} */
  let clone;
  before(() => {
    clone = new ScratchClone();
    const page = read('CONTRIBUTING.md');
    const block = (/** @type {string} */ language) =>
      new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
    write('libs/engines/fixtures/acme-1.2.http', block('http'));
    write('libs/engines/src/adapters/acme.ts', block('ts'));
    const registry = read('libs/engines/src/registry.ts');
    write(
      'libs/engines/src/registry.ts',
      registry
        .replace(/^import .* from '\.\/adapters\//m, "import { acme } from './adapters/acme.ts';\n$&")
        .replace(/^ {2}openai,$/m, '  acme,\n$&'),
    );
  });
  after(() => clone.remove());

  it('shows an engine that type checks, and is formatted as all else', () => {
    // What `nx typecheck engines` finds, in a fifth of the time: without what it leaves for other projects.
    mkdirSync(join(clone.folder, '.cache'));
    write(
      '.cache/tsconfig.json',
      JSON.stringify({
        extends: '../tsconfig.base.json',
        compilerOptions: {
          composite: false,
          declarationMap: false,
          emitDeclarationOnly: false,
          noEmit: true,
        },
        files: ['../libs/engines/src/registry.ts'],
      }),
    );
    clone.run('node_modules/.bin/tsc', ['-p', '.cache/tsconfig.json']);
    clone.run('node_modules/.bin/prettier', ['--check', 'libs/engines/src']);
  });

  it('gets its golden from the tests, which then pass, and no other changes', () => {
    const jest = ['node_modules/jest/bin/jest.js', '-c', 'libs/engines/jest.config.cjs', 'engines.spec'];
    clone.run('env', ['UPDATE_GOLDENS=1', 'node', ...jest]);
    assert.ok(existsSync(join(clone.folder, GOLDEN)));
    clone.run('node', jest);
    assert.deepEqual(clone.run('git', ['status', '--short', 'libs/engines']).split('\n').sort(), [
      '',
      ' M libs/engines/src/registry.ts',
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

  /** @param {string} file */
  function read(file) {
    return readFileSync(join(clone.folder, file), 'utf8');
  }

  /** @param {string} file @param {string} text */
  function write(file, text) {
    writeFileSync(join(clone.folder, file), text);
  }
});
