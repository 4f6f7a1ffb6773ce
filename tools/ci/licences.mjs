// Writes `dist/LICENSES.txt` of an app: our licence, and the name, version and licence of each package in its bundles,
// as they ask of everybody who passes them on. `node tools/ci/licences.mjs apps/monitor` after its build.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const app = process.argv[2] ?? '';
const metafile = join(workspaceRoot, app, 'dist/meta.json');
if (app === '' || !existsSync(metafile)) {
  console.error(`Usage: node tools/ci/licences.mjs APP\n${metafile} is not there: build the app first.`);
  process.exit(2);
}

/** @type {{ outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }> }} */
const { outputs } = JSON.parse(readFileSync(metafile, 'utf8'));
const bundled = Object.values(outputs)
  .flatMap(({ inputs }) => Object.entries(inputs))
  .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  .map(([file]) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0])
  .filter((folder) => folder !== undefined);
const packages = [...new Set(bundled)]
  .map((folder) => describePackage(join(workspaceRoot, folder)))
  .sort((one, other) => (one.name < other.name ? -1 : 1));
writeFileSync(
  join(workspaceRoot, app, 'dist/LICENSES.txt'),
  [
    `LLM Server Monitor\n\n${readFileSync(join(workspaceRoot, 'LICENSE'), 'utf8')}`,
    'It holds these packages:\n',
    ...packages.map(({ name, version, licence, text }) => `${name} ${version} (${licence})\n\n${text}`),
  ].join(`\n${'-'.repeat(80)}\n\n`),
);

/** @param {string} folder */
function describePackage(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  const text =
    file === undefined
      ? 'The package has no text of its licence.'
      : readFileSync(join(folder, file), 'utf8').trim();
  return { name: String(name), version: String(version), licence: String(license), text };
}
