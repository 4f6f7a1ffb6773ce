/** What a listener can fail with before it serves: the kernel's word, and what to do about it. */
const LISTEN_REMEDIES: Readonly<Record<string, (port: number, host: string) => string>> = {
  EADDRINUSE: (port) =>
    `another process has that port: stop it (\`ss -ltnp 'sport = :${port}'\` names it) or choose another port`,
  EACCES: () => 'this user may not take that port: choose one from 1024 up, or grant CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: () =>
    'no network interface of this machine has that address: `ip address` lists those it has; ' +
    '127.0.0.1 serves this machine only, 0.0.0.0 all of its addresses',
  ENOTFOUND: (_port, host) =>
    `the name ${host} does not resolve: use an address such as 127.0.0.1 or 0.0.0.0`,
};

/** The server could not start to listen; `code` is the operating system's (`EADDRINUSE`, `EACCES`, …). */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: string;

  constructor(host: string, port: number, cause: NodeJS.ErrnoException) {
    const code = cause.code ?? 'unknown';
    const remedy = LISTEN_REMEDIES[code]?.(port, host) ?? cause.message;
    super(`Cannot listen on ${host} port ${port} (${code}): ${remedy}.`, { cause });
    this.code = code;
  }
}

/** The TLS certificate or key cannot be used; the message names which, and never quotes a key. */
export class TlsSettingsError extends Error {
  override readonly name = 'TlsSettingsError';
}

/** A token or user in the settings cannot be used; the message names which, and never quotes a secret. */
export class AuthSettingsError extends Error {
  override readonly name = 'AuthSettingsError';
}

/** A request refused with a reason its sender may read: thrown anywhere below a route, answered by the assembly. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Further fields of the JSON answer, beside `status` and `message`. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(
    status: number,
    message: string,
    {
      headers = {},
      facts = {},
    }: { headers?: Record<string, string | string[]>; facts?: Record<string, unknown> } = {},
  ) {
    super(message);
    this.status = status;
    this.headers = headers;
    this.facts = facts;
  }
}
