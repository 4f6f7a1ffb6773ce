import { hostname, networkInterfaces } from 'node:os';

import type { MetricFamily } from '@llm-monitor/metrics-core';

import { detectEngine, type Detection } from './detect.ts';
import type { Candidate, Candidates, PassedOver } from './discovery/candidates.ts';
import type { Endpoint, Get } from './http-get.ts';
import { createEngineReader, type ReadEngine } from './read-engine.ts';
import type { EngineReading } from './reading.ts';
import { adapterOf, type EngineName } from './registry.ts';
import { TargetError, type TargetErrorReason } from './target-error.ts';
import { serverFamilies } from './normalize.ts';

/** A target from the settings. */
export interface ConfiguredTarget {
  /** The `server` label: unique. */
  readonly server: string;
  readonly endpoint: Endpoint;
  /** The engine, where it need not be detected. */
  readonly engine?: EngineName;
}

export interface TargetBookParts {
  readonly configured: readonly ConfiguredTarget[];
  /** Looks at this host's sockets; undefined switches discovery off. */
  readonly discover?: () => Promise<Candidates>;
  readonly createGet: (endpoint: Endpoint) => Get;
  /** Key for discovered targets, where they ask for one. */
  readonly discoveredToken?: string;
  /** A discovered target that is gone is reported as down this long, then forgotten. */
  readonly forgetAfterSeconds: number;
  /** Longest time to read a target, and to find out what one is, whoever asks and however short he waits. */
  readonly readTimeoutSeconds: number;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly onEvent?: (event: TargetEvent) => void;
}

/** What changed, for the log: found, lost, came back, failed, or told once that metrics are missing. */
export interface TargetEvent {
  readonly kind: 'found' | 'forgotten' | 'failed' | 'recovered' | 'metrics_missing';
  readonly server: string;
  readonly engine: string;
  readonly url: string;
  readonly detail: string;
}

/** What is known of a target, for people. */
export interface TargetReport {
  readonly server: string;
  readonly url: string;
  readonly engine: string;
  readonly origin: 'configured' | 'discovered';
  /** Why it is a target and how its engine is known. */
  readonly why: string;
  readonly sinceSeconds: number;
  readonly lastSuccessSeconds?: number;
  readonly lastError?: { readonly reason: string; readonly message: string; readonly atSeconds: number };
  readonly reading?: EngineReading;
}

export interface BookReport {
  readonly targets: readonly TargetReport[];
  /** Sockets that look like an engine's and were left alone, with the reason. */
  readonly passedOver: readonly { readonly port: number; readonly address: string; readonly why: string }[];
  /** Sockets that were asked once and are no engine. */
  readonly strangers: readonly { readonly url: string; readonly why: string }[];
  readonly discovery: boolean;
  readonly lastDiscoverySeconds?: number;
}

/** One target to be read: its name, and a reading that never throws for what the target does. */
export interface TargetCollector {
  readonly server: string;
  readonly read: (signal: AbortSignal) => Promise<EngineReading>;
}

interface Entry {
  readonly target: ConfiguredTarget;
  readonly origin: 'configured' | 'discovered';
  readonly get: Get;
  readonly since: number;
  why: string;
  inode?: string;
  present: boolean;
  detection: Detection | undefined;
  /** Its last reading failed, and its engine was not given: it may be another by now. */
  isInDoubt: boolean;
  underWay: Promise<EngineReading> | undefined;
  /** A configured target that answered as no engine, and when it is asked again. */
  stranger: { readonly error: TargetError; readonly tries: number; readonly nextAt: number } | undefined;
  reader: ReadEngine | undefined;
  lastReading?: EngineReading;
  lastSuccess?: number;
  lastError?: { reason: string; message: string; at: number };
  toldMissing: string;
}

interface Attempt {
  readonly candidate: Candidate;
  readonly why: string;
  readonly tries: number;
  /** Not before this time; never again for a stranger. */
  readonly nextAt: number;
}

const FIRST_RETRY_MILLISECONDS = 5_000;
const LAST_RETRY_MILLISECONDS = 300_000;
const CONCURRENT_DETECTIONS = 4;

/**
 * The targets there are: those configured, always; those discovered, as long as they are there and a while longer,
 * so that an engine that dies is seen to be down rather than vanishing from the charts.
 */
export class TargetBook {
  private readonly parts: TargetBookParts;
  private readonly entries = new Map<string, Entry>();
  private readonly attempts = new Map<string, Attempt>();
  private passedOver: readonly PassedOver[] = [];
  private lastDiscovery: number | undefined;
  private discovering: Promise<void> | undefined;

  constructor(parts: TargetBookParts) {
    this.parts = parts;
    for (const target of parts.configured) {
      const detection = target.engine === undefined ? undefined : { engine: target.engine, by: 'configured' };
      this.entries.set(target.server, this.newEntry(target, 'configured', 'configured', detection));
    }
  }

  /** Looks once at this host's sockets and asks what is new. Single flight; the caller sets the pace. */
  discover(): Promise<void> {
    this.discovering ??= this.discoverOnce().finally(() => {
      this.discovering = undefined;
    });
    return this.discovering;
  }

  /** Every target, to be read now. */
  collectors(): TargetCollector[] {
    return [...this.entries.values()].map((entry) => ({
      server: entry.target.server,
      read: (signal) => this.readOnce(entry, signal),
    }));
  }

  /** The collector of one target by its name or its URL: for `/probe`. */
  collector(nameOrUrl: string): TargetCollector | undefined {
    const wanted = nameOrUrl.replace(/\/$/, '');
    const entry =
      this.entries.get(nameOrUrl) ??
      [...this.entries.values()].find(({ target }) => target.endpoint.url.replace(/\/$/, '') === wanted);
    return entry === undefined
      ? undefined
      : { server: entry.target.server, read: (signal) => this.readOnce(entry, signal) };
  }

  /** The families of a target whose reading did not come back at all: down, by the clock of who asked. */
  downFamilies(server: string): readonly MetricFamily[] {
    const entry = this.entries.get(server);
    return entry === undefined ? [] : unreachable(entry).families;
  }

  report(): BookReport {
    return {
      targets: [...this.entries.values()].map(reportOf),
      passedOver: this.passedOver.map(({ socket, why }) => ({
        port: socket.port,
        address: socket.address,
        why,
      })),
      strangers: [...this.attempts.values()].map(({ candidate, why }) => ({ url: candidate.url, why })),
      discovery: this.parts.discover !== undefined,
      ...(this.lastDiscovery === undefined ? {} : { lastDiscoverySeconds: this.lastDiscovery / 1000 }),
    };
  }

  private newEntry(
    target: ConfiguredTarget,
    origin: Entry['origin'],
    why: string,
    detection: Detection | undefined,
  ): Entry {
    return {
      target,
      origin,
      why,
      get: this.parts.createGet(target.endpoint),
      since: this.parts.now(),
      present: true,
      detection,
      isInDoubt: false,
      underWay: undefined,
      stranger: undefined,
      reader: undefined,
      toldMissing: '',
    };
  }

  private async discoverOnce(): Promise<void> {
    if (this.parts.discover === undefined) return;
    const { ask, passedOver } = await this.parts.discover();
    this.passedOver = passedOver;
    this.lastDiscovery = this.parts.now();
    const candidates = ask.filter(({ url }) => !this.isConfigured(url));
    this.notePresence(candidates);
    this.forgetGone(candidates);
    const due = candidates.filter((candidate) => this.isDue(candidate));
    for (let index = 0; index < due.length; index += CONCURRENT_DETECTIONS) {
      await Promise.all(
        due.slice(index, index + CONCURRENT_DETECTIONS).map((candidate) => this.tryCandidate(candidate)),
      );
    }
  }

  /** A port of this host that is configured is not discovered a second time. */
  private isConfigured(url: string): boolean {
    const { port } = new URL(url);
    const local = localHosts();
    return this.parts.configured.some(({ endpoint }) => {
      const configured = new URL(endpoint.url);
      return local.has(configured.hostname) && portOf(configured) === port;
    });
  }

  private notePresence(candidates: readonly Candidate[]): void {
    const inodes = new Map(candidates.map(({ url, socket }) => [url, socket.inode]));
    for (const entry of this.entries.values()) {
      if (entry.origin === 'discovered')
        entry.present = inodes.get(entry.target.endpoint.url) === entry.inode;
    }
  }

  private forgetGone(candidates: readonly Candidate[]): void {
    const now = this.parts.now();
    for (const [server, entry] of this.entries) {
      const seen = entry.lastSuccess ?? entry.since;
      if (entry.origin !== 'discovered' || entry.present || now - seen < this.parts.forgetAfterSeconds * 1000)
        continue;
      this.entries.delete(server);
      this.tell('forgotten', entry, 'not seen any more');
    }
    const inodes = new Set(candidates.map(({ socket }) => socket.inode));
    for (const inode of this.attempts.keys()) if (!inodes.has(inode)) this.attempts.delete(inode);
  }

  private isDue({ socket, url }: Candidate): boolean {
    const known = [...this.entries.values()].some(
      (entry) =>
        entry.origin === 'discovered' && entry.target.endpoint.url === url && entry.inode === socket.inode,
    );
    return !known && (this.attempts.get(socket.inode)?.nextAt ?? 0) <= this.parts.now();
  }

  private async tryCandidate(candidate: Candidate): Promise<void> {
    const { url, certain } = candidate;
    const { discoveredToken } = this.parts;
    const withToken = { url, ...(discoveredToken === undefined ? {} : { bearerToken: discoveredToken }) };
    try {
      // The key is for engines: whoever only sits on a default port is first asked without it, and never with it.
      const detection = await this.detectCandidate(candidate, { url }).catch((error: unknown) => {
        const isLocked = error instanceof TargetError && error.reason === 'unauthorized';
        if (isLocked && certain && discoveredToken !== undefined)
          return this.detectCandidate(candidate, withToken);
        throw error;
      });
      if (detection === undefined) {
        this.postpone(candidate, 'answers as none of the engines it could be', certain);
      } else {
        this.admit(candidate, withToken, detection);
      }
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.postpone(candidate, located(error, url).message, certain || !ANSWERS.has(error.reason));
    }
  }

  private detectCandidate({ engines }: Candidate, endpoint: Endpoint): Promise<Detection | undefined> {
    const signal = AbortSignal.timeout(this.parts.readTimeoutSeconds * 1000);
    return detectEngine(this.parts.createGet(endpoint), signal, engines);
  }

  /**
   * A stranger is asked once and left alone; what runs an engine's program, or does not answer yet, may still be
   * starting and is asked again later and later.
   */
  private postpone(candidate: Candidate, why: string, again: boolean): void {
    const tries = (this.attempts.get(candidate.socket.inode)?.tries ?? 0) + 1;
    const nextAt = again ? this.parts.now() + waitAfter(tries) : Number.POSITIVE_INFINITY;
    this.attempts.set(candidate.socket.inode, { candidate, why: `${candidate.why}; ${why}`, tries, nextAt });
  }

  private admit(candidate: Candidate, endpoint: Endpoint, detection: Detection): void {
    const { inode, port } = candidate.socket;
    this.attempts.delete(inode);
    const why = `${candidate.why}; ${detection.by}`;
    const returning = [...this.entries.values()].find(
      ({ origin, target, detection: before }) =>
        origin === 'discovered' &&
        target.endpoint.url === endpoint.url &&
        before?.engine === detection.engine,
    );
    if (returning !== undefined) {
      Object.assign(returning, { inode, present: true, detection, why, reader: undefined });
      return;
    }
    this.replaceAt(endpoint.url);
    const server = this.freeName(`${detection.engine}-${port}`, endpoint.url);
    const entry = this.newEntry({ server, endpoint }, 'discovered', why, detection);
    entry.inode = inode;
    this.entries.set(server, entry);
    this.tell('found', entry, why);
  }

  /** Another engine has taken the place of one: the one before is gone, not down. */
  private replaceAt(url: string): void {
    for (const [server, entry] of this.entries) {
      if (entry.origin !== 'discovered' || entry.target.endpoint.url !== url) continue;
      this.entries.delete(server);
      this.tell('forgotten', entry, 'another engine has taken its place');
    }
  }

  private freeName(wanted: string, url: string): string {
    if (!this.entries.has(wanted)) return wanted;
    return `${wanted}-${new URL(url).hostname.replace(/[[\]]/g, '')}`;
  }

  /**
   * Whoever asks while a target is being read gets that reading: an engine never has two of ours in hand. The reading has
   * a time of its own, so that somebody in a hurry does not end it for others: he only stops waiting.
   */
  private readOnce(entry: Entry, signal: AbortSignal): Promise<EngineReading> {
    entry.underWay ??= this.read(entry, AbortSignal.timeout(this.parts.readTimeoutSeconds * 1000)).finally(
      () => {
        entry.underWay = undefined;
      },
    );
    return Promise.race([entry.underWay, whenAborted(entry, signal)]);
  }

  private async read(entry: Entry, signal: AbortSignal): Promise<EngineReading> {
    const reading = await this.attempt(entry, signal);
    const wasDown = entry.lastReading?.up === false;
    entry.lastReading = reading;
    const error = reading.errors[0];
    if (reading.up) {
      if (wasDown && entry.lastSuccess !== undefined) this.tell('recovered', entry, 'answers again');
      entry.lastSuccess = this.parts.now();
      delete entry.lastError;
      this.tellMissing(entry, reading);
    } else {
      if (error !== undefined && entry.lastError?.reason !== error.reason)
        this.tell('failed', entry, error.message);
      // Something else may sit there next time: what it is, is asked anew. Until then it keeps its name.
      entry.isInDoubt = entry.target.engine === undefined && entry.origin === 'configured';
      // A found one that is another by now, on the very socket: the next look asks what it is.
      if (reading.isStranger === true && entry.origin === 'discovered') entry.inode = '';
    }
    if (error !== undefined) {
      entry.lastError = { reason: error.reason, message: error.message, at: this.parts.now() };
    }
    return reading;
  }

  private async attempt(entry: Entry, signal: AbortSignal): Promise<EngineReading> {
    if (!entry.present) {
      // Whoever is on that port now is not the one that was found: neither questions nor keys are for him.
      const words = 'is no longer listened on by the engine that was found there: has it stopped?';
      return unreachable(entry, new TargetError('refused', entry.target.endpoint.url, words));
    }
    const isKnown = entry.detection !== undefined && !entry.isInDoubt;
    const detection = isKnown ? entry.detection : await this.detect(entry, signal);
    if (detection instanceof TargetError || detection === undefined) return unreachable(entry, detection);
    if (entry.reader === undefined || entry.detection?.engine !== detection.engine) {
      entry.reader = createEngineReader({
        adapter: adapterOf(detection.engine),
        identity: { server: entry.target.server, engine: detection.engine },
        url: entry.target.endpoint.url.replace(/\/$/, ''),
        detectedBy: detection.by,
        get: entry.get,
        now: this.parts.now,
      });
    }
    entry.detection = detection;
    entry.isInDoubt = false;
    return entry.reader(signal);
  }

  /** Asks a configured target what it is; one that is no engine is asked again later and later. */
  private async detect(entry: Entry, signal: AbortSignal): Promise<Detection | TargetError> {
    const { url } = entry.target.endpoint;
    const { stranger } = entry;
    if (stranger !== undefined && this.parts.now() < stranger.nextAt) return stranger.error;
    try {
      const found = await detectEngine(entry.get, signal);
      if (found === undefined) {
        const words =
          'answers as no engine that is known: is it the right port? Name the engine in its setting if it is one';
        return this.notedStranger(entry, new TargetError('not_recognized', url, words));
      }
      entry.stranger = undefined;
      entry.why = `configured; ${found.by}`;
      return found;
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      const told = located(error, url);
      return ANSWERS.has(error.reason) ? this.notedStranger(entry, told) : told;
    }
  }

  private notedStranger(entry: Entry, error: TargetError): TargetError {
    const tries = (entry.stranger?.tries ?? 0) + 1;
    entry.stranger = { error, tries, nextAt: this.parts.now() + waitAfter(tries) };
    return error;
  }

  private tellMissing(entry: Entry, reading: EngineReading): void {
    const missing = reading.missing.join(', ');
    if (missing !== '' && missing !== entry.toldMissing) this.tell('metrics_missing', entry, missing);
    entry.toldMissing = missing;
  }

  private tell(kind: TargetEvent['kind'], entry: Entry, detail: string): void {
    this.parts.onEvent?.({
      kind,
      server: entry.target.server,
      engine: engineOf(entry),
      url: entry.target.endpoint.url,
      detail,
    });
  }
}

/** That the target is late, as soon as the signal says that nobody waits for it any more. */
function whenAborted(entry: Entry, signal: AbortSignal): Promise<EngineReading> {
  return new Promise((resolve) => {
    const giveUp = (): void => {
      const words = 'did not answer in time: is the engine hung, or the deadline too short?';
      resolve(unreachable(entry, new TargetError('timeout', entry.target.endpoint.url, words)));
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });
}

/** Milliseconds until the next try after so many in vain. */
function waitAfter(tries: number): number {
  return Math.min(FIRST_RETRY_MILLISECONDS * 2 ** (tries - 1), LAST_RETRY_MILLISECONDS);
}

/** Failures in which somebody did answer, and not as an engine does: it is not asked again at every turn. */
const ANSWERS: ReadonlySet<string> = new Set<TargetErrorReason>([
  'unauthorized',
  'not_found',
  'http_error',
  'not_http',
  'redirected',
  'too_large',
  'not_recognized',
]);

/** The names and addresses under which this host reaches itself, as URLs spell them. */
function localHosts(): ReadonlySet<string> {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const spelled = addresses.map(({ address, family }) => (family === 'IPv6' ? `[${address}]` : address));
  return new Set(['localhost', '127.0.0.1', '[::1]', '0.0.0.0', hostname().toLowerCase(), ...spelled]);
}

/** What detection says of a path, said of the address: detection asks through a `Get` and knows no address. */
function located(error: TargetError, baseUrl: string): TargetError {
  if (!error.url.startsWith('/')) return error;
  const what = error.message.slice(error.url.length + 1);
  return new TargetError(error.reason, `${baseUrl.replace(/\/$/, '')}${error.url}`, what, error.cause);
}

function portOf({ port, protocol }: URL): string {
  return port === '' ? (protocol === 'https:' ? '443' : '80') : port;
}

function engineOf(entry: Entry): string {
  return entry.detection?.engine ?? entry.target.engine ?? 'unknown';
}

/** The reading of a target that could not be read: that it is down, and nothing else. */
function unreachable(entry: Entry, error?: TargetError): EngineReading {
  return {
    families: serverFamilies({ server: entry.target.server, engine: engineOf(entry) }, 'unreachable'),
    up: false,
    state: 'unreachable',
    models: [],
    sources: {},
    missing: [],
    issues: [],
    errors: error === undefined ? [] : [error],
  };
}

function reportOf(entry: Entry): TargetReport {
  return {
    server: entry.target.server,
    url: entry.target.endpoint.url,
    engine: engineOf(entry),
    origin: entry.origin,
    why: entry.why,
    sinceSeconds: entry.since / 1000,
    ...(entry.lastSuccess === undefined ? {} : { lastSuccessSeconds: entry.lastSuccess / 1000 }),
    ...(entry.lastError === undefined
      ? {}
      : {
          lastError: {
            reason: entry.lastError.reason,
            message: entry.lastError.message,
            atSeconds: entry.lastError.at / 1000,
          },
        }),
    ...(entry.lastReading === undefined ? {} : { reading: entry.lastReading }),
  };
}
