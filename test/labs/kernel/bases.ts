// Captured rulesets of real firewall managers, as input for the arena: ufw's iptables rules, firewalld's native tables and its iptables rules.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixtures } from '../../support/captures.ts';
import type { Generated } from './contest.ts';

const read = (...path: readonly string[]): string => readFileSync(join(fixtures, ...path), 'utf8');

/** `iptables-save` text is `iptables-restore` input as it is, `nft -a list` text is `nft -f` input but for the handles. */
export function firewallBases(): readonly Generated[] {
  const ufw = ['ufw-enabled-default-deny', 'ufw-allow-30080', 'ufw-routed-allow-reject'].map(
    (name): Generated => ({ kind: name, rules: { nft4: read(name, 'iptables-save.txt'), nft6: read(name, 'ip6tables-save.txt') } }),
  );
  const native = ['1-default', '4-permanent-port', '6-zone-drop'].map(
    (state): Generated => ({ kind: `firewalld-nftables/${state}`, rules: { native: withoutHandles(read('firewalld-nftables', state, 'nft-ruleset.txt')) } }),
  );
  const iptables = ['1-default', '4-permanent-port'].map(
    (state): Generated => ({
      kind: `firewalld-iptables/${state}`,
      rules: { nft4: read('firewalld-iptables', state, 'iptables-save.txt'), nft6: read('firewalld-iptables', state, 'ip6tables-save.txt') },
    }),
  );
  return [...ufw, ...native, ...iptables];
}

/** firewalld marks its table with an owner flag in later releases; a table without its daemon needs none. */
const withoutHandles = (text: string): string => text.replaceAll(/ # handle \d+/g, '').replaceAll(/\n\tflags [^\n]*/g, '');
