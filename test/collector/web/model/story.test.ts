// What a story is about, the commands that tell the same, and what each witness says.
import t from 'tap';
import { commandsOf, nodePortOfKey, remedyTitle, standOf, subjectOf } from '../../../../collector/web/model/story.ts';
import { witnessesOf } from '../../../../collector/web/model/witnesses.ts';
import type { Finding } from '../../../../shared/model/finding.ts';

t.test('what a story is about', async (t) => {
  t.same(subjectOf({ node: 'n', port: 30080, protocol: 'udp' }), { node: 'n', port: 30080, protocol: 'udp' });
  t.same(subjectOf({ node: 'n', port: 0, protocol: '', consequences: ['chains/4', 'nodeport/tcp/6/30081'] }), { node: 'n', port: 30081, protocol: 'tcp' });
  t.same(subjectOf({ node: 'n', port: 0, protocol: '' }), { node: 'n' });
  t.same(nodePortOfKey('nodeport/icmp/4/1'), undefined);
});

t.test('the same in a terminal, with names as words of a shell', async (t) => {
  t.same(commandsOf({ node: 'node1', port: 30080, protocol: 'tcp' }, 'http://c'), [
    'portreeve explain node1 30080 --server http://c',
    'portreeve get changes --node node1 --server http://c',
  ]);
  t.match(commandsOf({ node: "a'; rm -rf /", port: 53, protocol: 'udp' }, 'http://c'), [/^portreeve explain 'a'\\''; rm -rf \/' 53\/udp /]);
  t.match(commandsOf({ node: 'node1' }, 'http://c'), [/get findings --node node1/]);
});

t.test('where it stands', async (t) => {
  const of = (severity: Finding['severity'], port = 30080) => ({ severity, port });
  t.match(standOf({ kind: 'healthy', finding: undefined }), { tone: 'good', text: 'answers' });
  t.match(standOf({ kind: 'faulty', finding: of('error') }), { tone: 'bad', text: 'does not answer' });
  t.match(standOf({ kind: 'faulty', finding: of('warning') }), { tone: 'warn' });
  t.match(standOf({ kind: 'by-design', finding: of('info') }), { tone: 'design', text: /by design/ });
  t.match(standOf({ kind: 'unknown', finding: undefined }), { tone: 'open' });
  t.match(standOf({ kind: undefined, finding: of('error'), isOver: true }), { tone: 'good', text: 'is over' });
  t.match(standOf({ kind: 'healthy', finding: of('info', 0) }), { tone: 'design', text: 'worth knowing' }, 'a node is not said to answer');
  t.match(standOf({ kind: 'healthy', finding: of('error', 0) }), { tone: 'bad' }, 'what breaks others is not over where one of them answers');
});

t.test('what stands above the commands', async (t) => {
  const design = { tone: 'design', text: '' } as const;
  t.equal(remedyTitle(design, { isOver: false, port: 30080 }), 'If it should answer');
  t.equal(remedyTitle(design, { isOver: false, port: 0 }), 'What changes it');
  t.equal(remedyTitle({ tone: 'bad', text: '' }, { isOver: false, port: 30080 }), 'What opens it');
  t.match(remedyTitle({ tone: 'good', text: '' }, { isOver: true, port: 30080 }), /come back/);
});

t.test('each witness says its own, once', async (t) => {
  const evidence = [
    { witness: 'rules' as const, text: 'Decided by rule 1.' },
    { witness: 'kernel' as const, text: 'NETFILTER_DROP on 8080.' },
    { witness: 'objects' as const, text: 'The Service is well.' },
  ];
  const found = witnessesOf({
    seenBy: ['rules: drop', 'counter: 214 packets', 'kernel: NETFILTER_DROP on 8080'],
    findings: [{ evidence } as unknown as Finding],
  });
  t.same(
    found.map(({ name, says }) => [name, ...says]),
    [['Rules', 'drop', 'Decided by rule 1.'], ['Counters', '214 packets'], ['Kernel', 'NETFILTER_DROP on 8080'], ['Probes']],
  );
});
