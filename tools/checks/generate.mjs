// `make generate`: bundles tools/generate and runs it in the workspace's root; `--check` only says what is out of date.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const bundle = '.cache/generate.cjs';

await build({
  absWorkingDir: workspaceRoot,
  entryPoints: ['tools/generate/src/main.ts'],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  target: 'node20',
  logLevel: 'error',
});
const { status } = spawnSync(process.execPath, [bundle, ...process.argv.slice(2)], {
  cwd: workspaceRoot,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
