// Runs branches of a walk through one hook: its base chains by priority, with the NAT core, connection tracking and IPVS among them.
import type { Decider } from '../model/outcome.ts';
import { Branches } from './branches.ts';
import { type Run, runChain } from './chains.ts';
import { coalesce } from './coalesce.ts';
import { conntrackPriority, ingressChains, type Stop, stopsOf } from './hooks.ts';
import type { NodeState } from './node.ts';
import { type State, type Station, visited } from './packet.ts';
import type { Hook } from './rule.ts';
import type { BaseChain, Chain, Table } from './ruleset.ts';
import { natAddress } from './translate.ts';
import { balanced, fromVirtual } from './walk.ipvs.ts';
import { isLocal, outDevice, routed, sendOn, type WayOut } from './walk.routing.ts';
import { end, type Walker } from './walker.ts';

/** What passes all stops of a hook, in order. */
export function atHook(walker: Walker, hook: Hook, states: readonly State[]): readonly State[] {
  let [live, next] = [new Branches(), new Branches()];
  for (const state of states) live.add(state);
  let beforeConntrack = hook === 'prerouting' || hook === 'output';
  for (const stop of stopsOf(walker.node, walker.packet.family, { hook, ties: walker.ties })) {
    if (live.length === 0) break;
    if (isIdle(stop) && !walker.options.traced) continue;
    if (stop.kind === 'conntrack') beforeConntrack = false;
    const early = beforeConntrack && stop.priority < conntrackPriority;
    next.clear();
    for (let index = 0; index < live.length; index++) {
      const state = undone(live.at(index), hook, stop.priority);
      for (const each of atStop(walker, hook, { stop, state, beforeConntrack: early && isUnseen(state) })) next.add(each);
    }
    next.coalesce();
    [live, next] = [next, live];
  }
  const passed: State[] = [];
  for (let index = 0; index < live.length; index++) {
    const state = undone(live.at(index), hook, Number.POSITIVE_INFINITY);
    if (!isOrphaned(walker, state)) passed.push(state);
  }
  return passed;
}

/** What passes the ingress chains of the interface that a packet comes in by. */
export function atIngress(walker: Walker, start: State): readonly State[] {
  let states: readonly State[] = [start];
  for (const { isCertain, ...chain } of ingressChains(walker.node, start.iif)) {
    const decider: Decider = { by: 'rule', text: `the chain ${chain.chain.name}, of which the listing does not tell the interface` };
    const assumed = (state: State, matched: boolean): State => (isCertain ? state : { ...state, assumptions: [...state.assumptions, { decider, matched }] });
    const through = states.flatMap((state) => throughChain(walker, 'ingress', { ...chain, state: assumed(state, true), beforeConntrack: true }));
    states = isCertain ? through : coalesce([...through, ...states.map((state) => assumed(state, false))]);
  }
  return states;
}

/** A chain that lets everything pass: most tables of a node have nothing in theirs. */
const isIdle = (stop: Stop): boolean => stop.kind === 'chain' && stop.chain.length === 0 && stop.base.policy === 'accept';

/** Whether connection tracking has not seen the packet anywhere before. */
const isUnseen = (state: State): boolean => state.iif !== 'lo' && !state.attached && state.ipvs?.pending !== false;

/** A packet after the first as it is after the NAT core has made its translation, from that core's priority on. */
function undone(translated: State, hook: Hook, priority: number): State {
  const state = translated.ipvs === undefined ? translated : fromVirtual(translated, hook, priority);
  if (state.undo === undefined || state.conntrack === 'untracked') return state;
  const { destination, source } = state.undo;
  if (destination !== undefined && (hook === 'prerouting' || hook === 'output') && priority >= natPriorities[hook]) {
    return { ...state, destination: destination.address, destinationPort: destination.port, undo: source === undefined ? undefined : { source } };
  }
  if (source !== undefined && hook === 'postrouting' && priority >= natPriorities[hook]) {
    return { ...state, source: source.address, sourcePort: source.port, undo: undefined };
  }
  return state;
}

const natPriorities = { prerouting: -100, output: -100, postrouting: 100 } as const;

/** An answer that a rule has taken out of tracking keeps its translated addresses: nobody knows it at the other end. */
function isOrphaned(walker: Walker, state: State): boolean {
  if (state.direction === 'original' || state.conntrack !== 'untracked' || state.undo === undefined) return false;
  end(walker, state, { verdict: 'drop', decider: { by: 'rule', text: 'the answer is not tracked (NOTRACK), so that its translation is not undone' } });
  return true;
}

interface AtStop {
  readonly stop: Stop;
  readonly state: State;
  readonly beforeConntrack: boolean;
}

function atStop(walker: Walker, hook: Hook, { stop, state, beforeConntrack }: AtStop): readonly State[] {
  switch (stop.kind) {
    case 'chain': {
      const through = throughChain(walker, hook, { ...stop, state, beforeConntrack });
      return hook === 'output' && stop.base.type === 'route'
        ? through.flatMap((each) => (each.mark === state.mark ? [each] : rerouted(walker, each)))
        : through;
    }
    case 'nat':
      return translated(walker, hook, { state, chains: stop.chains });
    case 'ipvs':
      return staying(walker, hook, state);
    case 'conntrack':
      return [state];
  }
}

/** NAT chains are asked for first packets, until one of them decides. */
function translated(
  walker: Walker,
  hook: Hook,
  { state, chains }: { readonly state: State; readonly chains: (Stop & { kind: 'nat' })['chains'] },
): readonly State[] {
  if (state.conntrack !== 'new') return [state];
  // What IPVS sends has been through the destination's translation before IPVS took it.
  if (hook === 'output' && state.ipvs !== undefined) return [state];
  // A packet that came around over loopback has its translations already, if only to what it was; each kind is set up once for a connection.
  if (state.iif === 'lo' && (hook === 'prerouting' || hook === 'input')) return [state];
  const isSettled = (each: State): boolean => (hook === 'prerouting' || hook === 'output' ? each.settledDestination : each.settledSource);
  let live: readonly State[] = [state];
  for (const chain of chains) {
    live = live.flatMap((each) => (isSettled(each) ? [each] : throughChain(walker, hook, { ...chain, state: each, beforeConntrack: false })));
  }
  if (hook === 'output') return live.flatMap((each) => (each.dnat ? rerouted(walker, each) : [each]));
  return hook === 'prerouting' ? live : live.map((each) => withNatSource(walker.node, each));
}

/** Once its source is replaced a packet shows the new one, from a port that the kernel chose. */
function withNatSource(node: NodeState, state: State): State {
  const source = state.nat === undefined || state.direction === 'reply' ? undefined : natAddress(node.host, state);
  return source === undefined ? state : { ...state, source, sourcePort: undefined };
}

/** A packet of the node that was translated, or marked in a chain of type route, is routed anew at once: one that has no way now ends here. */
const rerouted = (walker: Walker, state: State): readonly State[] =>
  routed(walker, state).flatMap((part) =>
    isLocal(part.answer) || outDevice(walker, part) !== undefined ? [{ ...part.state, routedBy: part.state.mark }] : [],
  );

/** What IPVS leaves on the node goes on in the hook; the rest is sent out. */
function staying(walker: Walker, hook: Hook, state: State): readonly State[] {
  const stays: State[] = [];
  for (const { state: each, out } of balanced(walker, hook, state)) {
    if (out === undefined) stays.push(each);
    else sendOut(walker, each, out);
  }
  return stays;
}

/** What IPVS sends to another machine: through output and postrouting, never through forward. */
function sendOut(walker: Walker, state: State, out: WayOut): void {
  const leaving = visited({ ...state, iif: undefined, oif: out.device }, { kind: 'route', text: out.text }, walker.options);
  for (const sent of atHook(walker, 'output', [leaving])) {
    for (const last of atHook(walker, 'postrouting', [sent])) sendOn(walker, last, out.text);
  }
}

interface ChainEntry {
  readonly table: Table;
  readonly chain: Chain;
  readonly base: BaseChain;
  readonly state: State;
  readonly beforeConntrack: boolean;
}

function throughChain(walker: Walker, hook: Hook, { table, chain, base, state, beforeConntrack }: ChainEntry): readonly State[] {
  const run: Run = { node: walker.node, table, hook, beforeConntrack, traced: walker.options.traced, budget: walker.budget };
  const { accepted, through, ended } = runChain(run, chain, run.traced ? visited(state, stationOf(hook, { table, chain, base }), run) : state);
  for (const each of ended) walker.ended.push(each);
  if (through.length === 0) return accepted;
  if (base.policy === 'accept') return [...accepted, ...through];
  const decider = policyDecider(table, chain, base);
  for (const each of through) end(walker, visited(each, { kind: 'policy', decider }, run), { verdict: 'drop', decider });
  return accepted;
}

const stationOf = (hook: Hook, { table, chain, base }: Pick<ChainEntry, 'table' | 'chain' | 'base'>): Station => ({
  kind: 'chain',
  hook,
  priority: base.priority,
  backend: table.backend,
  family: table.family,
  table: table.name,
  chain: chain.name,
});

const policyDecider = (table: Table, chain: Chain, base: BaseChain): Decider => ({
  by: 'policy',
  family: table.family,
  table: table.name,
  chain: chain.name,
  backend: table.backend,
  text: `policy ${base.policy.toUpperCase()}`,
  ...(chain.counter === undefined ? {} : { packets: chain.counter.packets.toString() }),
});
