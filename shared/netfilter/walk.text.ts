// Puts a walk into words: for each way one paragraph, with a line for each rule that a packet met and the deciding one marked; and an outcome as one line.
import { limits } from '../limits.ts';
import type { Outcome } from '../model/outcome.ts';
import { columnsOf, cutTo, visible } from './visible.ts';
import type { EndNode, GraphNode, GraphRule, RuleNode } from './walk.graph.model.ts';
import { laneTitle, nodesOfWay } from './walk.graph.ts';
import { Shares } from './walk.shares.ts';
import type { Branch, Walk } from './walk.ts';
import { type Way, waysOf } from './walk.ways.ts';
import { countText, doubtWords, lossSentences, meaningOf, passedText, percent, placed, ruleText, targetsText, withShortComment } from './walk.words.ts';

export { placed } from './walk.words.ts';

/** The ways of a traced walk as text, one paragraph for each; ways that differ in the endpoint alone are one. `only`: the number of the one to tell, from 1. */
export function walkText(walked: Walk, only?: number): string {
  const shares = new Shares(walked.branches);
  const ways = waysOf(walked.branches).map((way): TracedWay => ({ way, nodes: nodesOfWay(way, walked.branches, shares) }));
  const paragraphs = ways.map((each, index) =>
    paragraph(each, { walked, shares, number: index + 1, of: ways.length, before: only === undefined ? ways.slice(0, index) : [] }),
  );
  return `${(only === undefined ? paragraphs : paragraphs.slice(only - 1, only)).join('\n\n')}\n`;
}

/** How many ways a traced walk has. */
export const wayCount = ({ branches }: Walk): number => waysOf(branches).length;

interface TracedWay {
  readonly way: Way;
  readonly nodes: readonly GraphNode[];
}

interface Telling {
  readonly walked: Walk;
  readonly shares: Shares;
  readonly number: number;
  readonly of: number;
  /** Ways that were told already. */
  readonly before: readonly TracedWay[];
}

function paragraph({ way, nodes }: TracedWay, telling: Telling): string {
  const { number, of, before } = telling;
  const title = of === 1 ? '' : `way ${number} of ${of}: `;
  const [shared, by] = mostShared(way, before);
  const told = nodes.filter(({ kind }) => kind !== 'client').slice(shared);
  const last = shared === 0 ? undefined : nodes[shared];
  return [
    `${title}${titleOf(way, nodes, telling)}`,
    ...deciderLines(nodes),
    ...(last === undefined ? [] : [`  as way ${by}, up to ${nameOf(last)}`]),
    ...stepLines(told, last?.lane),
  ]
    .map((text) => visible(text).trimEnd())
    .join('\n');
}

/** How many steps a way has in common with one that was told before, if that is worth a word. */
function mostShared({ steps }: Way, before: readonly TracedWay[]): readonly [steps: number, number: number] {
  const shared = before.map(({ way: other }) => {
    const differs = steps.findIndex(({ key, hook }, index) => other.steps[index]?.key !== key || other.steps[index]?.hook !== hook);
    return differs < 0 ? steps.length : differs;
  });
  const most = Math.max(0, ...shared);
  return most < sharedMin ? [0, 0] : [most, shared.indexOf(most) + 1];
}

const sharedMin = 3;

function titleOf(way: Way, nodes: readonly GraphNode[], { walked, shares }: Telling): string {
  const { branches, share } = way;
  const end = nodes.find((node) => node.kind === 'end');
  const { outcome } = walked.branches[branches[0] as number] as Branch;
  const unjudged = (end?.unless.shown ?? []).filter(
    ({ text }) => !branches.some((index) => (walked.branches[index] as Branch).assumptions.some(({ decider }) => decider.text === text)),
  );
  const parts = [
    end === undefined ? outcome.verdict : verdictText(outcome, end.targets.shown.length === 0 ? '' : targetsText(end)),
    outcome.masquerade ? 'source address replaced' : undefined,
    share === 0 ? 'only for clients that a rule remembers' : share === 1 ? undefined : `${percent(share)} of new connections`,
    outcome.sources === undefined ? undefined : `for clients ${prefixesText(shares.sourcesOf(branches))}`,
    ...nodes.flatMap((node) => (node.kind === 'loss' ? [`but ${lossSentences(node).join(', ')}`] : [])),
    doubtsOf(way, walked),
    unjudged.length === 0 ? undefined : `depends on ${unjudged.map(placed).join('; ')}`,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}

/** What the branches of a way assume; alike ones may assume it of alike rules, or some of them nothing. */
function doubtsOf({ branches }: Way, walked: Walk): string | undefined {
  const texts = branches.map((index) => (walked.branches[index] as Branch).assumptions.map(doubtWords).join(', '));
  const told = texts.filter((text) => text !== '');
  const [first] = told;
  if (first === undefined) return undefined;
  const others = new Set(told).size - 1;
  const alike = others === 0 ? first : `${first} (and ${others} alike)`;
  return told.length === texts.length ? alike : `for ${told.length} of ${texts.length} endpoints ${alike}`;
}

/** `forward to 10.244.1.11:8080, source replaced, 50 % of new connections`. */
export function outcomeText(outcome: Outcome): string {
  const lost = (loss: Outcome['reply']): string => `${loss?.verdict}: ${loss?.decidedBy === undefined ? 'unknown' : placed(loss.decidedBy)}`;
  const parts = [
    verdictText(outcome, outcome.dnat ?? ''),
    outcome.masquerade ? 'source address replaced' : undefined,
    outcome.weight === 1 ? undefined : `${percent(outcome.weight)} of new connections`,
    outcome.reply === undefined ? undefined : `but the answer is lost (${lost(outcome.reply)})`,
    outcome.later === undefined ? undefined : `but later packets of the client are lost (${lost(outcome.later)})`,
    outcome.unless === undefined ? undefined : `depends on what cannot be judged: ${outcome.unless.map(placed).join('; ')}`,
  ];
  return visible(parts.filter((part) => part !== undefined).join(', '));
}

function verdictText({ verdict, rejectWith }: Outcome, target: string): string {
  const word = verdict === 'reject' ? `reject with ${rejectWith}` : verdict;
  if (target === '' || verdict === 'unknown') return word;
  return verdict === 'forward' || verdict === 'local' ? `${word} to ${target}` : `${word}, translated to ${target}`;
}

function prefixesText(prefixes: readonly string[]): string {
  return prefixes.length <= prefixesShown ? prefixes.join(', ') : `${prefixes.slice(0, prefixesShown).join(', ')} … (${prefixes.length} prefixes)`;
}

const prefixesShown = 4;

/** What brings the packet to its end; a rule that only translates it does not. */
function deciderLines(nodes: readonly GraphNode[]): readonly string[] {
  const end = nodes.find((node): node is EndNode => node.kind === 'end');
  if (end === undefined || end.verdict === 'forward') return [];
  const texts = end.deciders.shown.map((decider) => `${decider.chain === undefined ? 'because' : 'decided by'} ${placed(decider)}`);
  const left = end.deciders.more + texts.length - alikeShown;
  return [...texts.slice(0, alikeShown), ...(left > 0 ? [`… and ${left} more alike`] : [])];
}

/** Rules, routes and endpoints that are told of those that are alike. */
const alikeShown = 3;

/** The last step that two ways have in common, in a few words. */
function nameOf(node: GraphNode): string {
  if (node.kind === 'rule') return rulePlace(node.rules.shown[0] as GraphRule);
  if (node.kind === 'chain') return `${node.family} ${node.table} ${node.chain}`;
  return node.kind === 'passed' ? rulePlace(node.jumps.shown.at(-1) as GraphRule) : laneTitle(node.lane);
}

const rulePlace = ({ decider: { chain, rule, by } }: GraphRule): string => (chain === undefined ? by : `${chain} ${rule}`);

/** A line for each step; the hook stands before its first. */
function stepLines(nodes: readonly GraphNode[], lane: string | undefined): readonly string[] {
  const widths = widthsOf(nodes);
  let last = lane;
  return nodes.flatMap((node, index) => {
    const hook = node.lane === last ? '' : laneTitle(node.lane);
    last = node.lane;
    const isIdle = node.kind === 'chain' && ['chain', 'route', 'end'].includes(nodes[index + 1]?.kind ?? '');
    return linesOf(node, hook, widths).map((line) => (isIdle ? `${line}: nothing matches` : line));
  });
}

interface Widths {
  readonly place: number;
  readonly effect: number;
}

/** Long names push what follows to the right, rather than that all lines become long. */
const placeMax = 40;
const effectMax = 44;
const hookWidth = 14;

function widthsOf(nodes: readonly GraphNode[]): Widths {
  const rules = nodes.flatMap((node) => (node.kind === 'rule' ? node.rules.shown.map((rule) => ({ node, rule })) : []));
  const widest = (texts: readonly string[], most: number): number => Math.max(0, ...texts.map(columnsOf).filter((width) => width <= most));
  return {
    place: widest(
      rules.map(({ rule }) => rulePlace(rule)),
      placeMax,
    ),
    effect: widest(
      rules.map(({ node, rule }) => effectOf(node, rule)),
      effectMax,
    ),
  };
}

function linesOf(node: GraphNode, hook: string, widths: Widths): readonly string[] {
  const start = `  ${hook.padEnd(hookWidth)}`;
  switch (node.kind) {
    case 'chain':
      return [`${start}${node.family} ${node.table} ${node.chain}  (${node.backend}, priority ${node.priority})`];
    case 'rule':
      return ruleLines(node, hook, widths);
    case 'passed':
      return [...under(hook), `    nothing matches in ${passedText(node.jumps)}`];
    case 'policy':
      return [`  ► ${node.decider.text}${node.decides ? '  ◄ decides' : ''}${counted(node.decider)}`];
    case 'route':
      return node.routes.shown.map((route, index) => `${index === 0 ? start : ' '.repeat(start.length)}${route}`);
    case 'end':
      return [`${start}${endText(node)}`];
    case 'loss':
      return [`${start}${lossSentences(node).join(', ')}`];
    default:
      return [];
  }
}

/** The verdict, and what decided where it is no rule, or else what the client notices. */
function endText(end: EndNode): string {
  if (end.verdict === 'forward') return end.verdict;
  const [decider] = end.deciders.shown;
  return [end.verdict, ...(decider !== undefined && decider.chain === undefined ? [decider.text] : meaningOf(end))].join(': ');
}

/** The hook on a line of its own, where a hook begins without a chain. */
const under = (hook: string): readonly string[] => (hook === '' ? [] : [`  ${hook}`]);
const counted = (decider: GraphRule['decider']): string => (countText(decider) === '' ? '' : `  (${countText(decider)})`);

function ruleLines(node: RuleNode, hook: string, { place, effect }: Widths): readonly string[] {
  const { shown, more } = node.rules;
  const told = shown.slice(0, alikeShown).map((rule) => {
    const mark = node.decides ? '  ► ' : '    ';
    const text = cutTo(limits.drawingTextMax, withShortComment(limits.drawingTextMax, ruleText(rule.decider)));
    return `${mark}${rulePlace(rule).padEnd(place)}  ${effectOf(node, rule).padEnd(effect)}  ${text}${counted(rule.decider)}`;
  });
  const left = shown.length + more - told.length;
  return [...under(hook), ...told, ...(left === 0 ? [] : [`    … and ${left} more alike`])];
}

function effectOf({ certain, decides, rules }: RuleNode, { effect, share }: GraphRule): string {
  const several = rules.shown.length > 1 && share > 0;
  return `${effect}${certain ? '' : ', perhaps'}${several ? ` (${percent(share)})` : ''}${decides ? '  ◄ decides' : ''}`;
}
