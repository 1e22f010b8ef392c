// What the nodes of a drawing show: lines of text that fit a width, and the full text for those who point at them.
import type { Decider } from '../model/outcome.ts';
import { columnsOf, cutTo, visible } from './visible.ts';
import type { ChainNode, EndNode, GraphNode, LossNode, PassedNode, PolicyNode, RouteNode, RuleNode, WalkGraph } from './walk.graph.model.ts';
import {
  countText,
  effectsText,
  endSentences,
  lossSentences,
  passedText,
  percent,
  placed,
  placeOf,
  rulesPlace,
  ruleText,
  verdictTitles,
  withShortComment,
} from './walk.words.ts';

export interface Card {
  readonly lines: readonly CardLine[];
  /** Everything that is cut off or left out of the lines. */
  readonly title: string;
  readonly tone: 'client' | 'chain' | 'rule' | 'decides' | 'translates' | 'quiet' | 'end';
}

/** A line with a part at the left, and perhaps one at the right. */
export interface CardLine {
  readonly left: string;
  readonly right: string;
  readonly look: Look;
  /** Of the right part. */
  readonly rightLook: Look;
}

export type Look = 'strong' | 'plain' | 'code' | 'faint' | 'mark';

/** The card of a node. `columns`: characters of a line. */
export function cardOf(node: GraphNode, columns: number, graph: WalkGraph): Card {
  switch (node.kind) {
    case 'client':
      return { lines: wrapped(node.text, { columns, look: 'strong', most: 2 }), title: visible(node.text), tone: 'client' };
    case 'chain':
      return chainCard(node, columns, graph);
    case 'rule':
      return ruleCard(node, columns);
    case 'policy':
      return policyCard(node, columns);
    case 'passed':
      return passedCard(node, columns);
    case 'route':
      return routeCard(node, columns);
    case 'gap':
      return { lines: [line(`… ${node.steps} more steps`, 'faint')], title: `${node.steps} steps are left out`, tone: 'quiet' };
    case 'end':
      return endCard(node, columns);
    case 'loss':
      return lossCard(node, columns);
  }
}

const line = (left: string, look: Look): CardLine => ({ left, right: '', look, rightLook: look });

/** A line with two parts, or two lines where they do not fit beside each other. */
function pair(left: string, right: string, to: { readonly columns: number; readonly look: Look; readonly rightLook?: Look }): readonly CardLine[] {
  const [a, b] = [visible(left), visible(right)];
  const looks = { look: to.look, rightLook: to.rightLook ?? to.look };
  if (columnsOf(a) + columnsOf(b) + 2 <= to.columns) return [{ left: a, right: b, ...looks }];
  return [
    { left: cutTo(to.columns, a), right: '', ...looks },
    { left: '', right: cutTo(to.columns, b), ...looks },
  ];
}

/** Text broken at spaces, and in the middle of words that are longer than a line; at most so many lines, the last with an ellipsis. */
function wrapped(text: string, to: { readonly columns: number; readonly look: Look; readonly most: number }): readonly CardLine[] {
  const lines: string[] = [];
  let rest = visible(text);
  while (rest !== '' && lines.length < to.most) {
    const isLast = lines.length === to.most - 1;
    const taken = isLast ? cutTo(to.columns, rest) : broken(rest, to.columns);
    lines.push(taken.trim());
    rest = isLast ? '' : rest.slice(taken.length);
  }
  return lines.map((each) => line(each, to.look));
}

function broken(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  const most = cutTo(columns, text).slice(0, -1);
  const space = most.lastIndexOf(' ');
  return space > most.length / 2 ? text.slice(0, space + 1) : most;
}

function chainCard({ id, backend, family, table, chain, priority }: ChainNode, columns: number, { nodes, edges }: WalkGraph): Card {
  const next = edges.filter(({ from }) => from === id).map(({ to }) => nodes.find((node) => node.id === to)?.kind);
  const isIdle = next.every((kind) => kind === 'chain' || kind === 'route' || kind === 'end');
  const about = `${backend === 'legacy' ? 'iptables-legacy' : backend}, priority ${priority}${isIdle ? ', no match' : ''}`;
  return {
    lines: pair(`${family} ${table} ${chain}`, about, { columns, look: isIdle ? 'plain' : 'strong', rightLook: 'faint' }),
    title: visible(`base chain ${family} ${table} ${chain}: ${about}`),
    tone: 'chain',
  };
}

const textLines = 2;
/** Columns that are lost at the end of a line where a word does not fit any more. */
const lineSlack = 8;
const targetLines = 3;

function ruleCard(node: RuleNode, columns: number): Card {
  const { rules, does, certain, decides, owner, actor } = node;
  const [first] = rules.shown;
  if (first === undefined) return { lines: [], title: '', tone: 'rule' };
  const several = rules.shown.length + rules.more > 1;
  const effect = `${effectsText(rules)}${certain ? '' : ', perhaps'}`;
  const counted = several ? '' : countText(first.decider);
  const by = decides ? `◄ decides; owner: ${owner}${actor === undefined ? '' : `, changed by ${actor}`}` : '';
  const targets = several && does === 'translates' ? targetLinesOf(node, columns) : undefined;
  return {
    lines: [
      ...pair(rulesPlace(rules), effect, { columns, look: 'strong' }),
      ...(targets ?? wrapped(withShortComment(columns * textLines - lineSlack, visible(ruleText(first.decider))), { columns, look: 'code', most: textLines })),
      ...decidingLines(by, counted, columns),
    ],
    title: [...rules.shown.map((rule) => ruleTitle(rule.decider, rule.effect)), ...moreLine(rules.more), `owner: ${owner}`].map(visible).join('\n'),
    tone: decides ? 'decides' : does === 'translates' ? 'translates' : 'rule',
  };
}

/** Who decides, and how often it has so far. */
function decidingLines(by: string, counted: string, columns: number): readonly CardLine[] {
  if (by === '') return counted === '' ? [] : [line(counted, 'faint')];
  if (columnsOf(by) + columnsOf(counted) + 2 <= columns) return pair(by, counted, { columns, look: 'mark', rightLook: 'faint' });
  return [...wrapped(by, { columns, look: 'mark', most: 2 }), ...(counted === '' ? [] : [line(counted, 'faint')])];
}

function targetLinesOf({ rules }: RuleNode, columns: number): readonly CardLine[] {
  const shown = rules.shown.slice(0, targetLines);
  const left = rules.shown.length + rules.more - shown.length;
  const total = rules.shown.reduce((sum, { share }) => sum + share, 0);
  return [
    ...shown.flatMap(({ effect, decider, share }) => {
      const target = decider.by === 'ipvs' ? decider.text.replace(/^.*→ /, '') : effect.replace(/^DNAT to /, '');
      return pair(target, total > 1 + 1e-5 ? '' : share === 0 ? 'remembered' : percent(share), { columns, look: 'code' });
    }),
    ...(left === 0 ? [] : [line(`… and ${left} more (${left + shown.length} endpoints)`, 'faint')]),
  ];
}

const ruleTitle = (decider: Decider, effect: string): string => [placed(decider), effect, countText(decider)].filter((part) => part !== '').join('\n  ');
const moreLine = (more: number): readonly string[] => (more === 0 ? [] : [`… and ${more} more`]);

function policyCard({ decider, decides, actor }: PolicyNode, columns: number): Card {
  const counted = countText(decider);
  const by = decides ? `◄ decides${actor === undefined ? '' : `; changed by ${actor}`}` : '';
  return {
    lines: [
      ...pair(`${decider.chain} ${decider.text}`, 'as no rule decides', { columns, look: 'strong', rightLook: 'faint' }),
      ...decidingLines(by, counted, columns),
    ],
    title: visible(`${placeOf(decider)}, ${decider.text}`),
    tone: decides ? 'decides' : 'rule',
  };
}

function passedCard({ jumps }: PassedNode, columns: number): Card {
  const shown = wrapped(`nothing matches in ${passedText(jumps)}`, { columns, look: 'faint', most: 2 });
  return { lines: shown, title: [...jumps.shown.map(({ decider }) => placed(decider)), ...moreLine(jumps.more)].map(visible).join('\n'), tone: 'quiet' };
}

function routeCard({ routes }: RouteNode, columns: number): Card {
  const shown = routes.shown.slice(0, targetLines);
  const left = routes.shown.length + routes.more - shown.length;
  return {
    lines: [
      ...shown.flatMap((route) => wrapped(route, { columns, look: 'plain', most: 2 })),
      ...(left === 0 ? [] : [line(`… and ${left} more routes`, 'faint')]),
    ],
    title: [...routes.shown, ...moreLine(routes.more)].map(visible).join('\n'),
    tone: 'rule',
  };
}

function endCard(node: EndNode, columns: number): Card {
  return {
    lines: [line(verdictTitles[node.verdict], 'strong'), ...endSentences(node).flatMap((sentence) => wrapped(sentence, { columns, look: 'plain', most: 2 }))],
    title: [
      `${verdictTitles[node.verdict]}: ${node.deciders.shown.map(placed).join('; ')}`,
      ...node.targets.shown.map(({ address, share }) => `${address} (${percent(share)})`),
      ...moreLine(node.targets.more),
      ...node.unless.shown.map((decider) => `depends on ${placed(decider)}`),
    ]
      .map(visible)
      .join('\n'),
    tone: 'end',
  };
}

function lossCard(node: LossNode, columns: number): Card {
  return {
    lines: [
      line(node.lost === 'reply' ? 'ANSWER LOST' : 'LATER PACKETS LOST', 'strong'),
      ...lossSentences(node).flatMap((sentence) => wrapped(sentence, { columns, look: 'plain', most: 3 })),
    ],
    title: node.deciders.shown.map(placed).map(visible).join('\n'),
    tone: 'end',
  };
}
