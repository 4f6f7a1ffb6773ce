import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { buildSync } from 'esbuild';

import type { ReaderCommand } from './reader-process.ts';

/**
 * Bundles the gpu-reader as the apps do, so that a test can fork it.
 * @param name tells the bundles of test files apart that run at the same time
 */
export function bundleReader(name: string): ReaderCommand {
  // In the project, not in a temporary folder: koffi is not bundled, and found from here.
  const folder = path.resolve(__dirname, '../../test-output/readers');
  mkdirSync(folder, { recursive: true });
  const script = path.join(folder, `${name}.cjs`);
  buildSync({
    stdin: {
      contents: "import { runGpuReader } from './reader-child.ts';\nrunGpuReader();\n",
      resolveDir: __dirname,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['koffi'],
    outfile: script,
    logLevel: 'error',
  });
  return { script };
}
