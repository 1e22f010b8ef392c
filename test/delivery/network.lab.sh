#!/bin/bash
# A bad network inside a kernel that has netem: agent and collector over a loopback device that loses 20 % of all packets and takes 2 s there and back, and that is cut
# in the middle for longer than a heartbeat. Leaves ledger and notes in $RES. Usage (inside uml-run.sh): network.lab.sh NODE PROGRAMS
set -eu
node=$1 programs=$2 work=$TMPDIR/network
mkdir -p "$work/cluster"
cp "$RES"/cluster/* "$work/cluster/"
modprobe -d /media sch_netem
start() { "$node" --disable-warning=ExperimentalWarning "$programs/$1" "${@:2}"; }
start collector.program.ts 7300 "$work/data" "$work/cluster" >"$work/collector.log" 2>&1 &
job=$!
for _ in $(seq 100); do grep -q ready "$work/collector.log" && break; sleep 0.5; done
collector=$(sed -n 's/^ready //p' "$work/collector.log")
tc qdisc add dev lo root netem delay 1000ms loss 20%
PAUSE_MS=400 start agent.program.ts ws://127.0.0.1:7300 "$work/state" node1 "$work/node1.notes" >/dev/null 2>&1 &
agent=$!
sleep "${BEFORE_S:-12}"
tc qdisc change dev lo root netem loss 100%
sleep "${CUT_S:-35}"
tc qdisc change dev lo root netem delay 1000ms loss 20%
sleep 5
kill -9 $agent
start agent.program.ts ws://127.0.0.1:7300 "$work/state" node1 "$work/node1.notes" calm
tc -s qdisc show dev lo | grep -A1 netem
kill -TERM "$collector"; wait "$job" || true
cp "$work/node1.notes" "$work/data/portreeve.db" "$RES/"
if [ -e "$work/data/portreeve.db-wal" ]; then cp "$work/data/portreeve.db-wal" "$RES/"; fi
