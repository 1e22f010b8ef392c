#!/bin/bash
# Runs a command where ufw and firewalld can be used for real without touching this machine: mount, network and pid namespaces of its own, copies of their
# configuration, an empty /run, and the interfaces eth0 (192.0.2.11/24) and cni0 (10.244.1.1/24). Exit status 77: it cannot be done here.
#   usage: private-firewall.sh ufw COMMAND [ARG…]
#          private-firewall.sh ufw|firewalld     (only says whether it can be done)
#          private-firewall.sh firewalld COMMAND [ARG…]     (with a system bus and firewalld; FIREWALLD_PID names it)
set -euo pipefail
manager=$1; shift
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
for tool in unshare ip "$manager"; do command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 77; }; done
[ "$manager" = ufw ] || command -v dbus-daemon >/dev/null || { echo 'dbus-daemon is not installed' >&2; exit 77; }
[ "$#" -gt 0 ] || exec unshare --mount --net --pid --fork --mount-proc true
if [ "${PORTREEVE_PRIVATE_FIREWALL:-}" != 1 ]; then
  PORTREEVE_PRIVATE_FIREWALL=1 exec unshare --mount --net --pid --fork --mount-proc "$(readlink -f "$0")" "$manager" "$@"
fi

mount --make-rprivate /
copies=$(mktemp -d)
mount -t tmpfs tmpfs "$copies"
for path in /etc/ufw /etc/default/ufw /lib/ufw /etc/firewalld; do
  [ -e "$path" ] || continue
  copy="$copies/${path//\//_}"
  cp -a "$path" "$copy"
  mount --bind "$copy" "$path"
done
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/lock /run/dbus /run/firewalld
ip link set lo up
for device in eth0:192.0.2.11/24 cni0:10.244.1.1/24; do
  ip link add "${device%%:*}" type veth peer name "${device%%:*}p"
  ip addr add "${device#*:}" dev "${device%%:*}"
  ip link set "${device%%:*}" up
  ip link set "${device%%:*}p" up
done

status=0
if [ "$manager" = firewalld ]; then
  rm -f /etc/firewalld/zones/*
  dbus-daemon --system --nofork --nopidfile >/dev/null 2>&1 & bus=$!
  for _ in $(seq 100); do [ -S /run/dbus/system_bus_socket ] && break; sleep 0.05; done
  firewalld --nofork --nopid >/dev/null 2>&1 & daemon=$!
  for _ in $(seq 300); do [ "$(firewall-cmd --state 2>/dev/null)" = running ] && break; sleep 0.1; done
  FIREWALLD_PID=$daemon "$@" || status=$?
  kill "$daemon" "$bus" 2>/dev/null || true
  wait 2>/dev/null || true
else
  "$@" || status=$?
fi
umount -R "$copies" 2>/dev/null || umount -l "$copies"
rmdir "$copies" 2>/dev/null || true
exit "$status"
