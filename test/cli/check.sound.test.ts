// Nodes with nothing wrong: behind firewalls that let NodePorts pass, with thousands of Services, in every mode. No finding but what is true.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { checkNode } from '../../cli/commands/check.run.ts';
import { readObjects } from '../../collector/kubernetes/objects.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { fixtures } from '../support/captures.ts';
import { type Edit, findingsOf, json, withRulesOf } from '../support/edited.ts';

const causesOf = (findings: readonly Finding[]): string[] =>
  [...new Set(findings.filter(({ severity }) => severity !== 'info').map(({ cause }) => cause))].sort();

const beside = (folder: string): Edit =>
  json('nft.json', ({ nftables }) => ({
    nftables: [
      ...nftables,
      ...JSON.parse(readFileSync(join(fixtures, folder, 'nft-ruleset.json'), 'utf8')).nftables.filter((each: object) => !('metainfo' in each)),
    ],
  }));

const iptables = ['01-healthy-iptables-nft', '03-healthy-iptables-legacy'];
const firewalld = ['1-default', '2-runtime-port', '4-permanent-port', '6-zone-drop'];
// firewalld's chains of nftables reject the health check of the load balancer, as its packets are not translated: that is so on real nodes.
const guarded: readonly { readonly capture: string; readonly name: string; readonly edit: Edit; readonly expected: readonly string[] }[] = [
  ...iptables.flatMap((capture) => [
    ...['ufw-inactive', 'ufw-disabled'].map((name) => ({ capture, name, edit: withRulesOf(name), expected: [] })),
    ...[...firewalld, '3-after-reload-runtime-lost'].map((name) => ({
      capture,
      name: `firewalld-iptables/${name}`,
      edit: withRulesOf('firewalld-iptables', name),
      expected: [],
    })),
  ]),
  ...['01-healthy-iptables-nft', '02-healthy-nftables'].flatMap((capture) =>
    firewalld.map((name) => ({ capture, name: `firewalld-nftables/${name}`, edit: beside(`firewalld-nftables/${name}`), expected: ['A14'] })),
  ),
];
for (const { capture, name, edit, expected } of guarded) {
  t.test(`${capture} behind ${name}`, (t) => {
    const found = findingsOf({ capture, edits: [edit] });
    t.same(causesOf(found), expected, found.map(({ summary }) => summary).join('\n'));
    t.end();
  });
}

// One in fifty of their Services has no endpoint, one in ten is for clients of its own node alone.
for (const name of ['1000svc-10ep-iptables-legacy', '1000svc-10ep-iptables-nft', '1000svc-10ep-nftables-nft', '10000svc-3ep-iptables-legacy']) {
  t.test(`scale/${name}`, (t) => {
    const folder = join(fixtures, 'scale', name);
    const files = new Map(
      readdirSync(folder).map((file) => {
        const bytes = readFileSync(join(folder, file));
        return file.endsWith('.gz') ? ([file.slice(0, -3), gunzipSync(bytes)] as const) : ([file, bytes] as const);
      }),
    );
    const objects = readObjects(['services.json', 'endpointslices.json', 'nodes.json'].map((file) => ({ name: file, text: String(files.get(file)) }))).objects;
    const checked = checkNode({ files, objects, now: 0 });
    t.ok((checked?.expectations.length ?? 0) >= 1_000, `${checked?.expectations.length} NodePorts`);
    t.same(causesOf(checked?.findings ?? []), ['A01']);
    t.same(
      [...new Set(checked?.findings.map(({ cause }) => cause))].sort().filter((cause) => !['A01', 'A04'].includes(cause)),
      [],
      'nothing is left unjudged',
    );
    t.end();
  });
}
