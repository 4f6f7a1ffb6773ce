import root from '../../eslint.config.mjs';

export default [
  ...root,
  {
    files: ['src/page/*.client.js'],
    languageOptions: {
      sourceType: 'script',
      globals: {
        AbortSignal: 'readonly',
        Element: 'readonly',
        EventSource: 'readonly',
        HTMLElement: 'readonly',
        HTMLTemplateElement: 'readonly',
        SVGElement: 'readonly',
        clearTimeout: 'readonly',
        document: 'readonly',
        fetch: 'readonly',
        location: 'readonly',
        setInterval: 'readonly',
        setTimeout: 'readonly',
      },
    },
  },
];
