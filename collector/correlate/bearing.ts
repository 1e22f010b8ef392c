// What a change does to clients by itself, told by its text: whether it shuts something, opens something, or is a program's daily work.
import type { Change } from '../../shared/model/change.ts';
import { isOfCluster, isOfSecurityGroup, ruleKinds } from './windows.ts';

/** Why a change may shut clients out, in a few words; undefined where its text does not say so. */
export function closingOf(change: Change): string | undefined {
  const { kind, before, after } = change;
  if (ruleKinds.has(kind)) return closingRule(change);
  switch (kind) {
    case 'sysctl':
      if (/forward/.test(change.subject) && after?.trim() === '0') return 'it turns forwarding off';
      return /rp_filter/.test(change.subject) && after?.trim() === '1' ? 'it makes reverse path filtering strict' : undefined;
    case 'address':
    case 'route':
      return lost(change).length > 0 ? `it takes away ${lost(change)[0]}` : undefined;
    case 'interface':
      return after === null || /\bdown\b/.test(after) ? 'the interface went down' : undefined;
    case 'process':
      return after === null ? 'the process ended' : undefined;
    case 'endpoints':
      return readyLines(before) > readyLines(after) ? 'it takes endpoints away' : undefined;
    case 'service':
      return after === null ? 'the Service was deleted' : before !== null ? servedOtherwise(before, after) : undefined;
    case 'network-policy':
    case 'config':
      return 'it changes what is let through';
    default:
      return isOfSecurityGroup(change) && lost(change).length > 0 ? `it takes away ${lost(change)[0]}` : undefined;
  }
}

/** How much tighter the rules of a chain become: lines that drop or reject, and accepting lines that went, less the reverse. 0 for other changes. */
export function tightening(change: Change): number {
  if (!ruleKinds.has(change.kind)) return 0;
  const [gone, come] = [lost(change), lost({ before: change.after, after: change.before })];
  return count(come, shuts) - count(gone, shuts) + count(gone, lets) - count(come, lets);
}

/** A program's own daily writing: kube-proxy's syncs, a network plugin's rules and devices for pods. What people and other programs do to the same rules is none. */
export function isRoutine({ kind, owner, actor, subject }: Change): boolean {
  if (kind === 'interface' || kind === 'address') return podDevices.test(subject);
  if (!ruleKinds.has(kind) || (owner !== 'kube-proxy' && owner !== 'cni' && owner !== 'network-policy')) return false;
  return actor === undefined || actor.how === 'unknown' ? owner === 'kube-proxy' : isOfCluster(actor);
}

const podDevices = /^interface (veth|cali[0-9a-f]|lxc|eni|tap|gke)/;

function closingRule(change: Change): string | undefined {
  const gone = lost(change).find((line) => /KUBE-(NODEPORTS|SERVICES|EXT|SVC|SEP|POSTROUTING|FORWARD)|service-nodeports/.test(`${change.subject} ${line}`));
  if (gone !== undefined && !isRoutine(change)) return "it takes away a rule of kube-proxy's";
  if (change.after === null && change.kind === 'table') return 'it removes a table';
  return tightening(change) > 0 ? 'it drops or rejects more than before' : undefined;
}

function servedOtherwise(before: string, after: string): string | undefined {
  const differs = ['nodePort', 'ports', 'selector', 'externalTrafficPolicy', 'type'].filter((name) => field(before, name) !== field(after, name));
  return differs.length === 0 ? undefined : `it changes ${differs.join(' and ')}`;
}

const field = (text: string, name: string): string => text.split('\n').find((line) => line.startsWith(`${name}: `)) ?? '';

const shuts = (line: string): boolean => /-j (DROP|REJECT)\b|\b(drop|reject)\b|policy (DROP|drop)|^DROP\b/.test(line);
const lets = (line: string): boolean => /-j ACCEPT\b|\baccept\b|policy ACCEPT|^ACCEPT\b/.test(line);
const count = (lines: readonly string[], fits: (line: string) => boolean): number => lines.reduce((sum, line) => sum + (fits(line) ? 1 : 0), 0);
const readyLines = (text: string | null): number => text?.match(/\(ready/g)?.length ?? 0;

/** Lines that were there before and are not any more. */
function lost({ before, after }: Pick<Change, 'before' | 'after'>): string[] {
  if (before === null) return [];
  const left = new Set(after?.split('\n') ?? []);
  return before.split('\n').filter((line) => line !== '' && !left.has(line));
}
