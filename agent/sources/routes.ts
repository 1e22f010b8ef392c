// Routes of all tables and routing rules, both families. Without -4 or -6 `ip route` prints both families and `ip rule` only IPv4.
import { listFault } from './interfaces.parse.ts';
import { joinReadings, never, readTool, type Source } from './source.ts';

const commands: readonly (readonly [string, readonly [string, ...string[]]])[] = [
  ['ip-route.json', ['ip', '-4', '-j', 'route', 'show', 'table', 'all']],
  ['ip6-route.json', ['ip', '-6', '-j', 'route', 'show', 'table', 'all']],
  ['ip-rule.json', ['ip', '-4', '-j', 'rule']],
  ['ip6-rule.json', ['ip', '-6', '-j', 'rule']],
];

export const routes: Source = {
  name: 'routes',
  needs: { commands: ['ip'], capabilities: [] },
  files: commands.map(([file]) => file),
  // An interface that goes down takes its IPv4 routes along without a message for each.
  wakes: ['route', 'link', 'address'],
  pollMs: never,
  read: async (machine) => joinReadings(await Promise.all(commands.map(([file, words]) => readTool(machine, { file, words, check: listFault })))),
};
