// Reads what firewall managers say of themselves: ufw's files and status, and firewalld's zones, policies and direct rules as firewall-cmd prints them.
import type { Issue } from './ruleset.ts';

/** One rule of /etc/ufw/user.rules, as its `### tuple ###` line says it. */
export interface UfwRule {
  /** `allow`, `deny`, `reject`, `limit`, with `_log` or `_log-all` behind it where it logs. */
  readonly action: string;
  readonly routed: boolean;
  readonly direction: 'in' | 'out';
  /** As `ufw show added` writes it: `route allow in on eth0 out on cni0 proto tcp to 10.244.0.0/16 port 8080`. */
  readonly text: string;
}

export interface UfwRules {
  readonly rules: readonly UfwRule[];
  /** Lines that ufw will load into each chain, by its name. */
  readonly lines: ReadonlyMap<string, number>;
  readonly issues: readonly Issue[];
}

/** /etc/ufw/user.rules or user6.rules. A tuple that is not understood is an issue; the iptables lines beside it are only counted. */
export function parseUfwRules(text: string): UfwRules {
  const rules: UfwRule[] = [];
  const lines = new Map<string, number>();
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const chain = /^-[AI] (ufw6?-user-(?:input|output|forward)) /.exec(line)?.[1];
    if (chain !== undefined) lines.set(chain, (lines.get(chain) ?? 0) + 1);
    if (!line.startsWith('### tuple ###')) continue;
    const rule = tuple(line);
    if (rule === undefined) issues.push({ line: index + 1, text: line, reason: 'not a tuple of ufw' });
    else rules.push(rule);
  }
  return { rules, lines, issues };
}

// action protocol dport destination sport source [destination application, source application] direction[_interface] [comment=…]
function tuple(line: string): UfwRule | undefined {
  const words = line
    .replace(/ comment=\S*$/, '')
    .trim()
    .split(/\s+/)
    .slice(3);
  if (words.length < 6 || words.length > 9) return undefined;
  const [verb = '', protocol = 'any', port = 'any', destination = '', sourcePort = 'any', source = ''] = words;
  const [application, sourceApplication] = words.length >= 8 ? words.slice(6, 8) : ['-', '-'];
  const found = /^(in|out)(?:_([^!]+))?(?:!out_(.+))?$/.exec(words.length === 7 || words.length === 9 ? (words.at(-1) as string) : 'in');
  if (found === null) return undefined;
  const [, direction, device, outDevice] = found;
  const routed = verb.startsWith('route:');
  const parts = [
    ...(routed ? ['route'] : []),
    verb.replace('route:', '').replace('_', ' '),
    direction as string,
    ...(device === undefined ? [] : [`on ${device}`]),
    ...(outDevice === undefined ? [] : [`out on ${outDevice}`]),
    ...(protocol === 'any' ? [] : [`proto ${protocol}`]),
    ...side('from', source, { port: sourcePort, application: sourceApplication }),
    ...side('to', destination, { port, application }),
  ];
  return { action: verb.replace('route:', ''), routed, direction: direction as 'in' | 'out', text: parts.join(' ') };
}

function side(
  word: 'from' | 'to',
  address: string,
  { port, application = '-' }: { readonly port: string; readonly application: string | undefined },
): string[] {
  const anywhere = address === '0.0.0.0/0' || address === '::/0';
  const named = application === '-' ? (port === 'any' ? [] : [`port ${port}`]) : [`app ${JSON.stringify(application.replaceAll('%20', ' '))}`];
  return anywhere && named.length === 0 && word === 'to' ? [] : [`${word} ${anywhere ? 'any' : address}`, ...named];
}

/** Assignments of a shell file (/etc/default/ufw, /etc/ufw/ufw.conf) without their quotes; the last one of a name counts. */
export const parseAssignments = (text: string): ReadonlyMap<string, string> =>
  new Map(
    [...text.matchAll(/^\s*([A-Z_0-9]+)\s*=\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#"']*))/gm)].map(([, name, ...values]) => [
      name as string,
      values.find((value) => value !== undefined) ?? '',
    ]),
  );

/** `ufw status verbose`: whether it is active, and its policies where it says them. */
export interface UfwStatus {
  readonly active: boolean;
  /** Of `Default: deny (incoming), allow (outgoing), disabled (routed)`, by what stands in parentheses. */
  readonly defaults: Readonly<Record<string, string>>;
}

/** Undefined when the text is no status, or one in another language than English. */
export function parseUfwStatus(text: string): UfwStatus | undefined {
  const state = /^Status: (active|inactive)\b/m.exec(text)?.[1];
  if (state === undefined) return undefined;
  const policies = [...(/^Default: (.*)$/m.exec(text)?.[1] ?? '').matchAll(/(\w+) \((\w+)\)/g)];
  return { active: state === 'active', defaults: Object.fromEntries(policies.map(([, policy, what]) => [what as string, policy as string])) };
}

/** A zone or a policy of firewalld: its name, whether it is in use, and its settings by the names that firewall-cmd prints. */
export interface FirewalldGroup {
  readonly name: string;
  readonly active: boolean;
  readonly settings: ReadonlyMap<string, readonly string[]>;
  readonly richRules: readonly string[];
}

/** `firewall-cmd --list-all-zones` or `--list-all-policies`, of any release: settings that are not known are kept like the others. */
export function parseFirewalldGroups(text: string): { readonly groups: readonly FirewalldGroup[]; readonly issues: readonly Issue[] } {
  const groups: OpenGroup[] = [];
  const issues: Issue[] = [];
  let last = '';
  for (const [index, line] of text.split('\n').entries()) {
    const group = groups.at(-1);
    const setting = /^ {2,4}([a-z][a-z -]*?):?(?:(?<=:)\s*(.*))?$/.exec(line);
    if (line.trim() === '') continue;
    if (/^\S/.test(line)) {
      const [, name = line, state = ''] = /^(\S+)(?: \(([^)]*)\))?$/.exec(line.trimEnd()) ?? [];
      if (/\s/.test(name)) issues.push({ line: index + 1, text: line, reason: 'neither a zone nor a setting of firewalld' });
      else groups.push({ name, active: /\bactive\b/.test(state), settings: new Map(), richRules: [] });
    } else if (group === undefined) issues.push({ line: index + 1, text: line, reason: 'a setting before any zone' });
    else if (setting !== null) {
      last = setting[1] as string;
      if (last === 'rich rules') continue;
      group.settings.set(last, valuesOf(setting[2] ?? ''));
    } else if (last === 'rich rules' || /^\s+rule\b/.test(line)) group.richRules.push(line.trim());
    else group.settings.set(last, [...(group.settings.get(last) ?? []), ...valuesOf(line)]);
  }
  return { groups, issues };
}

interface OpenGroup extends FirewalldGroup {
  readonly settings: Map<string, readonly string[]>;
  readonly richRules: string[];
}

const valuesOf = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '');

/** Lines of `firewalld-direct.txt`: `rule ipv4 filter FORWARD 0 -p tcp …`, `chain …`, `passthrough …`. */
export const parseFirewalldDirect = (text: string): readonly string[] => text.split('\n').filter((line) => /^(?:rule|chain|passthrough) /.test(line));
