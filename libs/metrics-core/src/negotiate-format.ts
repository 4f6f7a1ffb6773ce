import type { ExpositionFormat } from './parse-exposition.ts';

/**
 * The format that a scraper's Accept header asks for: the one of the highest `q`, the earlier of equals; Prometheus
 * text where nothing fits or nothing is asked. Versions we do not write (OpenMetrics 0.0.1 and 2.0, text 1.0.0) are
 * passed over.
 */
export function negotiateFormat(acceptHeader: string | undefined): ExpositionFormat {
  let best: { format: ExpositionFormat; quality: number } | undefined;
  for (const range of (acceptHeader ?? '').split(',')) {
    const [mediaType = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    const format = formatOf(mediaType, parameter(parameters, 'version'));
    const quality = qualityOf(parameter(parameters, 'q'));
    if (format !== undefined && quality > (best?.quality ?? 0)) best = { format, quality };
  }
  return best?.format ?? 'text';
}

function formatOf(mediaType: string, version: string | undefined): ExpositionFormat | undefined {
  switch (mediaType) {
    case 'application/openmetrics-text':
      return version === undefined || version === '1.0.0' ? 'openmetrics' : undefined;
    case 'text/plain':
      return version === undefined || version === '0.0.4' ? 'text' : undefined;
    case 'text/*':
    case '*/*':
      return 'text';
    case 'application/*':
      return 'openmetrics';
    default:
      return undefined;
  }
}

function parameter(parameters: readonly string[], name: string): string | undefined {
  const found = parameters.find((entry) => entry.startsWith(`${name}=`));
  return found?.slice(name.length + 1).replaceAll('"', '');
}

function qualityOf(text: string | undefined): number {
  if (text === undefined) return 1;
  return /^(0(\.\d+)?|1(\.0+)?)$/.test(text) ? Number(text) : 0;
}
