// The parsers under test, each with what must hold for any input: nothing is thrown, every line is accounted for, every rule can be decoded.
import { parseOther } from '../../cli/commands/parse.other.ts';
import { ipsetClaims, ipvsClaims, printLines } from '../../shared/netfilter/dump.print.ts';
import { parseInterfaces, parseListeners, parseRoutes, parseRules, parseSysctls } from '../../shared/netfilter/host.parse.ts';
import { parseIpset, printIpset } from '../../shared/netfilter/ipset.parse.ts';
import { parseIptables, printIptables } from '../../shared/netfilter/iptables.parse.ts';
import { parseIpvs, parseProcIpvs } from '../../shared/netfilter/ipvs.parse.ts';
import { parseNft } from '../../shared/netfilter/nft.parse.ts';
import { parseNftText } from '../../shared/netfilter/nft.text.parse.ts';
import type { Issue, Table } from '../../shared/netfilter/ruleset.ts';
import type { DumpName } from './dumps.ts';

/** One parser: `parse` is timed by the size of its input; `check` looks at the result and says what is wrong, if anything. */
export interface Subject {
  readonly parse: (bytes: Buffer) => unknown;
  readonly check: (parsed: never, bytes: Buffer) => string | undefined;
}

function subject<Result>(parse: (bytes: Buffer) => Result, check: (parsed: Result, bytes: Buffer) => string | undefined): Subject {
  return { parse, check };
}

export const subjects: Readonly<Record<DumpName, Subject>> = {
  iptables: subject(
    (bytes) => parseIptables(bytes),
    (parsed, bytes) => {
      decodeAll(parsed.tables);
      return sameBytes(printIptables(parsed), bytes) ?? issuesAreWhole(parsed.issues);
    },
  ),
  nftText: subject(
    (bytes) => parseNftText(bytes.toString(), { skipIptablesTables: false }),
    (parsed, bytes) => {
      decodeAll(parsed.tables);
      return sameBytes(printLines(bytes, parsed.kinds), bytes) ?? issuesAreWhole(parsed.issues);
    },
  ),
  nftJson: subject(
    (bytes) => parseNft(bytes.toString(), { skipIptablesTables: false }),
    (parsed, bytes) => {
      decodeAll(parsed.tables);
      const dump = parseOther('dump', bytes);
      return (dump === undefined ? undefined : sameBytes(dump.printed, bytes)) ?? issuesAreWhole(parsed.issues);
    },
  ),
  ipset: subject(
    (bytes) => parseIpset(bytes.toString()),
    (parsed, bytes) => {
      const text = bytes.toString();
      return sameBytes(printLines(bytes, ipsetClaims(text, parsed)), bytes) ?? (printIpset(parsed) === text ? undefined : 'printIpset prints other text');
    },
  ),
  ipvs: subject(
    (bytes) => parseIpvs(bytes.toString()),
    (parsed, bytes) => sameBytes(printLines(bytes, ipvsClaims(bytes.toString(), parsed)), bytes),
  ),
  procIpvs: subject(
    (bytes) => parseProcIpvs(bytes.toString()),
    ({ issues }) => issuesAreWhole(issues),
  ),
  ipJson: subject(
    (bytes) => {
      const text = bytes.toString();
      return [parseInterfaces(text), parseRoutes(text, 4), parseRoutes(text, 6), parseRules(text, 4), parseRules(text, 6)];
    },
    (parsed) => issuesAreWhole(parsed.flatMap(({ issues }) => issues)),
  ),
  sysctl: subject(
    (bytes) => parseSysctls(bytes.toString()),
    ({ issues }) => issuesAreWhole(issues),
  ),
  sockets: subject(
    (bytes) => parseListeners(bytes.toString()),
    ({ issues }) => issuesAreWhole(issues),
  ),
};

function decodeAll(tables: readonly Table[]): void {
  for (const { chains, sets } of tables) {
    for (const chain of chains.values()) {
      for (let at = 0; at < chain.length; at++) {
        const rule = chain.rule(at);
        if (rule.place.number !== at + 1) throw new Error(`rule ${at + 1} of ${chain.name} says it is number ${rule.place.number}`);
        if (typeof chain.text(at) !== 'string') throw new Error(`rule ${at + 1} of ${chain.name} has no text`);
      }
    }
    for (const set of sets.values()) if (!Array.isArray(set.elements)) throw new Error(`set ${set.name} has no elements`);
  }
}

function sameBytes(printed: Buffer, bytes: Buffer): string | undefined {
  if (printed.equals(bytes)) return undefined;
  let at = 0;
  while (at < printed.length && printed[at] === bytes[at]) at++;
  return `printed ${printed.length} of ${bytes.length} bytes, different from byte ${at} on`;
}

function issuesAreWhole(issues: readonly Issue[]): string | undefined {
  const bad = issues.find(({ line, text, reason }) => !Number.isInteger(line) || line < 0 || typeof text !== 'string' || reason === '');
  return bad === undefined ? undefined : `an issue is not whole: ${JSON.stringify(bad)}`;
}
