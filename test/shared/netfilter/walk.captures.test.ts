// What the walk predicts for the captured nodes, held against what real connections met there.
import t from 'tap';
import { walk } from '../../../shared/netfilter/walk.ts';
import { capturedNode, numberedCaptures, packetOf, predicted, trafficOf } from '../../support/captures.ts';

/** Connections whose fate the rules of the node do not decide. */
const beyondTheRules: Readonly<Record<string, string>> = {
  '17-wrong-target-port bad@node1': 'the pod itself refuses: no rule of the node says so',
};

for (const name of numberedCaptures) {
  t.test(name, async (t) => {
    const node = capturedNode(name);
    t.same(node.issues, [], 'every line of the capture is read');
    for (const traffic of trafficOf(name)) {
      const label = `${name} ${traffic.label}`;
      const walked = walk(node, packetOf(traffic), { traced: false, reply: true });
      if (beyondTheRules[label] !== undefined) {
        t.equal(predicted(walked), 'ok', `${label}: forwarded, as ${beyondTheRules[label]}`);
        continue;
      }
      t.equal(predicted(walked), traffic.outcome, `${label} to ${traffic.to}`);
      if (traffic.answers === undefined || traffic.outcome !== 'ok') continue;
      // Where nothing is translated, the node itself answers on the port that was asked.
      const ways = walked.outcomes.map((outcome) => outcome.dnat ?? traffic.to);
      for (const answer of Object.keys(traffic.answers)) {
        const port = / port=(\d+) src=/.exec(answer)?.[1];
        if (port !== undefined)
          t.ok(
            ways.some((way) => way.endsWith(`:${port}`)),
            `${label}: an endpoint with port ${port} is among ${ways.join(', ')}`,
          );
      }
    }
  });
}

t.test('the client address that the endpoint saw tells whether the walk is right about masquerading', async (t) => {
  for (const name of numberedCaptures) {
    const node = capturedNode(name);
    for (const traffic of trafficOf(name)) {
      const sources = Object.keys(traffic.answers ?? {}).flatMap((answer) => / src=(\S+)/.exec(answer)?.[1] ?? []);
      if (sources.length === 0 || traffic.from === 'n1') continue;
      const walked = walk(node, packetOf(traffic), { traced: false, reply: true });
      const client = traffic.to.startsWith('[') ? 'fd00:31:0:1::100' : '172.31.0.100';
      const kept = sources.filter((source) => source === client).length === sources.length;
      const replaced = sources.every((source) => source !== client);
      t.ok(kept || replaced, `${name} ${traffic.label}: the record is of one kind`);
      t.ok(
        walked.outcomes.every((outcome) => outcome.masquerade === replaced),
        `${name} ${traffic.label}: source ${kept ? 'kept' : 'replaced'}`,
      );
    }
  }
});
