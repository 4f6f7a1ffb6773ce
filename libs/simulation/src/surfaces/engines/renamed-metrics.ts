/** Gauges of the language's own client library, which no upgrade of an engine renames. */
const NOT_THE_ENGINES = /^(process|python|go)_/;

/**
 * An exposition after an upgrade that renamed what people look at: each gauge of the engine has another name, as happened
 * to vLLM's `gpu_cache_usage_perc`. Counters and histograms keep theirs.
 */
export function renamedMetrics(text: string): string {
  const gauges = new Set(
    [...text.matchAll(/^# TYPE (\S+) gauge$/gm)]
      .map(([, name = '']) => name)
      .filter((name) => !NOT_THE_ENGINES.test(name)),
  );
  return text.replaceAll(
    /^(# (?:HELP|TYPE) )?([a-zA-Z_:][\w:]*)/gm,
    (line, comment: string | undefined, name: string) =>
      gauges.has(name) ? `${comment ?? ''}${name}_current` : line,
  );
}
