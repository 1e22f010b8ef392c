// What was looked at and is well: saves the reader from looking there.
import { symptomOf } from '../../shared/model/outcome.ts';
import { decidersOf, listText, outcomesOf, proxyOf, serviceOf } from '../causes/detector.ts';
import { deciderText } from '../causes/owner.ts';
import { classOf, windows } from '../correlate/index.ts';
import { endpointsOf, slicesOf } from '../expect/endpoints.ts';
import type { ExplainQuestion, View } from './explain.ts';

/** Short clauses, each with what it rests on. Nothing is claimed that was not read. */
export function notTheCause(question: ExplainQuestion, view: View): string[] {
  const causes = view.findings.filter(({ severity }) => severity !== 'info').map(({ cause }) => cause);
  return [
    ...(causes.some((cause) => cause.startsWith('B')) ? [] : proxyText(question)),
    ...(causes.some((cause) => cause.startsWith('A')) ? [] : endpointsText(question, view)),
    ...(causes.some((cause) => cause.startsWith('D')) ? [] : forwardingText(question, view)),
    ...(causes.length === 0 ? [] : quietText(question, view)),
    ...(causes.length === 0 ? [] : elsewhereText(question, view)),
  ];
}

// Where other nodes serve the same NodePort, whatever all nodes share is not the cause: the first thing that only this one has is.
function elsewhereText({ others = [], drifts }: ExplainQuestion, { key }: View): string[] {
  const answering = others.filter(({ facts }) => {
    const fact = facts.get(key);
    const outside = fact?.kind === 'nodeport' ? (fact.outcomes.external ?? fact.outcomes.peer ?? []) : [];
    return outside.length > 0 && outside.every((outcome) => outcome.dnat !== null && symptomOf(outcome) === 'ok');
  });
  if (answering.length === 0) return [];
  const names = answering.map(({ node }) => node);
  const [decider] = decidersOf(drifts.filter((drift) => drift.key === key).flatMap(outcomesOf));
  const difference = decider === undefined ? '' : `; first difference: ${deciderText(decider)}`;
  return [`${listText(names.slice(0, 3))}${names.length > 3 ? ` and ${names.length - 3} more` : ''} answer${names.length === 1 ? 's' : ''}${difference}`];
}

function proxyText(question: ExplainQuestion): string[] {
  const proxy = proxyOf(question);
  if (proxy?.running !== 'yes') return [];
  const stale = question.drifts.some(({ kind }) => kind === 'endpoints' || kind === 'missing' || kind === 'unexpected');
  return [stale ? 'kube-proxy runs' : 'kube-proxy runs and its rules agree with the cluster'];
}

function endpointsText(question: ExplainQuestion, { expectation }: View): string[] {
  const service = expectation === undefined ? undefined : serviceOf(question, expectation);
  const port = service?.ports.find(({ name, protocol }) => name === expectation?.service.port && protocol === expectation?.nodePort.protocol);
  if (expectation === undefined || service === undefined || port === undefined) return [];
  const all = endpointsOf(slicesOf(question.objects, service), port, expectation.nodePort.family);
  return [`endpoints ${all.filter(({ endpoint }) => endpoint.ready).length} of ${all.length} ready`];
}

function forwardingText({ facts }: ExplainQuestion, { key }: View): string[] {
  const name = key.split('/')[2] === '6' ? 'net.ipv6.conf.all.forwarding' : 'net.ipv4.ip_forward';
  const fact = facts.get(`sysctl/${name}`);
  return fact?.kind === 'sysctl' && fact.value.trim() === '1' ? [`${name} is 1`] : [];
}

// A ledger that holds nothing at all cannot say that something did not change.
function quietText({ changes, node, now, findings }: ExplainQuestion, view: View): string[] {
  const onset = view.findings[0]?.since ?? findings.find(({ since }) => since !== undefined)?.since ?? now;
  const near = changes.filter((change) => (change.node === '' || change.node === node) && change.at <= onset && onset - change.at < windows.service * 60_000);
  if (changes.length === 0) return [];
  const changed = new Set(near.map(classOf));
  const quiet = (['interface', 'service', 'cni'] as const).filter((each) => !changed.has(each));
  return quiet.length === 0 ? [] : [`${quiet.map((each) => ({ interface: 'interfaces', service: 'Service', cni: 'CNI' })[each]).join(', ')} unchanged`];
}
