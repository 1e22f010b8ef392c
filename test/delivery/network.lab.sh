#!/bin/bash
# A bad network inside a kernel that has netem: agent and collector over a loopback device that loses 20 % of all packets and takes 2 s there and back, and that is cut
# in the middle for longer than a heartbeat. Leaves ledger and notes in $RES. Usage (inside uml-run.sh): network.lab.sh NODE PROGRAMS
set -eu
programs=$2 work=$TMPDIR/network
node=("$1" --disable-warning=ExperimentalWarning)
agent=("$programs/agent.program.ts" ws://127.0.0.1:7300 "$work/state" node1 "$work/node1.notes")
mkdir -p "$work/cluster"
cp "$RES"/cluster/* "$work/cluster/"
modprobe -d /media sch_netem || exit 77
# No function stands between: what is killed below must be the program, and not a shell that has started it.
"${node[@]}" "$programs/collector.program.ts" 7300 "$work/data" "$work/cluster" >"$work/collector.log" 2>&1 &
collector=$!
for _ in $(seq 100); do grep -q ready "$work/collector.log" && break; sleep 0.5; done
tc qdisc add dev lo root netem delay 1000ms loss 20%
PAUSE_MS=400 "${node[@]}" "${agent[@]}" >/dev/null 2>&1 &
first=$!
# Until something is acknowledged: how long that takes on such a network is chance.
for _ in $(seq "${BEFORE_S:-60}"); do grep -qs '"acknowledged":.*"seq":[1-9]' "$work/node1.notes" && break; sleep 1; done
tc qdisc change dev lo root netem loss 100%
sleep "${CUT_S:-35}"
tc qdisc change dev lo root netem delay 1000ms loss 20%
sleep "${AFTER_S:-5}"
kill -9 $first
wait $first || true
[ ! -e /proc/$first ] || { echo "the first agent lives on"; exit 1; }
"${node[@]}" "${agent[@]}" calm
tc -s qdisc show dev lo | grep -A1 netem
kill -TERM $collector; wait $collector || true
cp "$work/node1.notes" "$work/data/portreeve.db" "$RES/"
if [ -e "$work/data/portreeve.db-wal" ]; then cp "$work/data/portreeve.db-wal" "$RES/"; fi
