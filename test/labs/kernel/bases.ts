// Captured rulesets of real firewall managers, as input for the arena: ufw's iptables rules and firewalld's native tables.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures } from '../../support/captures.ts';
import type { Generated } from './rulesets.ts';

const read = (...path: readonly string[]): string => readFileSync(join(fixtures, ...path), 'utf8');

/** `iptables-save` text is `iptables-restore` input as it is. */
export function firewallBases(): readonly Generated[] {
  const ufw = ['ufw-enabled-default-deny', 'ufw-allow-30080', 'ufw-routed-allow-reject'].map(
    (name): Generated => ({ kind: name, rules: { nft4: read(name, 'iptables-save.txt'), nft6: read(name, 'ip6tables-save.txt') } }),
  );
  return ufw;
}
