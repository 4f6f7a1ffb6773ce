import base, { BOUNDARIES } from '../../eslint.config.mjs';

export default [
  ...base,
  {
    // The pages that are generated from an app's settings need them, and nothing else of the app.
    files: ['**/*.ts'],
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { allow: ['^@llm-monitor/[a-z-]+/settings$'], depConstraints: BOUNDARIES },
      ],
    },
  },
];
