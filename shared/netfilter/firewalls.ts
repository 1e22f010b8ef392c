// Facts of firewall managers: whether they are at work, what they were told, and what their next reload would change.
import type { FirewallFact, FirewallZone } from '../model/fact.ts';
import {
  type FirewalldGroup,
  parseAssignments,
  parseFirewalldDirect,
  parseFirewalldGroups,
  parseUfwRules,
  parseUfwStatus,
  type UfwRules,
  type UfwStatus,
} from './firewalls.parse.ts';
import { parseSysctls } from './host.parse.ts';
import type { CaptureFiles } from './node.ts';
import type { Issue, Table } from './ruleset.ts';

/** ufw as its files tell it. */
export interface Ufw {
  /** ENABLED of ufw.conf; absent when the file was not read. */
  readonly enabled?: boolean;
  readonly status?: UfwStatus;
  readonly assignments: ReadonlyMap<string, string>;
  readonly rules: Readonly<Partial<Record<'ip' | 'ip6', UfwRules>>>;
}

/** firewalld as it tells itself. */
export interface Firewalld {
  /** By the names of `firewalld-state.txt`: `state`, `default-zone`, `panic`, `backend`, `flush-all-on-reload` … */
  readonly state: ReadonlyMap<string, string>;
  readonly zones: readonly FirewalldGroup[];
  /** As they are kept for the next reload; those in use alone. Absent when they were not read. */
  readonly permanent?: readonly FirewalldGroup[];
  readonly policies: readonly FirewalldGroup[];
  readonly direct: readonly string[];
}

export interface Firewalls {
  readonly ufw?: Ufw;
  readonly firewalld?: Firewalld;
}

/** Reads the files of both managers in a capture. */
export function readFirewalls(files: CaptureFiles, issues: Issue[]): Firewalls {
  const ufw = readUfw(files, issues);
  const firewalld = readFirewalld(files, issues);
  return { ...(ufw === undefined ? {} : { ufw }), ...(firewalld === undefined ? {} : { firewalld }) };
}

function readUfw(files: CaptureFiles, issues: Issue[]): Ufw | undefined {
  const text = (name: string): string | undefined => files.get(name)?.toString('utf8');
  const [conf, defaults, statusText] = [text('ufw-conf.txt'), text('ufw-defaults.txt'), text('ufw-status.txt')];
  if ([conf, defaults, statusText].every((each) => each === undefined)) return undefined;
  const status = parseUfwStatus(statusText ?? '');
  if (statusText !== undefined && status === undefined)
    issues.push({ file: 'ufw-status.txt', line: 1, text: statusText.split('\n')[0] ?? '', reason: 'not a status of ufw in English (LC_ALL=C)' });
  const rules = (['ip', 'ip6'] as const).flatMap((family) => {
    const name = family === 'ip' ? 'ufw-user-rules.txt' : 'ufw-user6-rules.txt';
    const content = text(name);
    const parsed = content === undefined ? undefined : parseUfwRules(content);
    for (const issue of parsed?.issues ?? []) issues.push({ file: name, ...issue });
    return parsed === undefined ? [] : [[family, parsed] as const];
  });
  const assignments = parseAssignments(`${defaults ?? ''}\n${conf ?? ''}`);
  return {
    ...(conf === undefined ? {} : { enabled: assignments.get('ENABLED')?.toLowerCase() === 'yes' }),
    ...(status === undefined ? {} : { status }),
    assignments,
    rules: Object.fromEntries(rules),
  };
}

function readFirewalld(files: CaptureFiles, issues: Issue[]): Firewalld | undefined {
  const [stateFile, zonesFile] = [files.get('firewalld-state.txt'), files.get('firewalld-zones.txt')];
  if (stateFile === undefined && zonesFile === undefined) return undefined;
  const groups = (name: string): readonly FirewalldGroup[] | undefined => {
    const content = files.get(name);
    if (content === undefined) return undefined;
    const parsed = parseFirewalldGroups(content.toString('utf8'));
    for (const issue of parsed.issues) issues.push({ file: name, ...issue });
    return parsed.groups;
  };
  const permanent = groups('firewalld-permanent-zones.txt');
  return {
    state: parseSysctls(stateFile?.toString('utf8') ?? '').values,
    zones: groups('firewalld-zones.txt') ?? [],
    ...(permanent === undefined ? {} : { permanent }),
    policies: groups('firewalld-policies.txt') ?? [],
    direct: parseFirewalldDirect(files.get('firewalld-direct.txt')?.toString('utf8') ?? ''),
  };
}

/** The facts of the managers that are there. `tables` are the rules that are loaded. */
export const firewallFacts = ({ ufw, firewalld }: Firewalls, tables: readonly Table[]): FirewallFact[] => [
  ...(ufw === undefined ? [] : [ufwFact(ufw, tables)]),
  ...(firewalld === undefined ? [] : [firewalldFact(firewalld)]),
];

/** Rules, zones and differences told in one fact. */
const shownMax = 100;

function ufwFact({ enabled, status, assignments, rules }: Ufw, tables: readonly Table[]): FirewallFact {
  const own = (['ip', 'ip6'] as const).flatMap((family) => rules[family]?.rules.map(({ text }) => (family === 'ip' ? text : `${text} (v6)`)) ?? []);
  const active = status?.active ?? (enabled === false ? false : undefined);
  return {
    kind: 'firewall',
    key: 'firewall/ufw',
    program: 'ufw',
    state: active === undefined ? 'unknown' : active ? 'active' : 'inactive',
    settings: {
      ...(enabled === undefined ? {} : { enabled: enabled ? 'yes' : 'no' }),
      ...policies(assignments),
      ...Object.fromEntries(Object.entries(status?.defaults ?? {}).map(([what, policy]) => [what, policy])),
    },
    rules: own.slice(0, shownMax),
    pending: active === true ? notAsKept(rules, tables) : [],
  };
}

/** ufw's words for the policies of /etc/default/ufw. */
function policies(assignments: ReadonlyMap<string, string>): Record<string, string> {
  const names = { incoming: 'DEFAULT_INPUT_POLICY', outgoing: 'DEFAULT_OUTPUT_POLICY', routed: 'DEFAULT_FORWARD_POLICY' };
  const words: Readonly<Record<string, string>> = { DROP: 'deny', REJECT: 'reject', ACCEPT: 'allow' };
  return Object.fromEntries(
    Object.entries(names).flatMap(([what, name]) => {
      const value = assignments.get(name);
      return value === undefined ? [] : [[what, words[value] ?? value]];
    }),
  );
}

/** Chains of ufw that hold another number of rules than its files: somebody changed them behind its back, or the files were edited and not loaded. */
function notAsKept(rules: Ufw['rules'], tables: readonly Table[]): string[] {
  return (['ip', 'ip6'] as const).flatMap((family) => {
    const prefix = family === 'ip' ? 'ufw-user' : 'ufw6-user';
    const kept = rules[family]?.lines;
    const table = tables.find(({ name, family: own, chains }) => name === 'filter' && own === family && chains.has(`${prefix}-input`));
    if (kept === undefined || table === undefined) return [];
    return ['input', 'output', 'forward'].flatMap((direction) => {
      const chain = `${prefix}-${direction}`;
      const [wanted, loaded] = [kept.get(chain) ?? 0, table.chains.get(chain)?.length ?? 0];
      return wanted === loaded ? [] : [`${chain} holds ${loaded} rules, and ufw's files ${wanted}: ufw reload makes it ${wanted}`];
    });
  });
}

function firewalldFact({ state, zones, permanent, policies: all, direct }: Firewalld): FirewallFact {
  const defaultZone = state.get('default-zone');
  const used = zones.filter(({ name, active }) => active || name === defaultZone);
  const running = state.get('state');
  return {
    kind: 'firewall',
    key: 'firewall/firewalld',
    program: 'firewalld',
    state: running === undefined && zones.length === 0 ? 'unknown' : running === 'not running' ? 'inactive' : 'active',
    settings: Object.fromEntries([...state].filter(([name]) => name !== 'state')),
    rules: [...direct, ...all.filter(({ active }) => active).flatMap((policy) => policy.richRules.map((rule) => `policy ${policy.name}: ${rule}`))].slice(
      0,
      shownMax,
    ),
    zones: used.slice(0, shownMax).map(zoneOf),
    pending: permanent === undefined ? [] : lostByReload(used, permanent).slice(0, shownMax),
  };
}

function zoneOf({ name, active, settings, richRules }: FirewalldGroup): FirewallZone {
  const list = (key: string): readonly string[] => settings.get(key) ?? [];
  return {
    name,
    active,
    target: list('target')[0] ?? 'default',
    interfaces: list('interfaces'),
    sources: list('sources'),
    services: list('services'),
    ports: list('ports'),
    forward: list('forward')[0] === 'yes',
    masquerade: list('masquerade')[0] === 'yes',
    richRules: richRules.slice(0, shownMax),
  };
}

// A reload puts back what is kept: what was set at run time alone goes, interfaces that were bound at run time among it.
function lostByReload(zones: readonly FirewalldGroup[], permanent: readonly FirewalldGroup[]): string[] {
  return zones.flatMap((zone) => {
    const kept = permanent.find(({ name }) => name === zone.name);
    const settings = [...zone.settings].flatMap(([key, values]) => {
      const [has, had] = [new Set(kept?.settings.get(key)), new Set(values)];
      const gone = [...had].filter((value) => !has.has(value));
      const back = [...has].filter((value) => !had.has(value));
      return [
        ...(gone.length === 0 ? [] : [`zone ${zone.name}: ${key} ${gone.join(' ')} is of the run time alone`]),
        ...(back.length === 0 ? [] : [`zone ${zone.name}: ${key} ${back.join(' ')} is kept and not loaded`]),
      ];
    });
    const rules = zone.richRules.filter((rule) => kept?.richRules.includes(rule) !== true).map((rule) => `zone ${zone.name}: ${rule} is of the run time alone`);
    return [...settings, ...rules];
  });
}
