#!/usr/bin/env node
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';

import { readAnswer, SMI_SOCKET } from './smi-protocol.ts';

/**
 * nvidia-smi of a simulated host: asks the mock-exporter, over the socket beside it, what the real one would print. It
 * is a program of its own because those who run nvidia-smi, run a program.
 */
async function main(): Promise<void> {
  // What waits for a driver is in an uninterruptible sleep: an answer ends it, or the end of the mock.
  process.on('SIGTERM', () => undefined);
  const path = join(dirname(process.argv[1] ?? '.'), SMI_SOCKET);
  const socket = connect({ path, allowHalfOpen: true });
  socket.end(`${JSON.stringify(process.argv.slice(2))}\n`);
  const { stdout, stderr, exitCode } = readAnswer(await text(socket));
  process.stderr.write(stderr);
  process.stdout.write(stdout);
  process.exitCode = exitCode;
}

main().catch((error: unknown) => {
  const why = error instanceof Error ? error.message : String(error);
  process.stderr.write(
    `nvidia-smi of the simulated host: no answer from the mock-exporter (${why}); is it running?\n`,
  );
  // As the real one where it cannot talk to the driver.
  process.exitCode = 9;
});
