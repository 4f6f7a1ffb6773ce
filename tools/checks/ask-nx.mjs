// Asks Nx many times at once what is affected, in the folder it is started in: `node ask-nx.mjs COMMITS` prints, as JSON,
// what each of the last COMMITS commits affects, and which tracked files affect no project when they change. The command
// `nx show projects --affected` calls the same function, but makes the graph of projects anew for each answer (4 s).
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const nx = dirname(require.resolve('nx/package.json'));
const { createProjectGraphAsync } = require('@nx/devkit');
const { filterAffected } = require(join(nx, 'dist/src/project-graph/affected/affected-project-graph.js'));
const { calculateFileChanges, WholeFileChange } = require(join(nx, 'dist/src/project-graph/file-utils.js'));

const graph = await createProjectGraphAsync();
const commits = [];
for (let age = Number(process.argv[2]) - 1; age >= 0; age--) {
  const [base, head] = [`HEAD~${age + 1}`, `HEAD~${age}`];
  const files = lines(['diff', '--name-only', base, head]);
  commits.push({ files, affected: await affectedBy(calculateFileChanges(files, { base, head })) });
}
const untouched = [];
for (const file of lines(['ls-files'])) {
  const affected = await affectedBy([{ file, getChanges: () => [new WholeFileChange()] }]);
  if (affected.length === 0) untouched.push(file);
}
const projects = Object.entries(graph.nodes).map(([name, { data }]) => ({
  name,
  tags: data.tags ?? [],
  targets: Object.keys(data.targets ?? {}),
  implicitDependencies: data.implicitDependencies ?? [],
}));
console.log(JSON.stringify({ projects, commits, untouched }));

/** @param {object[]} changes @returns {Promise<string[]>} */
async function affectedBy(changes) {
  return Object.keys((await filterAffected(graph, changes)).nodes);
}

/** @param {readonly string[]} args of git */
function lines(args) {
  return execFileSync('git', args, { encoding: 'utf8' }).split('\n').filter(Boolean);
}
