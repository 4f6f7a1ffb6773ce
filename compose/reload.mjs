// Runs the bundle of the working copy, and runs it anew whenever a build has written it. Not `node --watch`: a build
// removes the bundle for a moment, and the watch never sees the new one. Looks twice a second, since bind mounts of
// some hosts bring no events.
import { spawn } from 'node:child_process';
import { watchFile } from 'node:fs';

const [program = '', ...options] = process.argv.slice(2);
let child = start();

function start() {
  return spawn(process.execPath, [program, ...options], { stdio: 'inherit' });
}

watchFile(program, { interval: 500 }, (now) => {
  if (now.size === 0) return; // removed, or being written
  process.stdout.write(`${program} has changed: starting it anew\n`);
  const next = () => {
    child = start();
  };
  if (child.exitCode !== null || child.signalCode !== null) return next();
  child.once('exit', next);
  child.kill();
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    child.once('exit', () => process.exit(0));
    if (!child.kill()) process.exit(0);
  });
}
