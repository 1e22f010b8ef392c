// The words of drawings and texts of a walk: verdicts, places, shares, doubts.
import { type Decider, othersText, type VerdictWord } from '../model/outcome.ts';
import { tie } from './outcomes.ts';
import { columnsOf, cutTo } from './visible.ts';
import type { EdgeDoubt, EndNode, GraphEdge, GraphNode, GraphRule, Listed, LossNode } from './walk.graph.model.ts';

/** The end of a packet in a word or two. */
export const verdictTitles: Readonly<Record<VerdictWord, string>> = {
  forward: 'FORWARDED',
  local: 'TAKEN IN',
  refused: 'REFUSED',
  drop: 'DROPPED',
  reject: 'REJECTED',
  unknown: 'NOT KNOWN',
};

/** What the client notices, and what else there is to say of an end, a sentence each. */
export function endSentences(end: EndNode): readonly string[] {
  const { verdict, targets, deciders, unless } = end;
  const isSent = verdict === 'forward' || verdict === 'local';
  const to = targets.shown.length === 0 ? [] : [`${isSent ? 'to' : 'translated to'} ${targetsText(end)}`];
  const [first] = deciders.shown;
  const by = verdict === 'forward' ? [] : [`${first?.chain === undefined ? 'because: ' : 'by '}${listText(deciders, placeOrText, 2)}`];
  return [...to, ...meaningOf(end), ...(deciders.shown.length === 0 ? [] : by), ...unless.shown.map((decider) => `depends on ${placed(decider)}`)];
}

/** What the client notices of an end. */
export function meaningOf({ verdict, rejectWith, masquerade }: Pick<EndNode, 'verdict' | 'rejectWith' | 'masquerade'>): readonly string[] {
  switch (verdict) {
    case 'forward':
      return [masquerade ? 'the node’s address stands for the client’s' : 'with the client’s own address'];
    case 'drop':
      return ['the client hears nothing, and times out'];
    case 'reject':
      return [`the client is told ${rejectWith ?? 'an error'}`];
    case 'refused':
      return ['the client is told that nothing listens'];
    case 'local':
      return [];
    case 'unknown':
      return ['what becomes of it cannot be told from the rules'];
  }
}

/** What is lost after the first packet got through. */
export function lossSentences({ lost, verdict, deciders }: LossNode): readonly string[] {
  const packet = lost === 'reply' ? 'the answer is lost on its way back' : 'later packets of the client are lost';
  const how = verdict === 'unknown' ? 'perhaps' : verdict === 'reject' ? 'rejected' : 'dropped';
  return [packet, `${how}${deciders.shown.length === 0 ? '' : ` by ${listText(deciders, placed, 1)}`}`];
}

/** `10.244.1.11:8080 (50 %) or 10.244.2.11:8080 (50 %)`; of many the first, and how many there are. */
export function targetsText({ targets }: Pick<EndNode, 'targets'>): string {
  const shares = targets.shown.reduce((sum, { share }) => sum + share, 0);
  const told = targets.shown.length > 1 && shares > 0 && shares <= 1 + 1e-5;
  return listText(targets, ({ address, share }) => (told ? `${address} (${percent(share)})` : address), 3);
}

/** The first items in words, `a or b`, `a, b, c … (10 in all)`. */
export function listText<Item>(list: Listed<Item>, textOf: (item: Item) => string, most: number): string {
  const all = list.shown.length + list.more;
  const texts = [...new Set(list.shown.slice(0, most).map(textOf))];
  if (all > most) return `${texts.join(', ')} … (${all} in all)`;
  return texts.join(' or ');
}

/** `… and 3 more ways that are not drawn`. */
export const moreText = (ways: number): string => `… and ${ways} more way${ways === 1 ? '' : 's'} that ${ways === 1 ? 'is' : 'are'} not drawn`;

/** `50 %`, `33.3 %`. */
export const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;

/** The rule without `-A CHAIN`, as its place is told beside it. */
export const ruleText = ({ text }: Pick<Decider, 'text'>): string => text.replace(/^-A (?:"[^"]*"|\S+) /, '');

/** A rule at most so long if that can be had by shortening its comment: what it matches and does matters more. */
export function withShortComment(columns: number, text: string): string {
  const over = columnsOf(text) - columns;
  if (over <= 0) return text;
  return text.replace(/(comment ")((?:[^"\\]|\\.)*)"/, (_, start: string, comment: string) => {
    return `${start}${cutTo(Math.max(commentMin, columnsOf(comment) - over), comment)}"`;
  });
}

/** Columns of a comment that stay. */
const commentMin = 16;

/** `ip filter FORWARD rule 1: -p tcp …`; what is no rule is told as it is. */
export const placed = (decider: Decider): string =>
  decider.chain === undefined ? decider.text : `${placeOf(decider)}: ${ruleText(decider)}${othersText(decider)}`;

/** `ip filter FORWARD rule 1`. */
export const placeOf = ({ family, table, chain, rule }: Decider): string => `${family} ${table} ${chain}${rule === undefined ? '' : ` rule ${rule}`}`;

const placeOrText = (decider: Decider): string =>
  decider.chain === undefined ? decider.text : `${placeOf(decider)}${decider.by === 'policy' ? `, ${decider.text}` : ''}`;

/** `12 packets`; empty where the dump holds no counters. */
export const countText = ({ packets }: Pick<Decider, 'packets'>): string =>
  packets === undefined ? '' : `${packets} packet${packets === '1' ? '' : 's'} so far`;

/** Chain and numbers of the rules of a node: `KUBE-SVC-X rules 2, 3`; of rules in different chains the first, and how many are alike. */
export function rulesPlace({ shown, more }: Listed<GraphRule>): string {
  const [first] = shown;
  if (first === undefined) return '';
  const { chain, rule } = first.decider;
  if (chain === undefined) return first.decider.by === 'ipvs' ? 'IPVS' : '';
  const numbers = [...new Set(shown.filter(({ decider }) => decider.chain === chain).map(({ decider }) => decider.rule))];
  const elsewhere = new Set(shown.filter(({ decider }) => decider.chain !== chain).map(({ decider }) => `${decider.chain} ${decider.rule}`)).size + more;
  const named = numbers.length === 1 ? `rule ${rule}` : `rules ${numbers.slice(0, 4).join(', ')}${numbers.length > 4 ? ' …' : ''}`;
  return `${chain} ${named}${elsewhere === 0 ? '' : ` and ${elsewhere} alike`}`;
}

/** The chains where nothing matches, without those that they lead to: `KUBE-SERVICES, KUBE-FORWARD`, `ZONES (and 14 chains that it leads to)`. */
export function passedText({ shown, more }: Listed<GraphRule>): string {
  const targets = new Set(shown.map(({ effect }) => effect.slice(2)));
  const outer = shown.filter(({ decider }) => !targets.has(decider.chain ?? ''));
  const inner = shown.length + more - outer.length;
  const names = outer.map(({ effect }) => effect.slice(2)).join(', ');
  return inner === 0 ? names : `${names} (and ${inner} chain${inner === 1 ? '' : 's'} that ${outer.length === 1 ? 'it leads' : 'they lead'} to)`;
}

/** What the rules of a node do: `→ KUBE-SEP-X`, `DNAT to 10.244.1.11:8080`; of several, how many ways there are. */
export function effectsText({ shown, more }: Listed<GraphRule>): string {
  const effects = [...new Set(shown.map(({ effect }) => effect))];
  const [first = ''] = effects;
  if (effects.length + more <= 1) return first;
  const all = effects.length + more;
  if (first.startsWith('→ ')) return `→ one of ${all} chains`;
  return first.startsWith('DNAT to ') ? `DNAT to one of ${all}` : `${first} (${all})`;
}

/** What holds of the edges from one node of a fork to one of the next: share, doubts, clients. Empty where it needs no word. */
export function edgeText(edges: readonly GraphEdge[], fork: Fork): string {
  const [first] = edges;
  if (first === undefined) return '';
  const isSameOf = (textOf: (edge: GraphEdge) => string): boolean => edges.every((edge) => textOf(edge) === textOf(first));
  const areSameClients = isSameOf(({ sources }) => sources?.shown.join() ?? '');
  const clients = areSameClients && first.sources !== undefined ? [sourcesText(first.sources, first.most === true ? 'most' : 'some')] : [];
  const doubts = (edge: GraphEdge): string => (edge.unless ?? []).map((doubt) => doubtText(doubt, fork.nodes.get(edge.to))).join(' and ');
  const [certain, doubtful] = [edges.find(({ unless }) => unless === undefined), edges.find(({ unless }) => unless !== undefined)];
  if (areSameClients && edges.length === 2 && certain !== undefined && doubtful !== undefined) {
    return [percent(certain.weight), `or ${percent(certain.weight + doubtful.weight)} ${doubts(doubtful)}`, ...clients].join(', ');
  }
  const said = [shareText(edges, fork.share), isSameOf(doubts) ? doubts(first) : '', ...clients].filter((part) => part !== '');
  return said.length === 0 && fork.edges.some(({ weight }) => weight === 0) ? 'new clients' : said.join(', ');
}

function shareText(edges: readonly GraphEdge[], share: number): string {
  const most = Math.max(...edges.map(({ weight }) => weight));
  if (most === 0) return 'clients it remembers';
  return most < share - 1e-5 ? `${edges.length > 1 ? 'up to ' : ''}${percent(most)}` : '';
}

/** A node with all edges that leave it. */
export interface Fork {
  readonly share: number;
  readonly edges: readonly GraphEdge[];
  readonly nodes: ReadonlyMap<string, GraphNode>;
}

function sourcesText({ shown, more }: Listed<string>, of: 'most' | 'some'): string {
  const count = shown.length + more;
  if (of === 'most' && count > 3) return 'other clients';
  return `clients ${shown.slice(0, 3).join(', ')}${count > 3 ? ` … (${count} prefixes)` : ''}`;
}

function doubtText({ decider, matched, more }: EdgeDoubt, target: GraphNode | undefined): string {
  const isItself = target?.kind === 'rule' && target.rules.shown.some((rule) => rule.decider.text === decider.text && rule.decider.chain === decider.chain);
  if (isItself && matched === true) return 'if it matches';
  const alike = more === 0 ? '' : ` or ${more} alike`;
  return decider === tie || decider.chain === undefined
    ? doubtWords({ decider, matched })
    : matched === 'either'
      ? `depending on ${decider.chain} rule ${decider.rule}${alike}`
      : `if ${decider.chain} rule ${decider.rule}${alike} ${matched ? 'matches' : 'does not match'}`;
}

/** What is assumed, in words: `if ip filter FORWARD rule 2 matches`. */
export function doubtWords({ decider, matched }: Pick<EdgeDoubt, 'decider' | 'matched'>): string {
  if (matched === 'either') return `depending on ${decider.by === 'rule' ? placeOrText(decider) : decider.text}`;
  if (decider.text === tie.text) return matched ? 'if chains of one priority run in the order of the dump' : 'if chains of one priority run in the other order';
  if (decider.by === 'rule') return `if ${placeOrText(decider)} ${matched ? 'matches' : 'does not match'}`;
  return `${matched ? 'if' : 'unless'} ${decider.text}`;
}
