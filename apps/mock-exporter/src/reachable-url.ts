import { isIPv6 } from 'node:net';

/** Where clients of this machine find what listens at a host and port; one that listens everywhere, on loopback. */
export function reachableUrl(scheme: 'http' | 'https', host: string, port: number): string {
  const name = WILDCARDS[host] ?? host;
  return `${scheme}://${isIPv6(name) ? `[${name}]` : name}:${port}`;
}

const WILDCARDS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
