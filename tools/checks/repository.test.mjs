import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const NOT_OURS = [
  '.git',
  '.nx',
  '.cache',
  'node_modules',
  'dist',
  'out-tsc',
  'test-output',
  'coverage',
  'reports',
];

/** @param {string} file */
const read = (file) => readFileSync(join(workspaceRoot, file), 'utf8');

describe('the Makefile', () => {
  const targets = [...read('Makefile').matchAll(/^([a-z][a-z0-9-]*):/gm)].map(([, target]) => target);

  it('explains every target in its help', () => {
    const explained = [...read('Makefile').matchAll(/^([a-z][a-z0-9-]*):.*## \S/gm)].map(
      ([, target]) => target,
    );
    assert.deepEqual(targets, explained);
  });

  for (const page of ['README.md', 'CLAUDE.md', 'CONTRIBUTING.md', 'compose/README.md', ...pages('docs')]) {
    it(`has every target that ${page} names`, () => {
      const named = makeTargets(read(page));
      assert.deepEqual(
        named.filter((target) => !targets.includes(target)),
        [],
      );
    });
  }

  it('is what the pages are searched for: a target in code, not the verb in a sentence', () => {
    const page =
      'Make sure to make tea, then run `make start ARGS=x`:\n```sh\nmake test # all\n```\nmake nothing';
    assert.deepEqual(makeTargets(page), ['start', 'test']);
  });
});

describe('what a public repository must not hold', () => {
  const RULES = [
    {
      what: 'the address of a package registry',
      pattern: /registry\.(npmjs|yarnpkg)|npm\.pkg\.github|_auth[T]oken/,
      in: () => true,
    },
    {
      what: "a developer's folder",
      pattern: /(^|[^\w.])\/(work\/(main|shared)|home\/[a-z]\w*|Users\/[A-Za-z]\w*)\//m,
      in: () => true,
    },
    {
      what: 'a path of one machine',
      pattern: /(^|[^\w.])\/(root|tmp)\/(?!\.npm)/m,
      in: (/** @type {string} */ file) => !file.includes('/fixtures/'), // an engine may well answer with such a path
    },
  ];
  for (const { what, pattern, in: applies } of RULES) {
    it(what, () => {
      const found = textFiles()
        .filter(applies)
        .filter((file) => pattern.test(read(file)));
      assert.deepEqual(found, []);
    });
  }

  it('a package-lock.json that binds to one registry', () => {
    const { packages } = JSON.parse(read('package-lock.json'));
    const bound = Object.entries(packages).filter(([, { resolved }]) => /^https?:/.test(resolved ?? ''));
    assert.deepEqual(
      bound.map(([name]) => name),
      [],
    );
  });
});

/** The targets that the code spans and code blocks of a page name. @param {string} markdown */
function makeTargets(markdown) {
  const code = [...markdown.matchAll(/```[^\n]*\n([\s\S]*?)```|`([^`\n]+)`/g)].map(
    ([, block, span]) => block ?? span ?? '',
  );
  return code.flatMap((text) =>
    [...text.matchAll(/(?:^|[;&|]\s*)(?:\$ )?make ([a-z][a-z0-9-]*)/gm)].map(([, target]) => target),
  );
}

/** The Markdown files of a folder. @param {string} folder */
function pages(folder) {
  if (!existsSync(join(workspaceRoot, folder))) return [];
  return /** @type {string[]} */ (readdirSync(join(workspaceRoot, folder), { recursive: true }))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

/** Every file of the project but what tools made, as paths from the root. @returns {string[]} */
function textFiles(folder = '.') {
  return readdirSync(join(workspaceRoot, folder), { withFileTypes: true })
    .filter((entry) => !NOT_OURS.includes(entry.name))
    .flatMap((entry) => {
      const file = join(folder, entry.name);
      if (entry.isDirectory()) return textFiles(file);
      return entry.isFile() ? [file] : [];
    });
}
