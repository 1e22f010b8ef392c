// What an outcome says to the comparison: who decided, how sure it is, and for whom it holds. Pure.
import { type Decider, lossOf, type Outcome } from '../../shared/model/outcome.ts';

/** The rule, policy, route or setting that stands between a client and an answer; undefined when nothing does or it is not known. */
export function deciderOfOutcome(outcome: Outcome): Decider | undefined {
  const loss = lossOf(outcome);
  return loss === undefined ? outcome.decidedBy : loss.decidedBy;
}

/** Whether an outcome depends on rules that cannot be judged. */
export const isUncertain = (outcome: Outcome): boolean =>
  outcome.verdict === 'unknown' || (outcome.unless?.length ?? 0) > 0 || (lossOf(outcome)?.verdict === 'unknown' && !isClientPortDoubt(outcome));

/** Whether sources are (nearly) the whole world: what remains of it without some networks comes as many prefixes, the wide ones among them. */
export const coversMost = (sources: readonly string[] | undefined): boolean => sources === undefined || sources.some((source) => /\/[0-3]$/.test(source));

/** Whether the decider is kube-proxy's own statement that a Service has no (local) endpoint: a rule, or a virtual service without a usable real server. */
export function isNoEndpointRule(decider: Decider | undefined): boolean {
  if (decider === undefined) return false;
  if (/has no (local )?endpoints/.test(decider.text)) return true;
  if (decider.by === 'ipvs') return decider.text.includes(', no real server');
  return decider.chain === 'KUBE-EXTERNAL-SERVICES' || (decider.table === 'kube-proxy' && /reject-chain|no-endpoint/.test(`${decider.chain} ${decider.text}`));
}

/** Whether clients are answered by an endpoint. One on the node's own network is `local` after DNAT. */
export const isServed = (outcome: Outcome): boolean =>
  outcome.dnat !== null && (lossOf(outcome) === undefined || isClientPortDoubt(outcome)) && (outcome.verdict === 'forward' || outcome.verdict === 'local');

/** An answer goes to a port that the client has chosen, from 32768 up; a rule on a lower port is in doubt only because the port is not known. */
export function isClientPortDoubt({ reply }: Outcome): boolean {
  const port = /\b(?:--)?dport (\d+)(?=\s|$)/.exec(reply?.decidedBy?.text ?? '')?.[1];
  return reply?.verdict === 'unknown' && port !== undefined && Number(port) < 32768;
}
