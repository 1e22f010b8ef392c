// Takes out of `ip -j -d addr` what changes by itself, so that two readings of the same state are the same text.

type Raw = Readonly<Record<string, unknown>>;

const kept = ['ifindex', 'ifname', 'link', 'link_netnsid', 'flags', 'mtu', 'operstate', 'master', 'link_type', 'address', 'broadcast'];
/** Of `linkinfo.info_data`: what tunnels, VLANs and bonds are set to. */
const keptData = [
  'id',
  'local',
  'local6',
  'remote',
  'link',
  'port',
  'learning',
  'protocol',
  'mode',
  'vlan_filtering',
  'nf_call_iptables',
  'nf_call_ip6tables',
  'external',
];
const keptAddress = [
  'family',
  'local',
  'address',
  'prefixlen',
  'broadcast',
  'scope',
  'label',
  'dynamic',
  'secondary',
  'deprecated',
  'tentative',
  'dadfailed',
  'noprefixroute',
];

/** One interface a line, as ip prints it but for what was taken out; undefined when the text is no JSON list. */
export function steadyInterfaces(text: string): string | undefined {
  const list = listOf(text);
  if (list === undefined) return undefined;
  const lines = list.filter((raw) => typeof raw['ifname'] === 'string').map((raw) => JSON.stringify(steady(raw)));
  return `[${lines.join(',\n')}]\n`;
}

/** Why an output cannot be a JSON list that was printed to its end; undefined when it can. Some releases print nothing for an empty list. */
export function listFault(output: Buffer): string | undefined {
  const [head, tail] = [output.subarray(0, 64).toString('latin1').trimStart(), output.subarray(-64).toString('latin1').trimEnd()];
  if (head === '') return undefined;
  if (!head.startsWith('[')) return `it prints no JSON list: ${JSON.stringify(head.split('\n')[0])}`;
  return tail.endsWith(']') ? undefined : 'its list ends in the middle';
}

/** The objects of a JSON list; undefined when the text is none. */
export function listOf(text: string): readonly Raw[] | undefined {
  try {
    const value: unknown = JSON.parse(text.trim() === '' ? '[]' : text);
    return Array.isArray(value) ? value.filter((each): each is Raw => typeof each === 'object' && each !== null) : undefined;
  } catch {
    return undefined;
  }
}

function steady(raw: Raw): Raw {
  const info = objectOf(raw['linkinfo']);
  const addresses = Array.isArray(raw['addr_info']) ? raw['addr_info'].map((each) => only(objectOf(each), keptAddress)) : [];
  return {
    ...only(raw, kept),
    ...(typeof info['info_kind'] === 'string' || typeof info['info_slave_kind'] === 'string' ? { linkinfo: steadyInfo(info) } : {}),
    addr_info: addresses,
  };
}

function steadyInfo(info: Raw): Raw {
  const [data, port] = [only(objectOf(info['info_data']), keptData), only(objectOf(info['info_slave_data']), ['state', 'hairpin', 'isolated'])];
  return {
    ...only(info, ['info_kind', 'info_slave_kind']),
    ...(Object.keys(data).length === 0 ? {} : { info_data: data }),
    ...(info['info_slave_kind'] !== 'bridge' || Object.keys(port).length === 0 ? {} : { info_slave_data: port }),
  };
}

const objectOf = (value: unknown): Raw => (typeof value === 'object' && value !== null ? (value as Raw) : {});

const only = (raw: Raw, names: readonly string[]): Raw => Object.fromEntries(names.filter((name) => name in raw).map((name) => [name, raw[name]]));
