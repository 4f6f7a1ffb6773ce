import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { build } from 'esbuild';

/**
 * Our libraries are TypeScript, so a bench bundles what it measures, as the apps are.
 * @param {string} contents a module that exports it; paths are from the workspace's root
 */
export async function bundled(contents) {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const directory = mkdtempSync(path.join(tmpdir(), 'bench-'));
  try {
    const outfile = path.join(directory, 'bundle.cjs');
    const stdin = { contents, resolveDir: root, loader: 'ts' };
    await build({ stdin, outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs' });
    return createRequire(pathToFileURL(outfile))(outfile);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
