import js from '@eslint/js';
import nx from '@nx/eslint-plugin';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** Which project may import which: the house of the design, as lint. */
export const BOUNDARIES = [
  { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib', 'type:test-support'] },
  { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib', 'type:test-support'] },
  { sourceTag: 'type:tool', onlyDependOnLibsWithTags: ['type:lib', 'type:app', 'type:test-support'] },
  { sourceTag: 'type:test-support', onlyDependOnLibsWithTags: ['type:test-support'] },
  { sourceTag: 'layer:ground', onlyDependOnLibsWithTags: ['layer:ground'] },
  { sourceTag: 'layer:domain', onlyDependOnLibsWithTags: ['layer:ground', 'layer:domain'] },
  {
    sourceTag: 'layer:delivery',
    onlyDependOnLibsWithTags: ['layer:ground', 'layer:domain', 'layer:delivery'],
  },
  { sourceTag: 'layer:ground', bannedExternalImports: ['koa', '@koa/*', 'koffi'] },
  { sourceTag: 'layer:domain', bannedExternalImports: ['koa', '@koa/*'] },
];

/** The pre-commit hook leaves out the rules that need all types of a project: they take seconds, and pre-push has them. */
const isQuick = process.env['LINT_QUICKLY'] === 'true';

export default tseslint.config(
  { ignores: ['**/dist', '**/out-tsc', '**/test-output', '**/coverage', '.nx', '.cache'] },
  js.configs.recommended,
  ...nx.configs['flat/base'],
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { enforceBuildableLibDependency: true, allow: [], depConstraints: BOUNDARIES },
      ],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    ignores: ['**/*.spec.ts', 'tools/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        { paths: [{ name: '@llm-monitor/testing', message: 'Test support is for *.spec.ts files only.' }] },
      ],
    },
  },
  {
    files: ['**/*.cjs', '**/*.mjs'],
    languageOptions: {
      globals: {
        module: 'writable',
        require: 'readonly',
        __dirname: 'readonly',
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
      },
    },
  },
  ...(isQuick
    ? [
        {
          files: ['**/*.ts'],
          extends: [tseslint.configs.disableTypeChecked],
          rules: { '@nx/enforce-module-boundaries': 'off' },
        },
      ]
    : []),
  prettier,
);
