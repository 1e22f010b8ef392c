#!/bin/bash
# Runs inside the kernel under test: loads the modules that the scenes need beyond those of uml-run.sh, and hands over to guest.ts.
#   usage: guest.sh NODE GUEST.TS
modprobe -d /media -a ip_vs_wlc ip_vs_sed ip_vs_nq ip_vs_mh ip_vs_dh ip_vs_fo ip_vs_ovf ip_vs_lblc \
  ip6table_nat ip6table_mangle ip6table_filter ip6table_raw iptable_raw ip6t_REJECT xt_CT xt_nat xt_tcpudp nf_defrag_ipv6 udp_diag sctp sctp_diag xt_sctp xt_multiport 2>/dev/null
export PATH="$(dirname "$1"):$PATH"
exec "$1" --disable-warning=ExperimentalWarning "$2"
