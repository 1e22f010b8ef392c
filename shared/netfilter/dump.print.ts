// Prints a dump back from what its parser accounted for: a line that is no fact, no issue and of no ignorable kind would be missing.
import type { IpsetsParsed } from './ipset.parse.ts';
import type { IpvsParsed } from './ipvs.parse.ts';

/** The bytes of the claimed lines in order; `claims` has a number other than 0 for each line that was accounted for. Lines end with a line feed. */
export function printLines(bytes: Buffer, claims: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(bytes.length);
  let size = 0;
  let at = 0;
  for (let line = 0; at < bytes.length; line++) {
    const end = bytes.indexOf(lineFeed, at);
    const next = end < 0 ? bytes.length : end + 1;
    if ((claims[line] ?? 0) !== 0) size += bytes.copy(out, size, at, next);
    at = next;
  }
  return out.subarray(0, size);
}

const lineFeed = 10;

/** Lines of `ipset save` that are sets, entries, issues, or empty, a comment or `COMMIT`. */
export function ipsetClaims(text: string, { sets, issues }: IpsetsParsed): Uint8Array {
  const claims = ignorable(text, /^\s*(?:#.*|COMMIT\s*)?$/s);
  for (const set of sets) {
    claims[set.line - 1] = 1;
    for (const entry of set.entries) claims[entry.line - 1] = 1;
  }
  for (const issue of issues) claims[issue.line - 1] = 1;
  return claims;
}

/** Lines of `ipvsadm -Sn` that are services, servers, issues, or empty. */
export function ipvsClaims(text: string, { services, issues }: IpvsParsed): Uint8Array {
  const claims = ignorable(text, /^\s*$/);
  for (const service of services) {
    claims[service.line - 1] = 1;
    for (const server of service.servers) claims[server.line - 1] = 1;
  }
  for (const issue of issues) claims[issue.line - 1] = 1;
  return claims;
}

function ignorable(text: string, pattern: RegExp): Uint8Array {
  const lines = text.split('\n');
  return Uint8Array.from(lines, (line) => (pattern.test(line) ? 1 : 0));
}
