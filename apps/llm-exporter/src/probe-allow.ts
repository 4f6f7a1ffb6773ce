import { settingSchema } from '@llm-monitor/config';

/** Addresses that `/probe` may be pointed at beyond the configured and discovered ones. */
export interface AllowPattern {
  readonly text: string;
  /** Against an address as {@link probeUrl} writes it. */
  matches(url: string): boolean;
}

/**
 * `http://10.0.0.*:8000`: an address in which `*` stands for letters, digits and hyphens, so never for a dot, a colon
 * or a slash. A pattern for `10.0.0.*` must not let a name such as `10.0.0.example.org` through.
 */
export const allowPattern = settingSchema<AllowPattern>({
  expected:
    'an address in which * stands for letters, digits and hyphens (not for a dot), such as http://10.0.0.*:8000',
  example: 'http://10.0.0.*:8000',
  parse: (input, refuse) => {
    const text = typeof input === 'string' ? input.trim().toLowerCase().replace(/\/+$/, '') : '';
    if (!/^https?:\/\/[\w.*:[\]-]+(\/[\w./-]*)?$/.test(text)) return refuse();
    const url = probeUrl(text.replaceAll('*', '1'));
    if (url === undefined) return refuse();
    // What an address loses when it is written the usual way (the scheme's own port) the pattern loses too.
    const usual = text.replace(/^(http:\/\/[^/]*):80(?=\/|$)|^(https:\/\/[^/]*):443(?=\/|$)/, '$1$2');
    const literal = (part: string): string => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    const expression = new RegExp(`^${usual.split('*').map(literal).join('[a-z0-9-]+')}$`);
    return { text, matches: (address) => expression.test(address) };
  },
  format: ({ text }) => text,
});

/**
 * An address as it is compared: lower-case scheme and host, no default port, no trailing slash; `http://` where there
 * is no scheme, as in blackbox_exporter.
 * @returns undefined for what is no address, or one with credentials, a query or a fragment.
 */
export function probeUrl(target: string): string | undefined {
  const text = target.includes('://') ? target : `http://${target}`;
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined;
  return url.href.replace(/\/+$/, '');
}
