import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { listeningSockets, parseSocketTable } from './listening-sockets.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const row = (local: string, state: string, inode: string): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`;

it.each([
  ['the wildcard', '00000000:1F40', [{ address: '0.0.0.0', port: 8000, inode: '7' }]],
  ['loopback', '0100007F:2CAA', [{ address: '127.0.0.1', port: 11434, inode: '7' }]],
  ['a private address', '0501A8C0:1F90', [{ address: '192.168.1.5', port: 8080, inode: '7' }]],
  ['the IPv6 wildcard', '00000000000000000000000000000000:1F40', [{ address: '::', port: 8000, inode: '7' }]],
  ['IPv6 loopback', '00000000000000000000000001000000:1F40', [{ address: '::1', port: 8000, inode: '7' }]],
  [
    'IPv4 within IPv6',
    '0000000000000000FFFF00000100007F:1F40',
    [{ address: '127.0.0.1', port: 8000, inode: '7' }],
  ],
  [
    'another IPv6 address',
    'B80D0120000000000000000001000000:1F40',
    [{ address: '2001:db8:0:0:0:0:0:1', port: 8000, inode: '7' }],
  ],
  ['nonsense', 'zz:1F40', []],
])('reads %s', (_what, local, expected) => {
  expect(parseSocketTable(HEAD + row(local, '0A', '7'))).toEqual(expected);
});

it('takes listening sockets only, and passes over lines it cannot read', () => {
  const text = `${HEAD}${row('0100007F:1F40', '01', '8')}half a line\n${row('0100007F:1F41', '0A', '9')}\n`;
  expect(parseSocketTable(text).map(({ port }) => port)).toEqual([8001]);
});

it('finds the process of a socket, with its parent and its command line', async () => {
  const proc = mkdtempSync(path.join(tmpdir(), 'proc-'));
  try {
    mkdirSync(path.join(proc, 'net'));
    writeFileSync(
      path.join(proc, 'net/tcp'),
      HEAD + row('0100007F:1F40', '0A', '4711') + row('0100007F:1F41', '0A', '4712'),
    );
    mkdirSync(path.join(proc, '42/fd'), { recursive: true });
    symlinkSync('socket:[4711]', path.join(proc, '42/fd/3'));
    symlinkSync('/dev/null', path.join(proc, '42/fd/0'));
    writeFileSync(path.join(proc, '42/cmdline'), 'python3\0-m\0vllm.entrypoints.openai.api_server\0');
    writeFileSync(path.join(proc, '42/stat'), '42 (odd) name) S 7 42 42 0');
    expect(await listeningSockets(proc)).toEqual([
      {
        address: '127.0.0.1',
        port: 8000,
        inode: '4711',
        process: { pid: 42, parent: 7, arguments: ['python3', '-m', 'vllm.entrypoints.openai.api_server'] },
      },
      { address: '127.0.0.1', port: 8001, inode: '4712' },
    ]);
  } finally {
    rmSync(proc, { recursive: true });
  }
});

it('is undefined where there is no /proc', async () => {
  expect(await listeningSockets(path.join(tmpdir(), 'no-such-proc'))).toBeUndefined();
});

const onLinux = process.platform === 'linux' ? it : it.skip;

onLinux('finds a real socket of this very process', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const found = (await listeningSockets())?.find((socket) => socket.port === port);
    expect(found?.process?.pid).toBe(process.pid);
  } finally {
    server.close();
  }
});
