// The way of a client's packet as a short list of steps: where it is translated, and where it is decided.

import { type Decider, lossOf, type Outcome } from '../../shared/model/outcome.ts';
import { proxyOf } from '../causes/detector.ts';
import { ruleBody } from '../causes/owner.ts';
import { deciderOfOutcome, isUncertain } from '../compare/index.ts';
import type { ExplainQuestion, View } from './explain.ts';

export interface WalkStep {
  /** `PREROUTING`, `FORWARD`, `routing` …; empty for the first line. */
  readonly hook: string;
  /** `nat`, `filter`, `inet firewalld` … */
  readonly table: string;
  readonly text: string;
  readonly decides: boolean;
  /** Packets counted by the deciding rule, where known. */
  readonly packets?: string;
}

/** The steps of the outcome that is explained: translation first, then what decides; the order is that of the hooks. */
export function walkSteps(question: ExplainQuestion, view: View, outcome: Outcome | undefined): WalkStep[] {
  if (outcome === undefined) return [];
  const decider = deciderOfOutcome(outcome);
  const deciding = decider === undefined ? [] : [decidingStep(decider, outcome)];
  const targets = targetsOf(view, outcome);
  const mapped = outcome.decidedBy?.by === 'map' ? outcome.decidedBy : undefined;
  const translation = outcome.dnat === null ? [] : [mapped === undefined ? translationStep(question, targets, isServed(outcome)) : mapStep(mapped, targets)];
  const last = isServed(outcome) ? [] : deciding.length > 0 ? deciding : [endStep(outcome)];
  const steps = [...translation, ...last];
  return isUncertain(outcome) ? steps.map((step) => ({ ...step, decides: false, text: step.decides ? `may decide: ${step.text}` : step.text })) : steps;
}

const isServed = (outcome: Outcome): boolean =>
  (outcome.verdict === 'forward' || outcome.verdict === 'local') && lossOf(outcome) === undefined && outcome.dnat !== null;

// The targets of the clients that the outcome is about: those with the same sources.
function targetsOf({ fact }: View, outcome: Outcome): string[] {
  const same = Object.values(fact?.outcomes ?? {}).find((outcomes) => outcomes.includes(outcome)) ?? [outcome];
  return [...new Set(same.filter(({ sources }) => String(sources) === String(outcome.sources)).flatMap(({ dnat }) => dnat ?? []))];
}

function translationStep(question: ExplainQuestion, targets: readonly string[], decides: boolean): WalkStep {
  const text = `DNAT to ${targets.slice(0, 3).join(' or ')}${targets.length > 3 ? ` or ${targets.length - 3} more` : ''}`;
  switch (proxyOf(question)?.mode) {
    case 'nftables':
      return { hook: 'PREROUTING', table: 'kube-proxy', text: `map service-nodeports → ${text}`, decides };
    case 'ipvs':
      return { hook: 'INPUT', table: 'ipvs', text: text.replace('DNAT', 'virtual server → real server'), decides };
    default:
      return { hook: 'PREROUTING', table: 'nat', text: `KUBE-NODEPORTS → ${text}`, decides };
  }
}

// An eBPF data plane translates before any hook of netfilter.
const mapStep = ({ text }: Decider, targets: readonly string[]): WalkStep => ({
  hook: 'eBPF',
  table: '',
  text: `${text} → ${targets.slice(0, 3).join(' or ')}${targets.length > 3 ? ` or ${targets.length - 3} more` : ''}`,
  decides: true,
});

function decidingStep(decider: Decider, outcome: Outcome): WalkStep {
  const packets = decider.packets === undefined || decider.packets === '0' ? {} : { packets: decider.packets };
  if (decider.by === 'rule' || decider.by === 'policy') {
    const chain = decider.chain === hookOf(decider, outcome) ? '' : `${decider.chain} `;
    const text = decider.by === 'policy' ? decider.text : `${chain}${decider.rule === undefined ? '' : `rule ${decider.rule}  `}${ruleBody(decider)}`;
    return {
      hook: hookOf(decider, outcome),
      table: decider.backend === 'nft' ? `${decider.family} ${decider.table}` : (decider.table ?? ''),
      text,
      decides: true,
      ...packets,
    };
  }
  const hook = decider.by === 'socket' ? 'sockets' : decider.by === 'map' ? 'eBPF' : 'routing';
  return { hook, table: '', text: decider.text, decides: true, ...packets };
}

const builtins = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

// Chains that are only jumped to carry their hook in their names; where not, a translated packet is being forwarded.
function hookOf(decider: Decider, outcome: Outcome): string {
  const chain = decider.chain ?? '';
  if (builtins.includes(chain)) return chain;
  const named = builtins.find((hook) => new RegExp(`(^|[-_])${hook}($|[-_])`, 'i').test(chain));
  if (named !== undefined) return named;
  if (/FWD/i.test(chain)) return 'FORWARD';
  if (chain === 'KUBE-EXTERNAL-SERVICES') return 'INPUT';
  return outcome.dnat === null ? 'PREROUTING' : 'FORWARD';
}

function endStep(outcome: Outcome): WalkStep {
  const text =
    outcome.verdict === 'refused'
      ? 'the packet reaches the node itself, where nothing listens'
      : outcome.verdict === 'local'
        ? 'a process of the node takes the packet'
        : outcome.verdict;
  return { hook: 'INPUT', table: '', text, decides: true };
}
