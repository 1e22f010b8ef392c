// `portreeve trace` as a person calls it: text, data and drawings of one walk, one way alone, and what cannot be asked for.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';

const root = new URL('../../..', import.meta.url).pathname;
const capture = join(root, 'test/fixtures/ipvs-healthy');

function trace(...words: readonly string[]): { readonly code: number | null; readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync(join(root, 'cli/portreeve'), ['trace', '--capture', capture, ...words], { encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

t.test('text, drawings and data tell of the same walk', async (t) => {
  const one = ['--packet', 'dport=30080'];
  t.match(trace(...one), {
    code: 0,
    stderr: '',
    stdout: /^external: every source → 192\.0\.2\.11:30080\/tcp: mixed\n\nway 1 of 3: reject with icmp-host-unreachable/,
  });
  t.match(trace(...one, '-o', 'svg'), { code: 0, stderr: '', stdout: /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[\s\S]*<\/svg>\n$/ });
  t.match(trace(...one, '-o', 'mermaid'), { code: 0, stderr: '', stdout: /^%%\{init[^\n]*\nflowchart TB\n/ });
  const json = JSON.parse(trace(...one, '-o', 'json').stdout) as { readonly branches: readonly object[]; readonly graph: WalkGraph };
  t.equal(json.branches.length, 4);
  t.match(json.branches[0], { assumptions: [], assumed: Array.from({ length: 6 }, () => 0) });
  t.match(json.graph, { packet: 'external: every source → 192.0.2.11:30080/tcp', verdict: 'mixed', more: 0 });
  t.same(parse(trace(...one, '-o', 'yaml').stdout), json);
});

t.test('one way alone', async (t) => {
  t.match(trace('--packet', 'dport=30080', '--way', '2').stdout, /\n\nway 2 of 3: forward to 10\.244\.1\.5:8080/);
  const ends = (words: readonly string[]) => trace('--packet', 'dport=30080', ...words).stdout.match(/class="symbol"/g)?.length;
  t.equal(ends(['-o', 'svg']), 2);
  t.equal(ends(['-o', 'svg', '--way', '1']), 1);
  t.equal(trace('--packet', 'dport=30080', '-o', 'mermaid', '--way', '2').stdout.includes('REJECTED'), false);
});

t.test('what cannot be asked for is named', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp | string])[] = [
    [['--packet', 'dport=30080', '--way', '4'], 'portreeve: --way 4: this packet has 3 ways\n'],
    [['--packet', 'dport=30080', '--way', '0'], /--way 0: a whole number from 1 to/],
    [['--packet', 'dport=30080', '--way', '1', '-o', 'json'], /--way is for the forms text, svg, mermaid: -o json holds all branches/],
    [['--packets', '-', '-o', 'svg'], /-o svg draws the walk of one packet: use --packet/],
    [['--packets', '-', '--way', '1'], /--way shows one way of one packet: use --packet/],
    [['--packet', 'dport=30080', '-o', 'png'], /--output png: one of text, json, ndjson, yaml, svg, mermaid is wanted/],
  ];
  for (const [words, stderr] of cases) t.match(trace(...words), { code: 2, stdout: '', stderr }, words.join(' '));
});
