// Whose rule decides: the program a decider belongs to, by its table, chain and comment.
import type { Owner } from '../../shared/model/change.ts';
import { type Decider, othersText } from '../../shared/model/outcome.ts';
import { ownerOf, productOf } from '../../shared/netfilter/owners.ts';

/** A program that writes rules: its class, and its name for a person. */
export interface Program {
  readonly owner: Owner;
  readonly name: string;
}

/** The program a deciding rule or policy belongs to; undefined for routes, settings and sockets. */
export function programOf(decider: Decider): Program | undefined {
  if (decider.by !== 'rule' && decider.by !== 'policy') return undefined;
  const { family = 'ip', table = '', chain = '', text } = decider;
  const object = { family, table, chain, ...(decider.by === 'rule' ? { rule: text } : {}) };
  const owner = ownerOf(object);
  return { owner, name: productOf(object) ?? ownerNames[owner] ?? owner };
}

const ownerNames: Readonly<Partial<Record<Owner, string>>> = {
  docker: 'Docker',
  cni: 'the CNI',
  'network-policy': 'a network policy',
  csf: 'CSF',
  crowdsec: 'CrowdSec',
  lxd: 'LXD',
  'network-manager': 'NetworkManager',
  admin: 'an administrator',
  unknown: 'an unknown program',
};

/** A decider in a few words: `rule 1 of filter FORWARD (-p tcp --dport 8080 -j DROP)`, `the policy DROP of filter FORWARD`. */
export function deciderText(decider: Decider): string {
  const place = placeText(decider);
  switch (decider.by) {
    case 'rule':
      return `${decider.rule === undefined ? 'a rule' : `rule ${decider.rule}`} of ${place} (${ruleBody(decider)})${othersText(decider)}`;
    case 'policy':
      return `the ${decider.text} of ${place}`;
    case 'sysctl':
    case 'route':
    case 'socket':
    case 'ipvs':
    case 'map':
      return decider.text;
  }
}

/** `filter FORWARD`, `raw PREROUTING (ip6)`, `inet hostfw filter_FORWARD`: the table's family is named where the tool needs it. */
export function placeText({ family, table, chain, backend }: Decider): string {
  const name = [table, chain].filter((part) => part !== undefined).join(' ');
  if (backend === 'nft') return `${family ?? ''} ${name}`.trim();
  return [name, ...(family === 'ip6' ? ['(ip6tables)'] : []), ...(backend === 'legacy' ? ['(legacy)'] : [])].join(' ');
}

/** The rule without `-A CHAIN`. */
export const ruleBody = (decider: Decider): string => decider.text.replace(/^-A \S+ /, '');
