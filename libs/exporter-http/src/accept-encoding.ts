/**
 * Whether a client wants gzip, by its `Accept-Encoding` (RFC 9110 section 12.5.3): `gzip` or `*` with a weight above
 * zero, and not below the weight it gives `identity`. Without the header it is not known to understand gzip.
 */
export function prefersGzip(acceptEncoding: string | undefined): boolean {
  const weights = new Map((acceptEncoding ?? '').toLowerCase().split(',').map(codingAndWeight));
  const gzip = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0;
  return gzip > 0 && gzip >= (weights.get('identity') ?? 0);
}

function codingAndWeight(item: string): [coding: string, weight: number] {
  const [coding = '', ...parameters] = item.split(';').map((part) => part.trim());
  const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice('q='.length);
  return [coding, weight === undefined ? 1 : weightOf(weight)];
}

/** A weight that is no number from 0 to 1 asks for nothing that we could honor. */
function weightOf(text: string): number {
  const weight = /^[01](\.\d{0,3})?$/.test(text) ? Number(text) : 0;
  return weight <= 1 ? weight : 0;
}
