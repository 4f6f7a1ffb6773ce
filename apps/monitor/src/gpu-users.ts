import { adapterOf, isEngineName } from '@llm-monitor/engines';
import { processName, type OwnedProcess, type WatchedGpu } from '@llm-monitor/gpus';

import { gibibytesText } from './figure.ts';

/** A server of the page, as far as the processes on GPUs are matched with it. */
export interface KnownServer {
  readonly server: string;
  readonly url: string;
  readonly engine: string;
  /** As served. */
  readonly models: readonly string[];
}

/** Who uses a GPU: a server, an engine that is none of them, or another program. */
export interface GpuUser {
  /** Its models by the names they are served under; the program where no model is known. */
  readonly name: string;
  /** Whether `name` is that of a model. */
  readonly isModel: boolean;
  /** Engine and server, or what is known of the program. */
  readonly detail: string;
  /** Memory of the GPU that it holds; empty where the driver does not tell. */
  readonly memory: string;
}

/** More are only counted. */
const MAX_USERS = 6;
const MAX_MODELS = 3;

/** Who uses the GPU, the largest first, and how many were left out. Pure. */
export function gpuUsers(
  processes: readonly OwnedProcess[],
  servers: readonly KnownServer[],
): { readonly users: readonly GpuUser[]; readonly more: number } {
  const groups = new Map<string, { server: KnownServer | undefined; members: OwnedProcess[] }>();
  for (const process of processes) {
    const server = serverOf(process, servers);
    const { engine, model, port, container } = process.owner;
    const key =
      server === undefined
        ? [engine ?? processName(process), model, port, container].join('\n')
        : `${server.server}\n${modelsOf(process, server).join('\n')}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { server, members: [process] });
    else group.members.push(process);
  }
  const users = [...groups.values()]
    .map(({ server, members }) => ({ bytes: memoryOf(members), user: userOf(members, server) }))
    .toSorted((one, other) => (other.bytes ?? -1) - (one.bytes ?? -1) || compare(one.user, other.user))
    .map(({ user }) => user);
  return { users: users.slice(0, MAX_USERS), more: Math.max(0, users.length - MAX_USERS) };
}

/** The GPUs that a server has processes on, with the memory it holds there; undefined where the driver does not tell. */
export function gpusOf(
  server: KnownServer,
  gpus: readonly WatchedGpu[],
): readonly { readonly watched: WatchedGpu; readonly memoryBytes: number | undefined }[] {
  return gpus.flatMap((watched) => {
    const own = (watched.processes ?? []).filter((process) => serverOf(process, [server]) !== undefined);
    return own.length === 0 ? [] : [{ watched, memoryBytes: memoryOf(own) }];
  });
}

/** Sum of what is told; undefined when nothing is. */
export function sumOfKnown(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
}

/**
 * The server that a process belongs to, by the port on which it listens. A port in a container may be another one than
 * the same number on the host: there, and wherever both sides tell their engine or model, these have to agree, too.
 */
function serverOf({ owner }: OwnedProcess, servers: readonly KnownServer[]): KnownServer | undefined {
  const { port, engine, model, container } = owner;
  if (port === undefined) return undefined;
  return servers.find((server) => {
    if (localPort(server.url) !== port) return false;
    if (engine !== undefined && server.engine !== '' && engine !== server.engine) return false;
    const isKnown = model !== undefined && server.models.length > 0;
    return container === undefined || !isKnown || servedAs(model, server) !== undefined;
  });
}

/** The port of a URL of this host; undefined for one elsewhere. */
function localPort(url: string): number | undefined {
  const { hostname, port, protocol } = new URL(url);
  if (!/^(localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\])$/.test(hostname)) return undefined;
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

/** One server may serve several models from as many processes: then that of the process. */
function modelsOf({ owner: { model } }: OwnedProcess, server: KnownServer): readonly string[] {
  if (model === undefined) return server.models;
  const served = servedAs(model, server);
  if (served !== undefined) return [served];
  return server.models.length === 1 ? server.models : [model];
}

/** A model's name on its server, which may have folders or an owner before the same last part. */
function servedAs(model: string, { models }: KnownServer): string | undefined {
  const lastPart = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
  return (
    models.find((served) => served === model) ?? models.find((served) => lastPart(served) === lastPart(model))
  );
}

function userOf(members: readonly OwnedProcess[], server: KnownServer | undefined): GpuUser {
  const [first] = members;
  const bytes = memoryOf(members);
  const memory = bytes === undefined ? '' : gibibytesText(bytes);
  if (first === undefined) return { name: '', isModel: false, detail: '', memory };
  const { owner } = first;
  const models =
    server === undefined ? [owner.model].filter((model) => model !== undefined) : modelsOf(first, server);
  const engine = engineTitle(server === undefined || server.engine === '' ? owner.engine : server.engine);
  if (models.length > 0 || engine !== undefined) {
    const program = engine ?? processName(first);
    const where =
      server !== undefined
        ? [server.server]
        : [
            ...(owner.port === undefined ? [] : [`port ${owner.port}`]),
            ...(owner.container === undefined ? [] : [`container ${owner.container}`]),
          ];
    return models.length > 0
      ? { name: modelsText(models), isModel: true, detail: [program, ...where].join(' · '), memory }
      : { name: program, isModel: false, detail: [...where, 'model unknown'].join(' · '), memory };
  }
  const pids = members.length === 1 ? `process ${first.pid}` : `${members.length} processes`;
  const graphics = members.every(({ type }) => type === 'graphics') ? ['graphics'] : ['engine unknown'];
  const container = owner.container === undefined ? [] : [`container ${owner.container}`];
  return {
    name: processName(first),
    isModel: false,
    detail: [pids, ...container, ...graphics].join(' · '),
    memory,
  };
}

function modelsText(models: readonly string[]): string {
  const more = models.length - MAX_MODELS;
  return more > 0 ? `${models.slice(0, MAX_MODELS).join(', ')} and ${more} more` : models.join(', ');
}

function engineTitle(engine: string | undefined): string | undefined {
  return engine !== undefined && isEngineName(engine)
    ? adapterOf(engine).title.replace(/ \(.*\)$/, '')
    : engine;
}

function memoryOf(processes: readonly OwnedProcess[]): number | undefined {
  return sumOfKnown(processes.map(({ memoryBytes }) => memoryBytes));
}

function compare(one: GpuUser, other: GpuUser): number {
  return one.name.localeCompare(other.name) || one.detail.localeCompare(other.detail);
}
