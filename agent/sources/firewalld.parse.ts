// Writes what firewalld says on the bus as `firewall-cmd --list-all-zones` and its like print it, so that a capture made by hand and one of the agent are alike.

/** A dictionary as it comes from the bus. */
export type Settings = Readonly<Record<string, unknown>>;

/** Keys of a zone in the order in which firewall-cmd prints them, and the settings that they come from. */
const zoneKeys: readonly (readonly [string, (settings: Settings) => string])[] = [
  ['target', (settings) => String(settings['target'] ?? 'default')],
  ['icmp-block-inversion', (settings) => yes(settings['icmp_block_inversion'])],
  ['interfaces', (settings) => words(settings['interfaces'])],
  ['sources', (settings) => words(settings['sources'])],
  ['services', (settings) => words(settings['services'])],
  ['ports', (settings) => ports(settings['ports'])],
  ['protocols', (settings) => words(settings['protocols'])],
  ['forward', (settings) => yes(settings['forward'])],
  ['masquerade', (settings) => yes(settings['masquerade'])],
  ['forward-ports', (settings) => forwards(settings['forward_ports'])],
  ['source-ports', (settings) => ports(settings['source_ports'])],
  ['icmp-blocks', (settings) => words(settings['icmp_blocks'])],
];

const policyKeys: readonly (readonly [string, (settings: Settings) => string])[] = [
  ['priority', (settings) => String(settings['priority'] ?? 0)],
  ['target', (settings) => String(settings['target'] ?? 'CONTINUE')],
  ['ingress-zones', (settings) => words(settings['ingress_zones'])],
  ['egress-zones', (settings) => words(settings['egress_zones'])],
  ['services', (settings) => words(settings['services'])],
  ['ports', (settings) => ports(settings['ports'])],
  ['protocols', (settings) => words(settings['protocols'])],
  ['masquerade', (settings) => yes(settings['masquerade'])],
  ['forward-ports', (settings) => forwards(settings['forward_ports'])],
  ['source-ports', (settings) => ports(settings['source_ports'])],
  ['icmp-blocks', (settings) => words(settings['icmp_blocks'])],
];

/** One zone as a paragraph; `settings` are those of getZoneSettings2. */
export const zoneText = (name: string, settings: Settings, active: unknown): string =>
  paragraph(name, active === true, { keys: zoneKeys, settings, rules: settings['rules_str'] });

/** One policy as a paragraph; `settings` are those of getPolicySettings. */
export const policyText = (name: string, settings: Settings, active: unknown): string =>
  paragraph(name, active === true, { keys: policyKeys, settings, rules: settings['rich_rules'] });

/** Chains, rules and passthroughs of the direct interface, one a line, each with the word that says which it is. */
export function directText({ chains, rules, passthroughs }: { readonly chains: unknown; readonly rules: unknown; readonly passthroughs: unknown }): string {
  const lines = [
    ...list(chains).map((chain) => ['chain', ...list(chain)]),
    ...list(rules).map((rule) => ['rule', ...list(rule).flatMap((part) => (Array.isArray(part) ? part : [part]))]),
    ...list(passthroughs).map((entry) => ['passthrough', ...list(entry).flatMap((part) => (Array.isArray(part) ? part : [part]))]),
  ];
  return lines.map((line) => `${line.map(word).join(' ')}\n`).join('');
}

/** Lines of the form `name = value`. */
export const stateText = (values: Settings): string =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} = ${typeof value === 'boolean' ? yes(value) : oneLine(String(value))}\n`)
    .join('');

/** What firewalld.conf says of the settings that the bus tells as well, by the names of firewalld-state.txt. */
export function settingsOfConfiguration(text: string): Settings {
  const valueOf = (name: string): string | undefined => new RegExp(`^${name}[ \\t]*=[ \\t]*(\\S+)`, 'm').exec(text)?.[1];
  return { backend: valueOf('FirewallBackend'), 'flush-all-on-reload': valueOf('FlushAllOnReload'), 'cleanup-on-exit': valueOf('CleanupOnExit') };
}

/** Of paragraphs of zones those that are in use: active (in `zones`, as firewall-cmd marks them) or the default. */
export function usedZones(text: string, { zones, defaultZone }: { readonly zones: string; readonly defaultZone: string }): string {
  const active = new Set([defaultZone, ...[...zones.matchAll(/^(\S+) \((?:[^)]*\b)?active\b[^)]*\)$/gm)].map(([, name]) => name)]);
  return text
    .split(/\n(?=\S)/)
    .filter((paragraph) => active.has(/^\S+/.exec(paragraph.trimStart())?.[0] ?? ''))
    .join('\n');
}

/** The names in a list of names; nothing else. */
export const namesOf = (value: unknown): readonly string[] => list(value).filter((name): name is string => typeof name === 'string');

interface Paragraph {
  readonly keys: typeof zoneKeys;
  readonly settings: Settings;
  readonly rules: unknown;
}

function paragraph(name: string, active: boolean, { keys, settings, rules }: Paragraph): string {
  const lines = keys.map(([key, read]) => `  ${key}: ${oneLine(read(settings))}`);
  const rich = list(rules).map((rule) => `\t${oneLine(String(rule))}`);
  return `${[`${name}${active ? ' (active)' : ''}`, ...lines, '  rich rules: ', ...rich].join('\n')}\n`;
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const words = (value: unknown): string => list(value).map(String).sort().join(' ');
const yes = (value: unknown): string => (value === true ? 'yes' : 'no');
const ports = (value: unknown): string =>
  list(value)
    .map((port) => list(port).join('/'))
    .join(' ');
/** `port=80:proto=tcp:toport=8080:toaddr=10.0.0.1`, as firewall-cmd prints it. */
const forwards = (value: unknown): string =>
  list(value)
    .map((each) => {
      const [port, protocol, toPort, toAddress] = list(each);
      return `port=${port}:proto=${protocol}:toport=${toPort ?? ''}:toaddr=${toAddress ?? ''}`;
    })
    .join(' ');
const word = (value: unknown): string => (/^\S+$/.test(String(value)) ? String(value) : JSON.stringify(String(value)));
const oneLine = (text: string): string => text.replaceAll(/[\r\n]+/g, ' ');
