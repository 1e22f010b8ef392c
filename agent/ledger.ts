// What changed between two readings of the node, as entries of the ledger, each with who did it where the kernel said so. Pure: readings in, changes out.
import type { Actor, Change, Owner } from '../shared/model/change.ts';
import type { Fact, InterfaceFact, ListenerFact } from '../shared/model/fact.ts';
import { diffTables, orNothing, type RuleChange, type RulePosition } from '../shared/netfilter/diff.ts';
import type { CaptureFiles } from '../shared/netfilter/node.ts';
import { ownerOfName } from '../shared/netfilter/owners.ts';
import type { Table } from '../shared/netfilter/ruleset.ts';
import type { Act } from './bpf/execs.ts';
import type { Wrote } from './bpf/tools.ts';
import { ipsetLines, ipvsLines, processLines, routeLines, serviceMapLines } from './ledger.parse.ts';

/** The node at one reading. */
export interface Snapshot {
  readonly files: CaptureFiles;
  readonly tables: readonly Table[];
  readonly facts: ReadonlyMap<string, Fact>;
}

/** One transaction of nf_tables: who changed what. */
export interface Transaction {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly generation: number;
  readonly actor: Actor;
  /** `ip filter FORWARD` for chains, sets and maps, `ip filter` for tables that came or went, `anything` where the monitor could not name it. */
  readonly touched: ReadonlySet<string>;
  /** The rules that came and went, in order, as far as they were told one by one. */
  readonly rules?: readonly RuleEvent[];
  /** How many rules more came and went. */
  readonly more?: number;
}

/** A rule that came or went. */
export interface RuleEvent {
  readonly op: 'add' | 'delete';
  /** `ip filter FORWARD`. */
  readonly chain: string;
  /** The kernel's number for it within its table. A rule that is replaced keeps it. */
  readonly handle?: number;
  /** In the words of the monitor, which may leave out what iptables' extensions add. */
  readonly text?: string;
}

/** Stands in `touched` for objects that were not named. */
export const anything = '*';

export interface LedgerContext {
  readonly node: string;
  /** Milliseconds since 1970 of the later reading. */
  readonly at: number;
  /** In order of time. */
  readonly transactions: readonly Transaction[];
  /** What was seen to change things of which the kernel's own messages name nobody, in order of time. */
  readonly acts?: readonly Act[];
  /** Sources that were read for the first time: what they found was there before, as far as anybody knows. */
  readonly fresh?: ReadonlySet<string>;
}

/** More chains of kube-proxy changed by one transaction than this become one entry: a full sync is one act. */
export const proxyChainsMax = 50;

export function changesBetween(before: Snapshot, after: Snapshot, context: LedgerContext): Change[] {
  return changesWith(differencesBetween(before, after), [before, after], context);
}

/** Differences of rules between two readings. The tables need hold no more than what may differ. */
export const differencesBetween = (before: Pick<Snapshot, 'tables'>, after: Pick<Snapshot, 'tables'>): readonly RuleChange[] =>
  before.tables === after.tables ? [] : diffTables(before.tables, after.tables);

/** The entries of the ledger, where the differences of rules are known already. */
export function changesWith(differences: readonly RuleChange[], [before, after]: readonly [Snapshot, Snapshot], context: LedgerContext): Change[] {
  const rules = ruleChanges(differences, context);
  const others = [...factChanges(before.facts, after.facts, context), ...fileChanges(before.files, after.files)];
  return [...rules, ...others.map((each) => ({ at: context.at, node: context.node, ...each, ...actedBy({ wrote: wroteOf(each), ...each }, context) }))];
}

type Bare = Omit<Change, 'at' | 'node'>;

interface Attributed {
  readonly change: RuleChange;
  readonly transaction: Transaction | undefined;
}

function ruleChanges(changes: readonly RuleChange[], context: LedgerContext): Change[] {
  const attributed = changes.flatMap(withoutMoves).map((change): Attributed => ({ change, transaction: transactionOf(change, context.transactions) }));
  const proxy = Map.groupBy(
    attributed.filter(({ change }) => change.owner === 'kube-proxy'),
    ({ transaction, change }) => `${transaction?.generation} ${change.family}`,
  );
  const summarised = new Set([...proxy.values()].filter((group) => group.length > proxyChainsMax).flat());
  return [
    ...attributed.filter((each) => !summarised.has(each)).map((each) => ruleChange(each, context)),
    ...[...proxy.values()].filter((group) => group.length > proxyChainsMax).map((group) => summary(group, context)),
  ].sort((a, b) => a.at - b.at);
}

/** Without lines that stand elsewhere and do the same there, of which kube-proxy makes hundreds at each sync; nothing where nothing else has changed. */
function withoutMoves(change: RuleChange): readonly RuleChange[] {
  const { moves, before, after, places } = change;
  if (moves === undefined || before === null || after === null) return [change];
  const stays = (line: string): boolean => !moves.has(line);
  const [gone, come] = [before.filter(stays), after.filter(stays)];
  if (gone.length === 0 && come.length === 0) return [];
  const kept = places?.filter((_, index) => stays(after[index] as string));
  return [{ ...change, before: orNothing(gone), after: orNothing(come), ...(kept === undefined ? {} : { places: kept }) }];
}

// The last transaction that touched the chain is the one whose result was read. Legacy tables have no transactions.
function transactionOf(change: RuleChange, transactions: readonly Transaction[]): Transaction | undefined {
  if (change.backend === 'legacy') return undefined;
  const table = `${change.family} ${change.table}`;
  const touched = (name: string) => transactions.findLast((transaction) => transaction.touched.has(name));
  return (change.object === undefined ? undefined : touched(`${table} ${change.object}`)) ?? touched(table) ?? touched(anything);
}

function ruleChange({ change, transaction }: Attributed, context: LedgerContext): Change {
  return {
    ...madeBy(transaction, context),
    ...(change.backend === 'legacy' ? actedBy({ wrote: 'legacy', subject: `${change.family} ${change.table}`, owner: change.owner }, context) : {}),
    kind: change.kind,
    subject: change.subject,
    before: change.before?.join('\n') ?? null,
    after: change.after?.map((line, index) => placedLine(line, change.places?.[index])).join('\n') ?? null,
    owner: change.owner,
  };
}

/** Where a rule stands, unless it was added at the end, which is what -A says. */
const placedLine = (line: string, place: RulePosition | undefined): string => (place === undefined ? line : `${line}  # rule ${place.number} of ${place.of}`);

function summary(group: readonly Attributed[], context: LedgerContext): Change {
  const first = group[0] as Attributed;
  const count = (side: 'before' | 'after') => group.reduce((sum, { change }) => sum + (change[side]?.filter((line) => line.startsWith('-A')).length ?? 0), 0);
  const named = group.slice(0, 20).map(({ change }) => change.object ?? change.table);
  const more = group.length > named.length ? ` and ${group.length - named.length} more` : '';
  return {
    ...madeBy(first.transaction, context),
    kind: 'chain',
    subject: `${first.change.family} kube-proxy`,
    owner: 'kube-proxy',
    before: null,
    after: `kube-proxy rewrote ${group.length} chains, ${count('after')} rules added, ${count('before')} removed: ${named.join(', ')}${more}`,
  };
}

const madeBy = (transaction: Transaction | undefined, { node, at }: LedgerContext): { at: number; node: string; actor?: Actor } =>
  transaction === undefined ? { at, node } : { at: transaction.at, node, actor: transaction.actor };

/** What an act must have written to have made a change; undefined for what no act is known to make. */
function wroteOf({ kind, subject, before }: Pick<Bare, 'kind' | 'subject' | 'before'>): Wrote | undefined {
  if (kind === 'set') return subject.startsWith('ipvs ') ? 'ipvs' : subject.startsWith('ipset ') ? 'ipset' : undefined;
  return kind === 'interface'
    ? 'link'
    : kind === 'address' || kind === 'route' || kind === 'sysctl' || (kind === 'process' && before !== null)
      ? kind
      : undefined;
}

interface Written {
  readonly wrote: Wrote | undefined;
  readonly subject: string;
  readonly owner?: Owner | undefined;
}

/**
 * Who made a change, of which no message of the kernel says it: the last act that was seen to write such a thing. Where only programs were seen to run, the
 * one that names the thing, or the only one; of several that may have, none.
 */
function actedBy({ wrote, subject, owner }: Written, { acts = [] }: LedgerContext): { at?: number; actor?: Actor } {
  const able = acts.filter((act) => act.wrote === wrote && act.owner === undefined);
  const object = subject.replace(/^(?:ipset|ipvs|interface|route|process) (?:-[tuf] )?/, '').split(' table ')[0] as string;
  const seen = able.findLast((act) => act.exact && (act.object === undefined || act.object === object));
  const ran = able.filter(({ exact }) => !exact);
  const named = ran.findLast(({ actor }) => actor.argv?.some((word) => word.includes(object)));
  const only = new Set(ran.map(({ actor }) => actor.pid)).size === 1 ? ran.at(-1) : undefined;
  // What a program said that it has changed itself, of what is its own.
  const said = acts.findLast((act) => act.wrote === wrote && act.owner !== undefined && act.owner === owner);
  const act = seen ?? named ?? only ?? said;
  return act === undefined ? {} : { at: act.at, actor: act.actor };
}

/** The source that a kind of fact comes from. */
const sourceOfKind: Readonly<Partial<Record<Fact['kind'], string>>> = { listener: 'listeners', interface: 'interfaces', sysctl: 'sysctls' };

function factChanges(before: ReadonlyMap<string, Fact>, after: ReadonlyMap<string, Fact>, { fresh }: LedgerContext): Bare[] {
  const keys = new Set([...after.keys(), ...before.keys()]);
  return [...keys].flatMap((key) => {
    const [was, is] = [before.get(key), after.get(key)];
    const source = sourceOfKind[((is ?? was) as Fact).kind];
    return was === is || source === undefined || fresh?.has(source) === true ? [] : factChange(was, is);
  });
}

function factChange(was: Fact | undefined, is: Fact | undefined): Bare[] {
  const kind = (is ?? was)?.kind;
  if (kind === 'listener') return listenerChange(was as ListenerFact | undefined, is as ListenerFact | undefined);
  if (kind === 'interface') return interfaceChanges(was as InterfaceFact | undefined, is as InterfaceFact | undefined);
  if (kind === 'sysctl') {
    const [old, now] = [was?.kind === 'sysctl' ? was : undefined, is?.kind === 'sysctl' ? is : undefined];
    return old?.value === now?.value ? [] : [{ kind: 'sysctl', subject: (now ?? old)?.name as string, before: old?.value ?? null, after: now?.value ?? null }];
  }
  return [];
}

// Who holds a socket may change at every fork; that something listens, and which program, is what matters.
function listenerChange(was: ListenerFact | undefined, is: ListenerFact | undefined): Bare[] {
  const holders = (fact: ListenerFact | undefined) => fact && ([...new Set(fact.processes.map(({ comm }) => comm))].sort().join(', ') || 'unknown process');
  const [before, after] = [holders(was) ?? null, holders(is) ?? null];
  if (before === after) return [];
  const { protocol, address, family, port } = (is ?? was) as ListenerFact;
  return [{ kind: 'listener', subject: `${protocol} ${family === 6 && address.includes(':') ? `[${address}]` : address}:${port}`, before, after }];
}

function interfaceChanges(was: InterfaceFact | undefined, is: InterfaceFact | undefined): Bare[] {
  const subject = `interface ${(is ?? was)?.name}`;
  const state = (fact: InterfaceFact | undefined) => (fact === undefined ? null : fact.up ? 'up' : 'down');
  const removed = (was?.addresses ?? []).filter((address) => !is?.addresses.includes(address));
  const added = (is?.addresses ?? []).filter((address) => !was?.addresses.includes(address));
  return [
    ...(state(was) === state(is) ? [] : [{ kind: 'interface' as const, subject, before: state(was), after: state(is) }]),
    ...(removed.length + added.length === 0 ? [] : [{ kind: 'address' as const, subject, before: orNull(removed), after: orNull(added) }]),
  ];
}

const orNull = (lines: readonly string[]): string | null => (lines.length === 0 ? null : lines.join('\n'));

function fileChanges(before: CaptureFiles, after: CaptureFiles): Bare[] {
  const kinds = [
    { files: ['ip-route.json', 'ip6-route.json', 'ip-rule.json', 'ip6-rule.json'], lines: routeLines, kind: 'route' },
    { files: ['ipset-save.txt'], lines: ipsetLines, kind: 'set' },
    { files: ['ipvsadm-Sn.txt'], lines: ipvsLines, kind: 'set' },
    { files: ['service-maps.ndjson'], lines: serviceMapLines, kind: 'set' },
    { files: ['processes.json'], lines: processLines, kind: 'process' },
  ] as const;
  return kinds.flatMap(({ files, lines, kind }) =>
    files.flatMap((file) => {
      const [was, is] = [before.get(file), after.get(file)];
      return was === is || (was !== undefined && is !== undefined && was.equals(is))
        ? []
        : groupChanges(lines(was, file), lines(is, file)).map((each) => ({ ...each, kind }));
    }),
  );
}

/** Lines grouped by subject, before and after: one change for each subject whose lines differ. */
function groupChanges(before: ReadonlyMap<string, readonly string[]>, after: ReadonlyMap<string, readonly string[]>): Omit<Bare, 'kind'>[] {
  return [...new Set([...after.keys(), ...before.keys()])].flatMap((subject) => {
    const was = new Set(before.get(subject));
    const is = new Set(after.get(subject));
    const removed = [...was].filter((line) => !is.has(line));
    const added = [...is].filter((line) => !was.has(line));
    if (removed.length + added.length === 0) return [];
    const owner = subject.startsWith('ipset ') ? ownerOfName(subject.slice('ipset '.length)) : undefined;
    return [{ subject, before: orNull(removed), after: orNull(added), ...(owner === undefined ? {} : { owner }) }];
  });
}
