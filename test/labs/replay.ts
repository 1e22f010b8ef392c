// The demo where no lab can be built: captures of real, broken clusters are checked offline.
import { spawnSync } from 'node:child_process';

const root = new URL('../..', import.meta.url).pathname;

const replays = [
  { fixture: '08-nodeports-rule-deleted', title: "a NodePort's rule was deleted from KUBE-NODEPORTS" },
  { fixture: '09-forward-drop-target-port', title: 'somebody drops forwarded packets to the target port' },
  { fixture: '04-selector-mismatch-iptables', title: 'a selector matches no pod, so the Service has no endpoints' },
];

/** Checks the captures and resolves to 0 when each yields a finding. */
export function replay(): number {
  let silent = 0;
  for (const [index, { fixture, title }] of replays.entries()) {
    const directory = `test/fixtures/${fixture}`;
    const words = ['check', '--capture', directory, '--cluster', directory, '--node', 'node1'];
    process.stdout.write(`\n${index + 1}. ${title} (captured in a real cluster)\n\n    $ portreeve ${words.join(' ')}\n`);
    const { status, stdout, stderr } = spawnSync('cli/portreeve', words, { cwd: root, encoding: 'utf8' });
    process.stdout.write(`${(stdout + stderr).replace(/^/gm, '    ')}\n`);
    if (status !== 1) silent++;
  }
  return silent === 0 ? 0 : 1;
}
