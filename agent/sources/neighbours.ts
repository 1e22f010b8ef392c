// Who answers for the next hops of routes, and where tunnels send: `ip neigh` and `bridge fdb`. Read only where a tunnel carries pods' packets to other nodes.
import { steadyForwarding, steadyNeighbours, tunnelsIn } from './neighbours.parse.ts';
import { joinReadings, type Reading, readTool, type Source } from './source.ts';

export const neighbours: Source = {
  name: 'neighbours',
  needs: { commands: ['ip', 'bridge'], capabilities: [] },
  files: ['ip-neigh.json', 'bridge-fdb.json'],
  // Who answers is learnt with every packet; a tunnel's entries are set by the network plugin, minutes apart.
  wakes: [],
  pollMs: (files) => (tunnelsIn(files.get('ip-addr.json')).size > 0 ? 15_000 : 60_000),
  read: async (machine, known) => {
    const tunnels = tunnelsIn(known.get('ip-addr.json'));
    if (tunnels.size === 0) return { outcome: 'absent', reason: 'no tunnel to other nodes (vxlan, geneve) is there' };
    const [entries, table] = await Promise.all([
      readTool(machine, { file: 'ip-neigh.json', words: ['ip', '-j', 'neigh', 'show'] }),
      readTool(machine, { file: 'bridge-fdb.json', words: ['bridge', '-j', 'fdb', 'show'] }),
    ]);
    return joinReadings([
      steady(entries, (text) => steadyNeighbours(text, { tunnels, routes: known.get('ip-route.json'), routes6: known.get('ip6-route.json') })),
      steady(table, steadyForwarding),
    ]);
  },
};

function steady(reading: Reading, read: (text: string) => string | undefined): Reading {
  if (reading.outcome !== 'facts') return reading;
  const [[file, content] = ['', Buffer.alloc(0)]] = [...reading.files];
  const text = read(content.toString('utf8'));
  return text === undefined
    ? { outcome: 'failed', reason: `${reading.commands[file]}: it prints no JSON list` }
    : { ...reading, files: new Map([[file, Buffer.from(text)]]) };
}
