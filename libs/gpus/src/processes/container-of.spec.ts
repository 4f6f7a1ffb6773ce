import { containerOf } from './container-of.ts';

const ID = '0123456789ab'.padEnd(64, 'c');
const INNER = 'fedcba987654'.padEnd(64, '3');
const SHORT = '0123456789ab';

it.each<[what: string, cgroup: string, container: string | undefined]>([
  ['Docker, version 1', `12:memory:/docker/${ID}\n1:name=systemd:/docker/${ID}\n`, SHORT],
  ['Docker, version 2', `0::/system.slice/docker-${ID}.scope\n`, SHORT],
  ['Docker with systemd within', `0::/system.slice/docker-${ID}.scope/init.scope\n`, SHORT],
  [
    'rootless Docker',
    `0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${ID}.scope\n`,
    SHORT,
  ],
  ['Docker within Docker: the inner one', `1:name=systemd:/docker/${ID}/docker/${INNER}\n`, 'fedcba987654'],
  [
    'kind: the container of the pod',
    `0::/system.slice/docker-${ID}.scope/kubelet.slice/kubelet-kubepods.slice/cri-containerd-${INNER}.scope\n`,
    'fedcba987654',
  ],
  ['Kubernetes, version 1', `4:memory:/kubepods/burstable/pod1f3b-22/${ID}\n`, SHORT],
  [
    'Kubernetes, version 2',
    `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f.slice/cri-containerd-${ID}.scope\n`,
    SHORT,
  ],
  [
    'containerd without its systemd driver',
    `0::/system.slice/containerd.service/kubepods-pod1f.slice:cri-containerd:${ID}\n`,
    SHORT,
  ],
  ['CRI-O', `0::/kubepods.slice/kubepods-pod1f.slice/crio-${ID}.scope\n`, SHORT],
  ['Podman', `0::/machine.slice/libpod-${ID}.scope/container\n`, SHORT],
  ['seen out of a private namespace', `0::/../../docker-${ID}.scope\n`, SHORT],
  ['Amazon ECS', `9:memory:/ecs/cluster/task/${ID}\n`, SHORT],
  ['LXC before 4', '7:memory:/lxc/inference/ns\n', 'inference'],
  ['LXC and LXD', '0::/lxc.payload.inference/system.slice/ollama.service\n', 'inference'],
  ['systemd-nspawn', '0::/machine.slice/systemd-nspawn@inference.service/payload\n', 'inference'],
  ['a machine of systemd', '0::/machine.slice/machine-gpu\\x2dbox.scope\n', 'gpu-box'],
  ['the second of two lines', `0::/\n9:memory:/docker/${ID}\n`, SHORT],
  ['a private namespace', '0::/\n', undefined],
  ['a service of the host', '0::/system.slice/ollama.service\n', undefined],
  ['a session of a user', '0::/user.slice/user-1000.slice/session-2.scope\n', undefined],
  ["Podman's watcher", `0::/machine.slice/libpod-conmon-${ID}.scope\n`, undefined],
  ["CRI-O's watcher", `0::/kubepods.slice/crio-conmon-${ID}.scope\n`, undefined],
  ["LXC's watcher", '0::/lxc.monitor.inference\n', undefined],
  ['a virtual machine', '0::/machine.slice/machine-qemu\\x2d1\\x2dwindows.scope\n', undefined],
  ['an id that is cut', `0::/system.slice/docker-${ID.slice(1)}.scope\n`, undefined],
  ['nothing', '', undefined],
])('%s', (_what, cgroup, container) => {
  expect(containerOf(cgroup)).toBe(container);
});
