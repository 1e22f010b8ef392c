// The agent is started alike from a checkout and from packages.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { agentEnvironment, agentFlags } from '../../packaging/programs.ts';

t.test("what the agent's Node.js is started with", async (t) => {
  const launcher = readFileSync(new URL('../../cli/portreeve', import.meta.url), 'utf8');
  t.ok(launcher.includes(`exec "$node" ${agentFlags} "$program"`));
  for (const [name, value] of Object.entries(agentEnvironment)) t.match(launcher, new RegExp(`export .*\\b${name}=${value}\\b`));
});
