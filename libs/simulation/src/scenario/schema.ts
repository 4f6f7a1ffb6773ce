import {
  boolean,
  byteSize,
  durationBetween,
  integerBetween,
  numberBetween,
  oneOf,
  plainText,
  port,
} from '@llm-monitor/config';
import { z } from 'zod';
import { ENGINE_KINDS } from '../engine/engine-kinds.ts';
import type { EngineKind } from '../engine/engine.ts';
import { SHAPE_NAMES } from '../traffic/lengths.ts';

const KINDS = [
  'vllm',
  'sglang',
  'tgi',
  'llamacpp',
  'ollama',
  'triton',
] as const satisfies readonly EngineKind[];

const name = plainText.refine((text) => /^[A-Za-z0-9][\w.-]{0,63}$/.test(text), {
  message: 'expected a name of at most 64 letters, digits, ".", "_" and "-"',
});
const ratio = numberBetween(0, 1);
const rate = numberBetween(0, 100_000);
const duration = durationBetween(0, 10 * 365 * 86_400);
const longerThanNothing = durationBetween(0.001, 10 * 365 * 86_400);
const tokens = integerBetween(1, 10_000_000);
const positive = integerBetween(1, 1_000_000);

const GPU = z.strictObject({
  board: plainText,
  count: integerBetween(1, 1024).default(1),
  power_limit: numberBetween(1, 10_000).optional(),
  ambient: numberBetween(-40, 60).default(24),
});

const HOST = z.strictObject({
  name: name.default('mock-host'),
  gpus: z.array(GPU),
  driver: z
    .strictObject({ nvidia: plainText.optional(), cuda: plainText.optional(), amd: plainText.optional() })
    .default({}),
});

const SETTINGS = z.strictObject({
  max_sequences: integerBetween(1, 8192).optional(),
  tokens_per_step: positive.optional(),
  memory_ratio: numberBetween(0.01, 1).optional(),
  block_tokens: integerBetween(1, 4096).optional(),
  prefix_caching: boolean.optional(),
  context_tokens: tokens.optional(),
  max_waiting: integerBetween(0, 1_000_000).optional(),
  deadline: longerThanNothing.optional(),
  loras: z.array(name).optional(),
  max_loras: integerBetween(1, 1000).optional(),
  speculative: z.strictObject({ draft_tokens: integerBetween(1, 32), acceptance: ratio }).optional(),
  keep_alive: duration.optional(),
  gpu_layers: integerBetween(0, 1000).optional(),
  disk_bytes_per_second: byteSize.optional(),
});

const ENGINE = z.strictObject({
  name,
  kind: oneOf(...KINDS),
  version: plainText.optional(),
  port,
  model: plainText.optional(),
  models: z.array(plainText).optional(),
  gpus: z.array(integerBetween(0, 1_000_000)),
  tensor_parallel: integerBetween(1, 1024).optional(),
  settings: SETTINGS.default({}),
});

/** Just a word is a shape, just a number a fixed length. */
const LENGTH = z.preprocess(
  (value) => {
    if (typeof value !== 'string') return value;
    return /^[\d.]+$/.test(value) ? { median: value, sigma: '0' } : { shape: value };
  },
  z.strictObject({
    shape: oneOf(...SHAPE_NAMES).optional(),
    scale: numberBetween(0.001, 1000).optional(),
    median: numberBetween(0, 10_000_000).optional(),
    sigma: numberBetween(0, 5).optional(),
    min: integerBetween(0, 10_000_000).optional(),
    max: tokens.optional(),
  }),
);

const ARRIVALS = z.strictObject({
  poisson: z.strictObject({ rate }).optional(),
  diurnal: z
    .strictObject({ rate, peak_hour: numberBetween(0, 24).default(14), depth: ratio.default(0.5) })
    .optional(),
  bursty: z
    .strictObject({ rate, burst_rate: rate, mean_quiet: longerThanNothing, mean_burst: longerThanNothing })
    .optional(),
});

const weight = numberBetween(0, 1_000_000);

const TRAFFIC = z.strictObject({
  name: name.optional(),
  engine: plainText,
  model: plainText.optional(),
  arrivals: ARRIVALS,
  prompt: LENGTH,
  output: LENGTH,
  max_tokens: tokens.default(1024),
  tenants: z.record(z.string(), weight).default({ default: 1 }),
  kinds: z
    .strictObject({ chat: weight.default(0), completion: weight.default(0), embedding: weight.default(0) })
    .default({ chat: 1, completion: 0, embedding: 0 }),
  prefix: z
    .strictObject({
      system_tokens: tokens.optional(),
      system_ratio: ratio.default(1),
      turns: numberBetween(1, 1000).optional(),
      turn_tokens: LENGTH.optional(),
    })
    .default({ system_ratio: 1 }),
  cancel: z
    .strictObject({ ratio, patience: longerThanNothing, sigma: numberBetween(0, 5).default(0.5) })
    .optional(),
  deadline: longerThanNothing.optional(),
  retries: z
    .strictObject({
      attempts: integerBetween(0, 100),
      backoff: duration.optional(),
      max_backoff: duration.optional(),
    })
    .optional(),
  loras: z.record(z.string(), ratio).default({}),
});

const TIMELINE = z.strictObject({
  at: duration,
  incident: plainText,
  target: plainText.optional(),
  for: longerThanNothing.optional(),
  parameters: z.record(z.string(), z.unknown()).default({}),
});

const ROOT = z.strictObject({
  seed: plainText.default('llm-monitor'),
  start_hour: numberBetween(0, 24).default(9),
  host: z.unknown(),
  engines: z.array(z.unknown()),
  traffic: z.array(z.unknown()).default([]),
  timeline: z.array(z.unknown()).default([]),
});

/** Each part of a scenario: as a whole, and as what is left of one that has faults. */
export const schemas = {
  root: { whole: ROOT, rest: ROOT.partial() },
  host: { whole: HOST, rest: HOST.partial() },
  engine: { whole: ENGINE, rest: ENGINE.partial() },
  traffic: { whole: TRAFFIC, rest: TRAFFIC.partial() },
  timeline: { whole: TIMELINE, rest: TIMELINE.partial() },
} as const;

export type RawHost = z.output<typeof HOST>;
export type RawEngine = z.output<typeof ENGINE>;
export type RawTraffic = z.output<typeof TRAFFIC>;
export type RawTimeline = z.output<typeof TIMELINE>;
export type RawLength = z.output<typeof LENGTH>;
export type RawArrivals = z.output<typeof ARRIVALS>;
export type RawSettings = z.output<typeof SETTINGS>;
export type SettingName = keyof RawSettings;

const isBlocks = (kind: EngineKind): boolean => ENGINE_KINDS[kind].memory === 'blocks';

/** Settings that not every kind of engine has. */
export const SETTINGS_ONLY_FOR: Readonly<Partial<Record<SettingName, (kind: EngineKind) => boolean>>> = {
  memory_ratio: isBlocks,
  block_tokens: isBlocks,
  loras: isBlocks,
  max_loras: isBlocks,
  gpu_layers: (kind) => !isBlocks(kind),
  keep_alive: (kind) => ENGINE_KINDS[kind].loadsOnDemand,
};

/** The names that a map at that path of the schema may have; empty where any name may stand. */
export function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  const inner = unwrap(schema);
  const [part, ...rest] = path;
  if (inner instanceof z.ZodObject) {
    const shape: Readonly<Record<string, unknown>> = inner.shape;
    if (part === undefined) return Object.keys(shape);
    const below = shape[String(part)];
    return below instanceof z.ZodType ? namesAt(below, rest) : [];
  }
  if (inner instanceof z.ZodArray && part !== undefined && inner.element instanceof z.ZodType) {
    return namesAt(inner.element, rest);
  }
  return [];
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) {
    const inner: unknown = schema.unwrap();
    return inner instanceof z.ZodType ? unwrap(inner) : schema;
  }
  // What preprocessing hands over is checked by the schema behind it.
  if (schema instanceof z.ZodPipe && schema.out instanceof z.ZodObject) return schema.out;
  return schema;
}
