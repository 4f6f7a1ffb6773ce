import type { FinishReason } from '../../engine/engine.ts';
import type { ApiCall, CallParts } from './engine-api.ts';
import { createWords } from './words.ts';

/** What has been said of an answer when it is printed. */
export interface Said {
  readonly text: string;
  readonly tokens: number;
  readonly arrivedSeconds: number;
  /** When the first token came out; the arrival where none did. */
  readonly firstSeconds: number;
  readonly seconds: number;
}

/** How one engine prints one kind of answer. */
export interface AnswerFormat {
  readonly contentType: string;
  /** A stream's part for one token. */
  token?(word: string, said: Said): string;
  /** What goes before the first token of a stream. */
  begin?(said: Said): string;
  /** The end of a stream, or the whole answer. */
  end(reason: 'stop' | 'length' | 'abort', said: Said): string;
  /** The same of an answer that failed underway: the end of a stream, or the body of a 500. */
  fail(said: Said): string;
}

/** Joins a request and a format to a call whose words are drawn as its tokens come. */
export function createCall(
  request: ApiCall['request'],
  streamed: boolean,
  format: AnswerFormat,
  parts: CallParts,
): ApiCall {
  const nextWord = createWords(parts.random);
  const arrivedSeconds = parts.context.seconds;
  let text = '';
  let tokens = 0;
  let firstSeconds: number | undefined;
  const said = (seconds: number): Said => ({
    text,
    tokens,
    arrivedSeconds,
    firstSeconds: firstSeconds ?? arrivedSeconds,
    seconds,
  });
  const begin = (seconds: number): string => {
    if (firstSeconds !== undefined) return '';
    firstSeconds = seconds;
    return streamed ? (format.begin?.(said(seconds)) ?? '') : '';
  };
  return {
    request,
    streamed,
    contentType: format.contentType,
    tokens(count, seconds) {
      let printed = begin(seconds);
      for (let index = 0; index < count; index += 1) {
        const word = nextWord();
        text += word;
        tokens += 1;
        if (streamed) printed += format.token?.(word, said(seconds)) ?? '';
      }
      return printed;
    },
    end(reason: FinishReason, seconds) {
      const { contentType } = format;
      if (reason !== 'error') {
        return { status: 200, contentType, body: begin(seconds) + format.end(reason, said(seconds)) };
      }
      const body = format.fail(said(seconds));
      return streamed && tokens > 0
        ? { status: 200, contentType, body }
        : { status: 500, contentType: 'application/json', body };
    },
  };
}

/** An event of a stream, as its client reads it. */
export function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export const STREAM_END = 'data: [DONE]\n\n';
export const EVENT_STREAM = 'text/event-stream; charset=utf-8';
