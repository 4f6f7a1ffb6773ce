import type { EngineRequest } from '../../engine/engine.ts';
import { createRandom, logNormal, type Random } from '../../random.ts';
import { isObject } from './request-body.ts';

/** Of English text with the tokenizers of today's models. */
const CHARACTERS_PER_TOKEN = 4;
/** Of a chat's template: marks around a message and its role, and the opening of the answer. */
const TOKENS_PER_MESSAGE = 5;
const TOKENS_OF_OPENING = 3;
/** Beginning of the sequence. */
const TOKENS_OF_START = 1;

/** Half of the answers are shorter; about one in seven is twice as long. */
const MEDIAN_ANSWER_TOKENS = 200;
const ANSWER_SIGMA = 0.7;

/** A prompt by what the world wants of it. */
export interface Prompt {
  readonly tokens: number;
  readonly prefix?: NonNullable<EngineRequest['prefix']>;
}

/** Tokens of a text: about one in four characters, no tokenizer asked. */
function estimateTokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

/** A bare prompt: text, or several, or tokens by their numbers (completions, embeddings); undefined of anything else. */
export function textPrompt(value: unknown): Prompt | undefined {
  const parts = promptParts(value);
  if (parts === undefined) return undefined;
  return { tokens: parts.reduce((sum, each) => sum + each, 0) };
}

/** Tokens of each of the inputs. */
export function promptParts(value: unknown): number[] | undefined {
  if (typeof value === 'string') return [estimateTokens(value) + TOKENS_OF_START];
  if (!Array.isArray(value) || value.length === 0) return undefined;
  if (value.every((each) => typeof each === 'number')) return [value.length];
  const parts = value.flatMap((each: unknown) => {
    if (typeof each === 'string') return [estimateTokens(each) + TOKENS_OF_START];
    return Array.isArray(each) && each.every((token) => typeof token === 'number') ? [each.length] : [];
  });
  return parts.length === value.length ? parts : undefined;
}

/**
 * A chat: the text of its messages and the template around it. A system message that comes first is a prefix, which
 * requests with the same one share.
 * @returns undefined where it is no list of messages
 */
export function chatPrompt(messages: unknown): Prompt | undefined {
  if (!Array.isArray(messages) || messages.length === 0) return undefined;
  let tokens = TOKENS_OF_OPENING + TOKENS_OF_START;
  for (const message of messages as unknown[]) {
    if (!isObject(message) || typeof message['role'] !== 'string') return undefined;
    tokens += estimateTokens(contentText(message['content'])) + TOKENS_PER_MESSAGE;
  }
  const first: unknown = messages[0];
  if (!isObject(first) || first['role'] !== 'system') return { tokens };
  const system = contentText(first['content']);
  return {
    tokens,
    prefix: { key: prefixKey(system), tokens: estimateTokens(system) + TOKENS_PER_MESSAGE + TOKENS_OF_START },
  };
}

/** Tokens that the answer has if nobody cuts it off. */
export function answerTokens(random: Random): number {
  return Math.max(1, Math.round(logNormal(random, MEDIAN_ANSWER_TOKENS, ANSWER_SIGMA)));
}

/** Text, or the text among the parts (pictures have no tokens here). */
function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) => (isObject(part) && typeof part['text'] === 'string' ? part['text'] : ''))
    .join('');
}

/** The same text has the same key; the generator's seed is a hash of it. */
function prefixKey(text: string): string {
  return `system-${Math.floor(createRandom(text).next() * 2 ** 32).toString(16)}`;
}
