// Processes that write rules or carry pods' traffic (kube-proxy, k3s, the network plugins, firewalls, Docker), from /proc, with the unit or container of each.
import { linkOf, seesAllProcesses, unitOf } from '../host/files.ts';
import type { Machine } from '../host/machine.ts';
import { hasEnded, type ProcessEntry, readProcess } from './processes.parse.ts';
import { madeFile, type Source } from './source.ts';

/** Names as /proc/PID/comm has them, cut to 15 characters by the kernel. */
export const watchedProcesses: ReadonlySet<string> = new Set(
  [
    'kube-proxy',
    'kubelet',
    'k3s',
    'k3s-server',
    'k3s-agent',
    'k0s',
    'rke2',
    'microk8s',
    'kubelite',
    'flanneld',
    'calico-node',
    'calico-felix',
    'felix',
    'cilium-agent',
    'weaver',
    'antrea-agent',
    'kube-router',
    'ovnkube',
    'ovs-vswitchd',
    'canal',
    'dockerd',
    'containerd',
    'crio',
    'podman',
    'libvirtd',
    'virtnetworkd',
    'lxd',
    'incusd',
    'firewalld',
    'ufw',
    'fail2ban-server',
    'crowdsec-firewall-bouncer',
    'sshguard',
    'netplan',
    'NetworkManager',
    'systemd-networkd',
    'keepalived',
    'metallb',
    'speaker',
    'tailscaled',
    'wireguard-go',
    'conntrackd',
    'puppet',
    'chef-client',
    'ansible-playbook',
    'lfd',
    'kindnetd',
    'ip-masq-agent',
    'kube-vip',
    'aws-k8s-agent',
    'azure-npm',
    'weave-npc',
    'tigera-operator',
    'calico-kube-controllers',
    'nm-cloud-setup',
    'opensnitchd',
    'zerotier-one',
    'netbird',
    'salt-minion',
  ].map((name) => name.slice(0, 15)),
);

export const processes: Source = {
  name: 'processes',
  needs: { commands: [], capabilities: [] },
  files: ['processes.json'],
  wakes: ['process'],
  // A start, an end or a restart is seen so late where no event tells of it: a look costs a few milliseconds.
  pollMs: () => 5_000,
  read: async (machine) => {
    // A container that has processes of its own sees none of the node's: that kube-proxy is not among them says nothing.
    if (linkOf('/proc/self') === '1') return { outcome: 'absent', reason: "this container does not see the host's processes (hostPID)" };
    const [names, stat] = await Promise.all([machine.list('/proc'), machine.read('/proc/stat')]);
    const bootedAt = stat.kind === 'done' ? Number(/^btime (\d+)/m.exec(stat.content.toString('latin1'))?.[1]) * 1000 : Number.NaN;
    const found = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map((pid) => readWatched(machine, Number(pid), bootedAt)));
    const entries = found.filter((entry) => entry !== undefined).sort((a, b) => a.pid - b.pid);
    return { ...madeFile('processes.json', `${JSON.stringify(entries)}\n`, '/proc/PID/{comm,cmdline,stat,cgroup}'), ...notTheHosts() };
  },
};

const notTheHosts = (): { readonly lacks?: string } =>
  seesAllProcesses() ? {} : { lacks: 'processes of the machine outside this container, also those that change rules (hostPID gives them)' };

// On a machine that carries several nodes (kind, k3d) the programs of all are seen; what is in another network writes no rules of this one.
function isElsewhere(pid: number): boolean {
  const [own, its] = [linkOf('/proc/self/ns/net'), linkOf(`/proc/${pid}/ns/net`)];
  return own !== undefined && its !== undefined && own !== its;
}

async function readWatched(machine: Machine, pid: number, bootedAt: number): Promise<ProcessEntry | undefined> {
  const comm = await machine.read(`/proc/${pid}/comm`);
  if (comm.kind !== 'done' || !watchedProcesses.has(comm.content.toString('utf8').trimEnd()) || isElsewhere(pid)) return undefined;
  const [cmdline, stat, cgroup] = await Promise.all(['cmdline', 'stat', 'cgroup'].map((file) => machine.read(`/proc/${pid}/${file}`)));
  // It may end between any two of these: then it is not there.
  if (cmdline?.kind !== 'done' || stat?.kind !== 'done' || hasEnded(stat.content.toString('utf8'), cmdline.content)) return undefined;
  return readProcess({
    pid,
    bootedAt,
    comm: comm.content.toString('utf8'),
    cmdline: cmdline.content.toString('utf8'),
    stat: stat.content.toString('utf8'),
    unit: cgroup?.kind === 'done' ? unitOf(cgroup.content.toString('utf8')) : undefined,
  });
}
