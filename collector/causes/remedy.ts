// Commands that open the gate again, exact for the node and the tool that holds the rule.
import { formatPrefixes, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { ServicePortRef } from '../../shared/model/expectation.ts';
import type { NodePortKey, ProxyFact } from '../../shared/model/fact.ts';
import type { Decider, Outcome } from '../../shared/model/outcome.ts';
import { ownerOf } from '../../shared/netfilter/owners.ts';
import type { ClusterObjects } from '../kubernetes/objects.ts';
import { placeText } from './owner.ts';

/** Deletes a deciding rule, or opens a deciding policy, with the tool and table it stands in. Empty for deciders that are neither. */
export function removeDecider(decider: Decider): string[] {
  if (decider.by === 'rule') {
    const others = decider.others === undefined ? [] : [`# likewise ${decider.others} more rules of ${placeText(decider)}, as their clients shall get in`];
    return [decider.backend === 'nft' ? deleteNftRule(decider) : deleteIptablesRule(decider), ...others];
  }
  if (decider.by !== 'policy') return [];
  if (decider.backend === 'nft') return [`nft chain ${nftPlace(decider)} '{ policy accept; }'`];
  return [`${iptablesCommand(decider)} -P ${shellWord(decider.chain ?? '')} ACCEPT`];
}

/** Opens a port of the node itself before what shuts it now: with the program that shuts it, where it is one, else in its backend. */
export function openPort({ family, protocol, port }: NodePortKey, decider: Decider | undefined): string[] {
  const owner = decider === undefined ? 'unknown' : ownerOf({ family: decider.family ?? '', table: decider.table ?? '', chain: decider.chain ?? '' });
  if (owner === 'ufw') return [`ufw allow ${port}/${protocol}`];
  if (owner === 'firewalld') return [`firewall-cmd --permanent --add-port=${port}/${protocol}`, 'firewall-cmd --reload'];
  if (decider?.backend === 'nft') return [`nft insert rule ${nftPlace(decider)} ${protocol} dport ${port} accept`];
  return [`${family === 6 ? 'ip6tables' : 'iptables'}${decider?.backend === 'legacy' ? '-legacy' : ''} -I INPUT -p ${protocol} --dport ${port} -j ACCEPT`];
}

/** Lets translated packets pass a chain of a native nftables firewall: narrower than taking its last rule away. */
export const acceptTranslated = (decider: Decider): string => `nft insert rule ${nftPlace(decider)} ct status dnat accept`;

/** Restarts the node's Service proxy, which then writes all its rules anew. */
export function restartProxy(objects: ClusterObjects, node: string, proxy: ProxyFact | undefined): string[] {
  if (/\bk3s/.test(proxy?.evidence ?? '')) return ['systemctl restart k3s-agent || systemctl restart k3s'];
  const pods = [...objects.pods.values()].filter((pod) => pod.nodeName === node && pod.labels['k8s-app'] === 'kube-proxy');
  if (pods.length > 0) return pods.map((pod) => `${kubectl(pod.namespace)} delete pod ${shellWord(pod.name)}`);
  return [
    `kubectl -n kube-system delete pod -l k8s-app=kube-proxy --field-selector ${shellWord(`spec.nodeName=${node}`)}`,
    '# where kube-proxy is a systemd unit: systemctl restart kube-proxy',
  ];
}

/** Changes a Service by a JSON merge patch. */
export const patchService = ({ namespace, name }: Pick<ServicePortRef, 'namespace' | 'name'>, patch: unknown): string =>
  `${kubectl(namespace)} patch service ${shellWord(name)} -p ${shellWord(JSON.stringify(patch))}`;

/** `ufw route allow` for the endpoints that the outcomes lead to: by pod network where it is known, else by address. */
export function allowRouted(outcomes: readonly Outcome[], protocol: string, networks: readonly string[]): string[] {
  const targets = outcomes.flatMap((outcome) => (outcome.dnat === null ? [] : [splitTarget(outcome.dnat)]));
  return [...new Set(targets.map(({ address, port }) => `ufw route allow proto ${protocol} from any to ${networkOf(address, networks)} port ${port}`))].sort();
}

/** Splits `ADDRESS:PORT` (IPv6 in brackets). */
export function splitTarget(target: string): { readonly address: string; readonly port: number } {
  const colon = target.lastIndexOf(':');
  return { address: target.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(target.slice(colon + 1)) };
}

/** `kubectl -n NAMESPACE`. */
export const kubectl = (namespace: string): string => `kubectl -n ${shellWord(namespace)}`;

/** A text without control characters: rule texts and names come from elsewhere and end up in terminals. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');

/** A text as one word of a shell line. */
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${printable(text).replaceAll("'", `'\\''`)}'`);

/** `iptables`, `ip6tables`, `iptables-legacy` … with `-t TABLE` where it is not filter. */
export function iptablesCommand({ family, backend, table }: Decider): string {
  const binary = `${family === 'ip6' ? 'ip6tables' : 'iptables'}${backend === 'legacy' ? '-legacy' : ''}`;
  return table === undefined || table === 'filter' ? binary : `${binary} -t ${table}`;
}

const deleteIptablesRule = (decider: Decider): string => `${iptablesCommand(decider)} ${shellLine(decider.text.replace(/^-A /, '-D '))}`;

// iptables-save quotes with double quotes, in which a shell would still run what stands between backquotes: every word is quoted anew.
function shellLine(text: string): string {
  const words = text.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
  return words.map((word) => shellWord(word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word)).join(' ');
}

const nftPlace = ({ family, table, chain }: Decider): string => [family, table, chain].map((word) => shellWord(word ?? '')).join(' ');

// Without a handle (a dump taken without -a) the rule cannot be named; the listing shows it.
function deleteNftRule(decider: Decider): string {
  if (decider.handle === undefined)
    return `nft -a list chain ${nftPlace(decider)}  # shows the handle N of the rule "${printable(decider.text)}" for: nft delete rule ${nftPlace(decider)} handle N`;
  return `nft delete rule ${nftPlace(decider)} handle ${decider.handle}`;
}

function networkOf(address: string, networks: readonly string[]): string {
  const parsed = parseAddress(address);
  const found = networks
    .map(parsePrefix)
    .find((prefix) => prefix !== undefined && prefix.family === parsed?.family && prefix.interval.lo <= parsed.value && parsed.value <= prefix.interval.hi);
  return found === undefined ? address : (formatPrefixes(found.family, [found.interval])[0] ?? address);
}
