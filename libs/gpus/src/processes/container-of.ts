/** Longest name of a container that has a name and no id. */
const NAME_LENGTH = 64;
const SHORT_ID_LENGTH = 12;

const ID = /^(?:(?<runtime>[a-z][\w-]*)[-:])?(?<id>[0-9a-f]{64})(?:\.scope)?$/;
const NAMED = [
  // LXC 4 and later, and LXD; `lxc.monitor.NAME` is LXC's own process outside of the container.
  /^lxc\.payload\.(?<name>.+)$/,
  // systemd-nspawn; a virtual machine of libvirt is registered the same way and is no container.
  /^machine-(?!qemu\\x2d)(?<name>.+)\.scope$/,
  /^systemd-nspawn@(?<name>.+)\.service$/,
];

/**
 * The container in which a process runs, by its `/proc/PID/cgroup` (version 1 and 2): twelve characters of the id that
 * Docker, containerd, CRI-O and Podman give, or the name that LXC and systemd-nspawn give. Of containers within one
 * another the innermost.
 * @returns undefined for a process of the host, and where a private cgroup namespace shows `/`
 */
export function containerOf(cgroup: string): string | undefined {
  for (const line of cgroup.split('\n')) {
    const path = line.split(':').slice(2).join(':');
    const container = containerOfPath(path.split('/'));
    if (container !== undefined) return container;
  }
  return undefined;
}

function containerOfPath(parts: readonly string[]): string | undefined {
  for (let place = parts.length - 1; place >= 0; place--) {
    const part = parts[place] ?? '';
    const container = idOf(part) ?? nameOf(part, parts[place - 1]);
    if (container !== undefined) return container;
  }
  return undefined;
}

function idOf(part: string): string | undefined {
  // containerd without its systemd driver writes `system.slice:cri-containerd:ID`.
  const { runtime = '', id } = ID.exec(part.replace(/^[^:]*\.slice:/, ''))?.groups ?? {};
  // Podman's and CRI-O's conmon watches over a container from outside.
  return runtime.endsWith('conmon') ? undefined : id?.slice(0, SHORT_ID_LENGTH);
}

function nameOf(part: string, parent: string | undefined): string | undefined {
  const name =
    parent === 'lxc' ? part : NAMED.flatMap((pattern) => pattern.exec(part)?.groups?.['name'] ?? [])[0];
  return name === undefined || name === '' ? undefined : unescaped(name).slice(0, NAME_LENGTH);
}

/** systemd writes characters with a meaning of their own as `\x2d`. */
function unescaped(name: string): string {
  return name.replace(/\\x([0-9a-f]{2})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
