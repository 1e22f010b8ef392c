// Holds the walk through IPVS against a kernel that has IPVS: user-mode Linux boots, real virtual services and rules are loaded into a node there, real packets
// are sent, and the walk predicts the same packets from the capture of that node.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Outcome, symptomOf } from '../../shared/model/outcome.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { scenes } from './ipvs/scenes.ts';
import { type Asked, predict } from './kernel/judge.ts';
import { tcpPorts, udpPorts } from './kernel/ports.ts';
import type { Observation } from './kernel/probe.ts';

t.setTimeout(240_000);
// Some megabytes at most: it is left to the system to remove them.
const folder = mkdtempSync(join(tmpdir(), 'portreeve-ipvs-'));
const guest = await runInGuest();
let compared = 0;

// 77: not installed; 125: it did not boot.
if (guest.status === 77 || guest.status === 125) {
  t.comment(guest.output);
  t.test('IPVS in a kernel of its own', { skip: `user-mode Linux does not run here: ${guest.output.trim().split('\n')[0]}` }, async () => undefined);
} else if (guest.status !== 0) {
  t.fail(`the guest ended with ${guest.status}`, { output: guest.output });
} else {
  for (const index of scenes.keys()) compareScene(index);
  t.test('many packets were compared', async (t) => t.ok(compared >= 40, `${compared} packets`));
}

function compareScene(index: number): void {
  const scene = scenes[index] as (typeof scenes)[number];
  t.test(scene.name, async (t) => {
    const files = new Map([...filesOf('same'), ...filesOf(String(index))]);
    t.equal(String(files.get('failed.txt') ?? ''), '', 'the scene was set up');
    const node = readNode(files);
    t.same(node.issues, [], 'every line of the capture is read');
    const seen = JSON.parse(String(files.get('observations.json') ?? '[]')) as readonly { readonly asked: Asked; readonly observation: Observation }[];
    t.equal(seen.length, scene.asked.length, 'every packet was sent');
    for (const { asked, observation } of seen) {
      compared += 1;
      const { outcomes, certain } = predict(node, asked);
      const label = `${asked.place} ${asked.from} → ${asked.to}:${asked.port}/${asked.protocol}`;
      t.ok(certain, `${label}: the answer is certain`);
      const reasons = outcomes.filter(({ weight }) => weight > 0).map((outcome) => mismatch(asked, outcome, observation));
      t.ok(reasons.includes(undefined), `${label}: ${observation.met} ${JSON.stringify(observation.answer ?? null)}`, { walk: reasons });
    }
    for (const [text, met] of Object.entries(scene.counted ?? {})) {
      const line = String(files.get('rule-counters.txt') ?? '')
        .split('\n')
        .find((each) => each.includes(text));
      t.equal(/^\[0:0\]/.test(line ?? '[0:0]'), !met, `${text}: ${met ? 'packets met it' : 'no packet met it'}`, { line });
    }
  });
}

function filesOf(part: string): readonly (readonly [string, Buffer])[] {
  return readdirSync(join(folder, part)).map((name) => [name, readFileSync(join(folder, part, name))]);
}

function runInGuest(): Promise<{ readonly status: number; readonly output: string }> {
  const script = (name: string): string => join(import.meta.dirname, name);
  return new Promise((resolve) => {
    execFile(
      script('uml-run.sh'),
      [script('ipvs/guest.sh'), process.execPath, script('ipvs/guest.ts')],
      { env: { ...process.env, UML_RES: folder, UML_TIMEOUT_S: '200' }, timeout: 220_000 },
      (error, stdout, stderr) => resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, output: `${stdout}${stderr}` }),
    );
  });
}

/** Why what the kernel did is not this outcome; undefined when it is. */
function mismatch(asked: Asked, outcome: Outcome, observation: Observation): string | undefined {
  const expected = meetings(asked, outcome);
  const lost = outcome.reply ?? outcome.later;
  const why = `${outcome.verdict} ${outcome.dnat ?? ''} by ${outcome.decidedBy?.text}${lost === undefined ? '' : `; then lost by ${lost.decidedBy?.text}`}`;
  if (!expected.includes(observation.met)) return `${expected.join(' or ')}: ${why}`;
  const { answer } = observation;
  if (observation.met !== 'ok' || answer === undefined) return undefined;
  const end = endpointOf(asked, outcome);
  if (answer.who !== end.who || answer.port !== end.port) return `answered by ${end.who}:${end.port}: ${why}`;
  const kept = answer.source === asked.from;
  return asked.place !== 'node' && kept === outcome.masquerade ? `source ${outcome.masquerade ? 'replaced' : 'kept'}: ${why}` : undefined;
}

function meetings(asked: Asked, outcome: Outcome): readonly string[] {
  const symptom = symptomOf(outcome);
  // A UDP socket is not told of errors that are not final, and one that a local process waits for may come while connect() still holds the socket.
  if (symptom === 'unreachable') return ['unreachable', ...(asked.protocol === 'udp' || asked.place === 'node' ? ['timeout'] : [])];
  if (asked.place === 'node' && outcome.verdict === 'reject') return [symptom, 'timeout'];
  // Where ip6tables has NAT rules, the error that IPVS sends over IPv6 does not arrive (seen in 6.1; without them it does).
  if (asked.to.includes(':') && outcome.verdict === 'reject' && outcome.decidedBy?.by === 'ipvs') return [symptom, 'timeout'];
  // The handshake is through for the client; whether it also learns of the loss depends on who is faster.
  if (outcome.reply === undefined && outcome.later !== undefined) return ['ok', 'timeout'];
  if (outcome.verdict !== 'forward' && outcome.verdict !== 'local') return [symptom];
  // A host without the device for tunnels has no use for what comes in one.
  if (outcome.decidedBy?.text.endsWith(' -i')) return ['timeout', 'unreachable'];
  const serves = (asked.protocol === 'tcp' ? tcpPorts : udpPorts).includes(endpointOf(asked, outcome).port);
  return serves || symptom !== 'ok' ? [symptom] : ['refused'];
}

/** Who answers: where packets are sent on without translation, the real server that is named. */
function endpointOf(asked: Asked, outcome: Outcome): { readonly who: string; readonly port: number } {
  const routed = / → (\S+):\d+ -[gi]$/.exec(outcome.decidedBy?.text ?? '')?.[1];
  const text = outcome.dnat ?? `${routed ?? asked.to}:${asked.port}`;
  const colon = text.lastIndexOf(':');
  const address = text.slice(0, colon).replace(/^\[|\]$/g, '');
  const who = /^(10\.244\.1\.11|fd44:1::11)$/.test(address) ? 'pod' : /^(10\.244\.2\.11|fd44:2::11)$/.test(address) ? 'remote' : 'node';
  return { who, port: Number(text.slice(colon + 1)) };
}
