import type { EngineState, FinishReason } from './engine.ts';
import type { EngineConfig, HistogramName } from './engine-config.ts';
import type { Sequence } from './sequence.ts';
import { GrowingHistogram } from './truth-histogram.ts';

/**
 * What an engine counts while its process lives. Times are those of vLLM's `IterationStats` and `FinishedRequestStats`
 * (vllm/v1/metrics/stats.py): the queue ends with the first step that a request is in, prefill with its first token,
 * decode with its last one.
 */
export class EngineStatistics {
  submitted = 0;
  rejected = 0;
  preemptions = 0;
  promptTokens = 0;
  generatedTokens = 0;
  iterations = 0;
  queriedTokens = 0;
  hitTokens = 0;
  draftTokens = 0;
  acceptedTokens = 0;
  readonly requests: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 };
  private readonly histograms: Readonly<Record<HistogramName, GrowingHistogram>>;

  constructor(bounds: EngineConfig['histogramBounds']) {
    this.histograms = mapBounds(bounds);
  }

  /** A step over so many tokens has run. */
  step(tokens: number): void {
    this.iterations += 1;
    this.histograms.iterationTokens.observe(tokens);
  }

  /** All of the prompt is computed; with it the first token is out, if there is one. */
  prompted(sequence: Sequence, seconds: number): void {
    this.promptTokens += sequence.promptTokens;
    if (sequence.answerTokens > 0) {
      this.histograms.timeToFirstTokenSeconds.observe(seconds - sequence.arrivedSeconds);
    }
  }

  /** So many tokens came out of one step, that long after the ones before them. */
  generated(count: number, secondsSinceLast: number | undefined): void {
    this.generatedTokens += count;
    if (secondsSinceLast !== undefined) this.histograms.interTokenSeconds.observe(secondsSinceLast);
  }

  /** Only whole answers enter the histograms: the times of one that was broken off say nothing of the engine. */
  ended(sequence: Sequence, reason: FinishReason, seconds: number): void {
    this.requests[reason] += 1;
    const { histograms } = this;
    const { scheduledSeconds, promptedSeconds, lastTokenSeconds, arrivedSeconds, generatedTokens } = sequence;
    if (reason === 'abort' || reason === 'error') return;
    if (scheduledSeconds === undefined || promptedSeconds === undefined) return;
    histograms.requestSeconds.observe(seconds - arrivedSeconds);
    histograms.queueSeconds.observe(scheduledSeconds - arrivedSeconds);
    histograms.prefillSeconds.observe(promptedSeconds - scheduledSeconds);
    histograms.inferenceSeconds.observe(lastTokenSeconds - scheduledSeconds);
    histograms.promptTokens.observe(sequence.promptTokens);
    if (generatedTokens === 0) return;
    histograms.decodeSeconds.observe(lastTokenSeconds - promptedSeconds);
    histograms.generatedTokens.observe(generatedTokens);
    histograms.maxTokens.observe(sequence.request.maxTokens);
    if (generatedTokens > 1) {
      histograms.timePerOutputTokenSeconds.observe(
        (lastTokenSeconds - promptedSeconds) / (generatedTokens - 1),
      );
    }
  }

  histogramState(): EngineState['histograms'] {
    const { histograms } = this;
    return {
      timeToFirstTokenSeconds: histograms.timeToFirstTokenSeconds.snapshot(),
      interTokenSeconds: histograms.interTokenSeconds.snapshot(),
      timePerOutputTokenSeconds: histograms.timePerOutputTokenSeconds.snapshot(),
      requestSeconds: histograms.requestSeconds.snapshot(),
      queueSeconds: histograms.queueSeconds.snapshot(),
      prefillSeconds: histograms.prefillSeconds.snapshot(),
      decodeSeconds: histograms.decodeSeconds.snapshot(),
      inferenceSeconds: histograms.inferenceSeconds.snapshot(),
      promptTokens: histograms.promptTokens.snapshot(),
      generatedTokens: histograms.generatedTokens.snapshot(),
      maxTokens: histograms.maxTokens.snapshot(),
      iterationTokens: histograms.iterationTokens.snapshot(),
    };
  }
}

function mapBounds(bounds: EngineConfig['histogramBounds']): Record<HistogramName, GrowingHistogram> {
  return {
    timeToFirstTokenSeconds: new GrowingHistogram(bounds.timeToFirstTokenSeconds),
    interTokenSeconds: new GrowingHistogram(bounds.interTokenSeconds),
    timePerOutputTokenSeconds: new GrowingHistogram(bounds.timePerOutputTokenSeconds),
    requestSeconds: new GrowingHistogram(bounds.requestSeconds),
    queueSeconds: new GrowingHistogram(bounds.queueSeconds),
    prefillSeconds: new GrowingHistogram(bounds.prefillSeconds),
    decodeSeconds: new GrowingHistogram(bounds.decodeSeconds),
    inferenceSeconds: new GrowingHistogram(bounds.inferenceSeconds),
    promptTokens: new GrowingHistogram(bounds.promptTokens),
    generatedTokens: new GrowingHistogram(bounds.generatedTokens),
    maxTokens: new GrowingHistogram(bounds.maxTokens),
    iterationTokens: new GrowingHistogram(bounds.iterationTokens),
  };
}
