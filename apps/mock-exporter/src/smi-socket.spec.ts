import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { readAnswer, type ProgramAnswer } from './smi-protocol.ts';
import { HostFolderError, serveSmi, type SmiSocket } from './smi-socket.ts';

const ANSWER: ProgramAnswer = { stdout: 'GPU 0\n', stderr: '', exitCode: 0 };
let folder: string;
let path: string;
let socket: SmiSocket | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'smi-socket-'));
  path = join(folder, 'smi.sock');
});

afterEach(async () => {
  await socket?.close();
  socket = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function ask(line: string): Promise<ProgramAnswer> {
  const client = connect({ path, allowHalfOpen: true });
  client.end(line);
  return readAnswer(await text(client));
}

/** Leaves a socket behind, as a mock does that is killed. */
async function leaveSocketBehind(): Promise<void> {
  const script = join(folder, 'listen.cjs');
  writeFileSync(
    script,
    `require('node:net').createServer().listen(process.argv[2], () => process.send('up'))`,
  );
  const child = fork(script, [path]);
  await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('serveSmi', () => {
  it('answers a list of arguments', async () => {
    const asked: (readonly string[])[] = [];
    socket = await serveSmi(path, (args) => {
      asked.push(args);
      return ANSWER;
    });
    expect(await ask('["-q","-x"]\n')).toEqual(ANSWER);
    expect(asked).toEqual([['-q', '-x']]);
  });

  it('lets every user of the host ask, as everybody may run nvidia-smi', async () => {
    socket = await serveSmi(path, () => ANSWER);
    // What a socket asks of who connects to it; whether it may be executed differs between versions of Node.js.
    expect(statSync(path).mode & 0o666).toBe(0o666);
  });

  it.each(['no JSON\n', '{"a":1}\n', '[1]\n'])('says that %j is no list of arguments', async (line) => {
    socket = await serveSmi(path, () => ANSWER);
    expect((await ask(line)).exitCode).toBe(2);
  });

  it('takes over the socket of a mock that was killed', async () => {
    await leaveSocketBehind();
    expect(existsSync(path)).toBe(true);
    socket = await serveSmi(path, () => ANSWER);
    expect(await ask('[]\n')).toEqual(ANSWER);
  });

  it('keeps a run that hangs waiting, until there is an answer', async () => {
    const answers: ProgramAnswer[] = [];
    let onAsked = (): void => undefined;
    const isAsked = new Promise<void>((resolve) => (onAsked = resolve));
    socket = await serveSmi(path, () => {
      onAsked();
      return answers[0];
    });
    const answered = ask('["-q"]\n');
    await isAsked;
    socket.retry();
    answers.push(ANSWER);
    socket.retry();
    expect(await answered).toEqual(ANSWER);
  });

  it('does not take it from one that runs', async () => {
    socket = await serveSmi(path, () => ANSWER);
    await expect(serveSmi(path, () => ANSWER)).rejects.toThrow(HostFolderError);
    expect(await ask('[]\n')).toEqual(ANSWER);
  });
});
