// Writes what an app's bundles hold: `dist/LICENSES.txt`, our licence and the name, version and licence of each package, as
// they ask of everybody who passes them on; and `dist/sbom.cdx.json`, the same list for programs (CycloneDX 1.6), since no
// scanner sees a package within a bundle. `node tools/ci/licences.mjs apps/monitor` after its build.
import { createHash } from 'node:crypto';
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
const described = [...new Set(bundled)].map((folder) => describePackage(join(workspaceRoot, folder)));
// One version may lie in several folders.
const packages = [...new Map(described.map((each) => [addressOf(each), each])).values()].sort((one, other) =>
  addressOf(one) < addressOf(other) ? -1 : 1,
);
writeFileSync(
  join(workspaceRoot, app, 'dist/LICENSES.txt'),
  [
    `LLM Server Monitor\n\n${readFileSync(join(workspaceRoot, 'LICENSE'), 'utf8')}`,
    'It holds these packages:\n',
    ...packages.map(({ name, version, licence, text }) => `${name} ${version} (${licence})\n\n${text}`),
  ].join(`\n${'-'.repeat(80)}\n\n`),
);

const { name, version } = JSON.parse(readFileSync(join(workspaceRoot, app, 'package.json'), 'utf8'));
const contents = {
  metadata: {
    component: { type: 'application', 'bom-ref': name, name, version, licenses: [licensed('Apache-2.0')] },
  },
  components: packages.map((each) => ({
    type: 'library',
    'bom-ref': addressOf(each),
    name: each.name,
    version: each.version,
    purl: addressOf(each),
    licenses: [licensed(each.licence)],
  })),
  dependencies: [{ ref: name, dependsOn: packages.map(addressOf) }],
};
const format = {
  bomFormat: 'CycloneDX',
  specVersion: '1.6',
  serialNumber: `urn:uuid:${uuidOf(JSON.stringify(contents))}`,
  version: 1,
};
writeFileSync(
  join(workspaceRoot, app, 'dist/sbom.cdx.json'),
  JSON.stringify({ ...format, ...contents }, null, 2),
);

/** A UUID of one's own making (version 8, RFC 9562): the same list has the same one, whenever it is built. @param {string} text */
function uuidOf(text) {
  const hash = createHash('sha256').update(text).digest('hex');
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

/** The package URL, by which scanners look up what is known of a package. @param {{ name: string, version: string }} each */
function addressOf({ name, version }) {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

/** @param {string} id of SPDX, or an expression of several */
function licensed(id) {
  return / (OR|AND|WITH) /.test(id) ? { expression: id } : { license: { id } };
}

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
