// Which programs read and write rules on the node, by version: evidence where two of them may not understand each other.
import type { Evidence } from '../../shared/model/finding.ts';
import { type Diagnosis, listText } from './detector.ts';

/** The iptables and nft of the node and of its distribution; nothing where they were not read. */
export function toolsEvidence({ facts }: Diagnosis): Evidence[] {
  const fact = facts.get('tools');
  if (fact?.kind !== 'tools') return [];
  const iptables = fact.iptables.flatMap(({ command, origin, backend, version }) =>
    version === undefined ? [] : [`${command} ${version}${backend === undefined ? '' : ` (${backend})`} of ${origin === 'host' ? 'the host' : origin}`],
  );
  const nft = fact.versions['nft'];
  const all = [...new Set(iptables)].slice(0, 4).concat(nft === undefined ? [] : [`nft ${nft} of the host`]);
  return all.length === 0 ? [] : [{ witness: 'settings', text: `Tools: ${listText(all)}.` }];
}
