import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

import { readArguments, type ProgramAnswer } from './smi-protocol.ts';

/** Command lines are short; who sends more is not our nvidia-smi. */
const MAX_REQUEST_BYTES = 64 * 1024;
const IDLE_SECONDS = 10;

/** The host folder cannot be used; the message says how to mend it. */
export class HostFolderError extends Error {
  override readonly name = 'HostFolderError';
}

/** Answers the nvidia-smi of the simulated host. */
export interface SmiSocket {
  /** Asks anew for the answers of runs that hang: a driver that answers again lets them end. */
  retry(): void;
  close(): Promise<void>;
}

/**
 * Listens for runs of the simulated nvidia-smi, whoever runs it: it tells nothing but what is simulated.
 * @param path of the socket; one that a mock left behind, which was killed, is taken over
 * @param answer undefined for a run that hangs: nothing is sent, as a driver that does not return
 * @throws HostFolderError where another mock answers there; else what `listen` emits
 */
export async function serveSmi(
  path: string,
  answer: (args: readonly string[]) => ProgramAnswer | undefined,
): Promise<SmiSocket> {
  await refuseIfAnswered(path);
  rmSync(path, { force: true });
  const open = new Set<Socket>();
  const hanging = new Map<Socket, readonly string[]>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      hanging.delete(socket);
    });
    socket.on('error', () => socket.destroy());
    readLine(socket, (line) => {
      const args = readArguments(line);
      const told = args === undefined ? NOT_UNDERSTOOD : answer(args);
      if (told !== undefined) socket.end(JSON.stringify(told));
      else if (args !== undefined) hanging.set(socket.setTimeout(0), args);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, readableAll: true, writableAll: true }, resolve);
  });
  server.on('error', () => undefined); // One connection that cannot be accepted costs itself.
  return {
    retry: () => {
      for (const [socket, args] of hanging) {
        const told = answer(args);
        if (told === undefined) return;
        hanging.delete(socket);
        socket.end(JSON.stringify(told));
      }
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** @throws HostFolderError where a mock answers at the socket */
export async function refuseIfAnswered(path: string): Promise<void> {
  if (!(await answers(path))) return;
  throw new HostFolderError(
    `another mock-exporter answers at ${path}; stop it, or set MOCK_EXPORTER_HOST_FOLDER to another folder`,
  );
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

const NOT_UNDERSTOOD: ProgramAnswer = { stdout: '', stderr: 'no list of arguments came\n', exitCode: 2 };

function readLine(socket: Socket, onLine: (line: string) => void): void {
  let text = '';
  socket.setEncoding('utf8').setTimeout(IDLE_SECONDS * 1000, () => socket.destroy());
  const take = (chunk: string): void => {
    text += chunk;
    const end = text.indexOf('\n');
    if (end < 0 && text.length > MAX_REQUEST_BYTES) socket.destroy();
    if (end < 0) return;
    socket.off('data', take).resume();
    onLine(text.slice(0, end));
  };
  socket.on('data', take);
}
