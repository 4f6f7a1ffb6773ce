import type { Admission, EngineRequest, FinishReason, RequestListener } from '../engine/engine.ts';
import { logNormal, type Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';
import { type Arrivals, type ArrivalSpec, createArrivals } from './arrivals.ts';
import { drawLength, type LengthSpec } from './lengths.ts';

/** What users want of one model of one engine. */
export interface TrafficSpec {
  readonly name: string;
  readonly engine: string;
  readonly model: string;
  readonly arrivals: ArrivalSpec;
  readonly prompt: LengthSpec;
  readonly output: LengthSpec;
  /** What clients send as `max_tokens`: longer answers are cut. */
  readonly maxTokens: number;
  /** Prompts are cut to it, and a conversation that has outgrown it starts anew. */
  readonly maxPromptTokens: number;
  /** Who sends, by name, and how much of the whole by weight. */
  readonly tenants: readonly Weighted[];
  /** What is asked for, by weight. */
  readonly kinds: Readonly<Record<EngineRequest['kind'], number>>;
  /** Each tenant has a system prompt; this ratio of its requests starts with it. */
  readonly systemPrompt?: { readonly tokens: number; readonly ratio: number };
  /** Chats go on: a turn's prompt is all that was said before and some new words. */
  readonly conversations?: { readonly meanTurns: number; readonly turnTokens: LengthSpec };
  /** Users who do not wait for the end: which ratio, and how long they do. */
  readonly impatience?: Impatience;
  /** Clients break off after it and do not try again. */
  readonly deadlineSeconds: number;
  readonly retries: RetrySpec;
  /** LoRA adapters by the ratio of requests that ask for them; the rest asks for the model itself. */
  readonly loras: readonly { readonly name: string; readonly ratio: number }[];
}

export interface Weighted {
  readonly name: string;
  readonly weight: number;
}

export interface Impatience {
  readonly ratio: number;
  readonly medianSeconds: number;
  readonly sigma: number;
}

export interface RetrySpec {
  /** How often a request is sent again. */
  readonly attempts: number;
  /** Before the first retry; doubled for each further one. */
  readonly backoffSeconds: number;
  readonly maxBackoffSeconds: number;
}

/** As the official OpenAI clients behave unless told otherwise (`openai-node` src/client.ts). */
export const OPENAI_CLIENT = {
  deadlineSeconds: 600,
  retries: { attempts: 2, backoffSeconds: 0.5, maxBackoffSeconds: 8 },
} as const satisfies Pick<TrafficSpec, 'deadlineSeconds' | 'retries'>;

/**
 * What became of what users wanted, counted since the world's start. Each request of a user ends in one way:
 * offered = completed + cancelled + timedOut + gaveUp + inFlight + backingOff,
 * and each attempt at it too: attempts = offered + retried = accepted + refused.
 */
export interface TrafficState {
  readonly name: string;
  readonly engine: string;
  readonly model: string;
  /** Mean arrivals per second now. */
  readonly ratePerSecond: number;
  readonly offered: number;
  readonly attempts: number;
  readonly retried: number;
  readonly accepted: number;
  readonly refused: number;
  /** Accepted, and then failed or cut by the engine. */
  readonly failed: number;
  readonly completed: number;
  /** The user went away. */
  readonly cancelled: number;
  /** The client's deadline passed. */
  readonly timedOut: number;
  /** Refused or failed, and not tried again. */
  readonly gaveUp: number;
  /** Accepted and not ended. */
  readonly inFlight: number;
  /** Waiting for the next attempt. */
  readonly backingOff: number;
  /** Of accepted attempts. */
  readonly promptTokens: number;
  /** That came back to clients. */
  readonly receivedTokens: number;
  readonly tenants: Readonly<Record<string, TenantState>>;
}

export interface TenantState {
  readonly offered: number;
  readonly completed: number;
  readonly receivedTokens: number;
}

type Counters = {
  -readonly [Name in keyof TrafficState as TrafficState[Name] extends number ? Name : never]: number;
};
type TenantCounters = { -readonly [Name in keyof TenantState]: number };

type Send = (request: EngineRequest, listener: RequestListener) => Admission;

export interface TrafficParts {
  readonly spec: TrafficSpec;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Hands a request to the engine; a refusal is the answer, and the listener then hears nothing. */
  readonly send: Send;
}

interface Conversation {
  readonly key: string;
  /** All that was said so far. */
  readonly tokens: number;
}

/** What one user wants once, however often it takes. */
interface Want {
  readonly id: string;
  readonly request: Omit<EngineRequest, 'id' | 'patienceSeconds'>;
  readonly conversation: string | undefined;
  readonly arrivedSeconds: number;
  /** When the user is gone, and when the client breaks off; the earlier one counts. */
  readonly goneSeconds: number;
  readonly deadlineSeconds: number;
}

/** Beyond it the longest idle conversations of a tenant are forgotten. */
const OPEN_CONVERSATIONS = 256;
/** Ends that the engine reports may differ by rounding from the time at which they were due. */
const ROUNDING_SECONDS = 1e-6;

/** Clients of one engine and model: they come, ask, wait or go away, and try again. */
export class TrafficSource {
  private spec: TrafficSpec;
  private arrivals: Arrivals;
  private readonly scheduler: Scheduler;
  private readonly send: Send;
  /** One source of chance for each question, so that the answer to one does not move those to others. */
  private readonly chance: ReturnType<typeof forkForEach>;
  private readonly arrivalsRandom: Random;
  private running = false;
  private loadFactor = 1;
  private rateFactor = 1;
  private outputFactor = 1;
  private impatience: Impatience | undefined;
  private flood: { readonly tenant: string; readonly factor: number } | undefined;
  private takeBackNext: (() => void) | undefined;
  private readonly counters: Counters = {
    ratePerSecond: 0,
    offered: 0,
    attempts: 0,
    retried: 0,
    accepted: 0,
    refused: 0,
    failed: 0,
    completed: 0,
    cancelled: 0,
    timedOut: 0,
    gaveUp: 0,
    inFlight: 0,
    backingOff: 0,
    promptTokens: 0,
    receivedTokens: 0,
  };
  private readonly tenants = new Map<string, TenantCounters>();
  private readonly idle = new Map<string, Conversation[]>();
  private conversations = 0;

  constructor({ spec, scheduler, random, send }: TrafficParts) {
    this.spec = spec;
    this.scheduler = scheduler;
    this.send = send;
    this.chance = forkForEach(random);
    this.arrivalsRandom = random.fork('arrivals');
    this.arrivals = createArrivals(spec.arrivals, this.arrivalsRandom);
  }

  get state(): TrafficState {
    const { name, engine, model } = this.spec;
    const tenants = Object.fromEntries(Array.from(this.tenants, ([tenant, state]) => [tenant, { ...state }]));
    return { ...this.counters, name, engine, model, ratePerSecond: this.ratePerSecond, tenants };
  }

  /** From now on users come. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.planNext();
  }

  /** Nobody new comes; who is there stays, and who backs off tries again. */
  stop(): void {
    this.running = false;
    this.planNext();
  }

  /** So many times as many users are there; 0 is nobody. What an incident makes of them comes on top. */
  setLoadFactor(factor: number): void {
    this.loadFactor = factor;
    this.planNext();
  }

  /** So many times as many come of those who are there; 0 is nobody. */
  setRateFactor(factor: number): void {
    this.rateFactor = factor;
    this.planNext();
  }

  /** Answers are so many times as long, up to what clients allow. */
  setOutputFactor(factor: number): void {
    this.outputFactor = factor;
  }

  /** How impatient users are from now on; undefined is as the specification has it. */
  setImpatience(impatience: Impatience | undefined): void {
    this.impatience = impatience;
  }

  /** One tenant, known or new, sends `factor` times what all together send, on top of it; undefined ends it. */
  setFlood(flood: { readonly tenant: string; readonly factor: number } | undefined): void {
    this.flood = flood;
    this.planNext();
  }

  /** Another kind of traffic from now on; what is under way ends as it began. */
  setSpec(spec: TrafficSpec): void {
    this.spec = spec;
    this.arrivals = createArrivals(spec.arrivals, this.arrivalsRandom);
    this.planNext();
  }

  private get factor(): number {
    return this.loadFactor * this.rateFactor * (1 + (this.flood?.factor ?? 0));
  }

  private get ratePerSecond(): number {
    return this.running ? this.arrivals.ratePerSecond(this.scheduler.now) * this.factor : 0;
  }

  private planNext(): void {
    this.takeBackNext?.();
    this.takeBackNext = undefined;
    if (!this.running) return;
    const seconds = this.arrivals.next(this.scheduler.now, this.factor);
    if (seconds === Infinity) return;
    this.takeBackNext = this.scheduler.at(seconds, () => {
      this.arrive();
      this.planNext();
    });
  }

  private arrive(): void {
    const want = this.newWant();
    this.counters.offered += 1;
    this.tenantOf(want.request.tenant).offered += 1;
    this.attempt(want, 0);
  }

  private newWant(): Want {
    const { spec, chance, scheduler } = this;
    const arrivedSeconds = scheduler.now;
    const kind = pick(KINDS, (each) => spec.kinds[each], chance.kind) ?? 'chat';
    const tenant = this.drawTenant();
    const lora = this.drawLora();
    const { conversation, ...prompt } = this.drawPrompt(tenant, kind);
    const drawn = drawLength(spec.output, 'output', chance.output);
    return {
      id: `${spec.name}-${this.counters.offered}`,
      request: {
        model: spec.model,
        tenant,
        kind,
        ...prompt,
        outputTokens: kind === 'embedding' ? 0 : Math.max(1, Math.round(drawn * this.outputFactor)),
        maxTokens: kind === 'embedding' ? 0 : spec.maxTokens,
        ...(lora === undefined ? {} : { lora }),
      },
      conversation,
      arrivedSeconds,
      goneSeconds: arrivedSeconds + this.drawPatienceSeconds(),
      deadlineSeconds: arrivedSeconds + spec.deadlineSeconds,
    };
  }

  private drawTenant(): string {
    const { tenant, factor } = this.flood ?? { tenant: '', factor: 0 };
    if (this.chance.flood.next() < factor / (1 + factor)) return tenant;
    return pick(this.spec.tenants, ({ weight }) => weight, this.chance.tenant)?.name ?? 'default';
  }

  private drawLora(): string | undefined {
    let left = this.chance.lora.next();
    return this.spec.loras.find(({ ratio }) => (left -= ratio) < 0)?.name;
  }

  private drawPatienceSeconds(): number {
    const { impatience = this.spec.impatience } = this;
    if (impatience === undefined || this.chance.impatience.next() >= impatience.ratio) return Infinity;
    return logNormal(this.chance.patience, impatience.medianSeconds, impatience.sigma);
  }

  /** The prompt's length, what of it others share, and the conversation that it belongs to. */
  private drawPrompt(
    tenant: string,
    kind: EngineRequest['kind'],
  ): Pick<EngineRequest, 'promptTokens' | 'prefix'> & { conversation: string | undefined } {
    const { spec, chance } = this;
    if (kind === 'chat' && spec.conversations !== undefined) {
      const { key, tokens } = this.resume(tenant) ?? this.newConversation();
      // A turn shares all of its prompt with the turns that follow.
      return { promptTokens: tokens, prefix: { key, tokens }, conversation: key };
    }
    const drawn = Math.min(drawLength(spec.prompt, 'prompt', chance.prompt), spec.maxPromptTokens);
    const { tokens, ratio } = spec.systemPrompt ?? { tokens: 0, ratio: 0 };
    const system = Math.min(tokens, spec.maxPromptTokens - 1);
    if (kind === 'embedding' || system === 0 || chance.systemPrompt.next() >= ratio) {
      return { promptTokens: Math.max(1, drawn), conversation: undefined };
    }
    const prefix = { key: `${spec.name}/system/${tenant}`, tokens: system };
    return { promptTokens: Math.max(system + 1, drawn), prefix, conversation: undefined };
  }

  /** The next turn of a conversation that goes on, if one does: as often as the mean number of turns asks for. */
  private resume(tenant: string): Conversation | undefined {
    const { conversations } = this.spec;
    const idle = this.idle.get(tenant);
    if (conversations === undefined || idle === undefined || idle.length === 0) return undefined;
    if (this.chance.turn.next() * conversations.meanTurns < 1) return undefined;
    const [conversation] = idle.splice(Math.floor(this.chance.turn.next() * idle.length), 1);
    if (conversation === undefined) return undefined;
    const tokens =
      conversation.tokens + Math.max(1, drawLength(conversations.turnTokens, 'prompt', this.chance.prompt));
    return tokens <= this.spec.maxPromptTokens ? { ...conversation, tokens } : undefined;
  }

  private newConversation(): Conversation {
    this.conversations += 1;
    const drawn = drawLength(this.spec.prompt, 'prompt', this.chance.prompt);
    const tokens = Math.max(1, Math.min(drawn, this.spec.maxPromptTokens));
    return { key: `${this.spec.name}/conversation/${this.conversations}`, tokens };
  }

  private attempt(want: Want, retries: number): void {
    const { counters, scheduler } = this;
    const leavesSeconds = Math.min(want.goneSeconds, want.deadlineSeconds);
    const patienceSeconds = leavesSeconds - scheduler.now;
    if (patienceSeconds <= 0) {
      this.leave(want);
      return;
    }
    counters.attempts += 1;
    if (retries > 0) counters.retried += 1;

    let received = 0;
    counters.inFlight += 1;
    const admission = this.send(
      { ...want.request, id: retries === 0 ? want.id : `${want.id}-retry-${retries}`, patienceSeconds },
      {
        onTokens: (count) => {
          received += count;
          counters.receivedTokens += count;
          this.tenantOf(want.request.tenant).receivedTokens += count;
        },
        onEnd: (reason, seconds) => {
          counters.inFlight -= 1;
          this.end(want, retries, reason, seconds, received);
        },
      },
    );
    if (admission.accepted) {
      counters.accepted += 1;
      counters.promptTokens += want.request.promptTokens;
      return;
    }
    counters.inFlight -= 1;
    counters.refused += 1;
    if (isWorthRetrying(admission.status)) this.tryAgain(want, retries);
    else counters.gaveUp += 1;
  }

  private end(want: Want, retries: number, reason: FinishReason, seconds: number, received: number): void {
    if (reason === 'stop' || reason === 'length') {
      this.counters.completed += 1;
      this.tenantOf(want.request.tenant).completed += 1;
      this.keepConversation(want, received);
      return;
    }
    const left = seconds >= Math.min(want.goneSeconds, want.deadlineSeconds) - ROUNDING_SECONDS;
    if (reason === 'abort' && left) {
      this.leave(want);
      return;
    }
    this.counters.failed += 1;
    this.tryAgain(want, retries);
  }

  private leave(want: Want): void {
    if (want.goneSeconds <= want.deadlineSeconds) this.counters.cancelled += 1;
    else this.counters.timedOut += 1;
  }

  private tryAgain(want: Want, retries: number): void {
    const { attempts, backoffSeconds, maxBackoffSeconds } = this.spec.retries;
    if (retries >= attempts) {
      this.counters.gaveUp += 1;
      return;
    }
    const wait = Math.min(maxBackoffSeconds, backoffSeconds * 2 ** retries);
    const jitter = 1 - 0.25 * this.chance.backoff.next(); // as openai-node does
    this.counters.backingOff += 1;
    this.scheduler.at(this.scheduler.now + wait * jitter, () => {
      this.counters.backingOff -= 1;
      this.attempt(want, retries + 1);
    });
  }

  private keepConversation(want: Want, received: number): void {
    const { conversations } = this.spec;
    if (want.conversation === undefined || conversations === undefined) return;
    if (this.chance.turn.next() * conversations.meanTurns < 1) return;
    const idle = this.idle.get(want.request.tenant) ?? [];
    this.idle.set(want.request.tenant, idle);
    idle.push({ key: want.conversation, tokens: want.request.promptTokens + received });
    if (idle.length > OPEN_CONVERSATIONS) idle.shift();
  }

  private tenantOf(name: string): TenantCounters {
    const known = this.tenants.get(name);
    if (known !== undefined) return known;
    const state = { offered: 0, completed: 0, receivedTokens: 0 };
    this.tenants.set(name, state);
    return state;
  }
}

const KINDS = ['chat', 'completion', 'embedding'] as const;

function forkForEach(random: Random) {
  return {
    kind: random.fork('kind'),
    tenant: random.fork('tenant'),
    flood: random.fork('flood'),
    lora: random.fork('lora'),
    prompt: random.fork('prompt'),
    output: random.fork('output'),
    systemPrompt: random.fork('systemPrompt'),
    turn: random.fork('turn'),
    impatience: random.fork('impatience'),
    patience: random.fork('patience'),
    backoff: random.fork('backoff'),
  };
}

/** What the official OpenAI clients send again: 408, 409, 429, 5xx, and 0 for a connection that failed. */
function isWorthRetrying(status: number): boolean {
  return status === 0 || status === 408 || status === 409 || status === 429 || status >= 500;
}

function pick<Item>(
  items: readonly Item[],
  weightOf: (item: Item) => number,
  random: Random,
): Item | undefined {
  let left = random.next() * items.reduce((sum, item) => sum + weightOf(item), 0);
  return items.find((item) => (left -= weightOf(item)) < 0) ?? items.at(-1);
}
