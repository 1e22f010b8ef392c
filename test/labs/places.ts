// Firewall managers on a node of the lab: their programs as they are installed, on copies of their configuration, with a /run and a lock of their own.
import { spawnSync } from 'node:child_process';
import type { NodeName } from './cluster.ts';
import type { Namespaces, Ran, Running } from './namespaces.ts';

interface Nodes {
  readonly namespaces: Namespaces;
  readonly nodes: Readonly<Record<NodeName, string>>;
}

/** Mounts of their own on a node, which live as long as `holder`. */
export interface Place {
  readonly holder: Running;
  /** Runs a command in it, to its end. */
  readonly run: (...command: readonly string[]) => Promise<Ran>;
  /** What stands before a command that is to run in it. */
  readonly enter: readonly string[];
}

export interface Firewalld extends Place {
  /** Process id of the daemon. */
  readonly pid: number;
}

export const isInstalled = (program: string): boolean => spawnSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`]).status === 0;

const ownMounts = `
  set -e; mount --make-rprivate /; copies=$(mktemp -d); mount -t tmpfs tmpfs "$copies"
  for path in /etc/ufw /etc/default/ufw /lib/ufw /etc/firewalld; do
    [ -e "$path" ] || continue; copy="$copies/$(echo "$path" | tr / _)"; cp -a "$path" "$copy"; mount --bind "$copy" "$path"
  done
  mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs tmpfs /var/log; mkdir -p /run/lock /run/dbus /run/firewalld`;

/** Mounts in which ufw may be used; it is not enabled. */
export async function openPlace(lab: Nodes, name: NodeName): Promise<Place> {
  return placeOf(lab, {
    name,
    holder: await lab.namespaces.start(lab.nodes[name], ['unshare', '-m', 'bash', '-c', `${ownMounts}; echo ready; exec sleep infinity`], {
      ready: /^ready$/m,
    }),
  });
}

/** A system bus and firewalld; eth0 and cni0 are trusted, so that it does no more than it is asked to. Its start flushes the rules of the node. */
export async function startFirewalld(lab: Nodes, name: NodeName): Promise<Firewalld> {
  const setUp = `${ownMounts}; rm -f /etc/firewalld/zones/*
    dbus-daemon --system --nofork --nopidfile >/dev/null 2>&1 & for _ in $(seq 100); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
    firewalld --nofork --nopid >/dev/null 2>&1 & daemon=$!; for _ in $(seq 300); do [ "$(firewall-cmd --state 2>/dev/null)" = running ] && break; sleep 0.1; done
    firewall-cmd -q --permanent --zone=trusted --add-interface=eth0 --add-interface=cni0; firewall-cmd -q --reload
    echo ready $daemon; wait`;
  const holder = await lab.namespaces.start(lab.nodes[name], ['unshare', '-m', 'bash', '-c', setUp], { ready: /^ready \d+$/m });
  return { ...placeOf(lab, { name, holder }), pid: Number(/^ready (\d+)$/m.exec(holder.output())?.[1]) };
}

function placeOf({ namespaces, nodes }: Nodes, { name, holder }: { readonly name: NodeName; readonly holder: Running }): Place {
  const enter = ['nsenter', '-m', '-t', String(holder.pid)];
  return { holder, enter, run: (...command) => namespaces.run(nodes[name], [...enter, ...command]) };
}
