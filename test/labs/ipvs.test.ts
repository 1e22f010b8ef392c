// Holds the walk through IPVS against a kernel that has IPVS: user-mode Linux boots, real virtual services and rules are loaded into a node there, real packets
// are sent, and the walk predicts the same packets from the capture of that node.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Outcome } from '../../shared/model/outcome.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { type Step, scenes, stepsOf } from './ipvs/scenes.ts';
import type { Meeting, Probe, SeenPacket } from './kernel/host.ts';
import { type Asked, disagreement, type Observation, observe, type Prediction, predict } from './kernel/judge.ts';

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
  for (const [index, scene] of scenes.entries()) {
    t.test(scene.name, async (t) => {
      for (const [number, step] of stepsOf(scene).entries()) compareStep(t, step, `${index}.${number}`);
      compareCounters(t, scene.counted ?? {}, `${index}.0`);
    });
  }
  t.test('many packets were compared', async (t) => t.ok(compared >= 250, `${compared} packets of ${scenes.length} scenes`));
}

/** What the guest leaves of a step. */
interface Played {
  readonly probes: readonly (Probe & Asked)[];
  readonly meetings: readonly Meeting[];
  readonly packets: readonly SeenPacket[];
}

function compareStep(t: Test, step: Step, part: string): void {
  const files = new Map([...filesOf('same'), ...filesOf(part)]);
  t.equal(String(files.get('failed.txt') ?? ''), '', 'the scene was set up');
  const node = readNode(files);
  t.same(node.issues, [], 'every line of the capture is read');
  const { probes, meetings, packets } = JSON.parse(String(files.get('played.json') ?? '{"probes":[],"meetings":[],"packets":[]}')) as Played;
  t.equal(probes.length, step.asked.length, 'every packet was sent');
  const byId = Map.groupBy(meetings, ({ id }) => id);
  for (const [index, probe] of probes.entries()) {
    compared += 1;
    const prediction = predict(node, probe);
    const seen = observe({ meetings: byId, packets }, probe, probe);
    const label = `${probe.place} ${probe.from} → ${probe.to}:${probe.port}/${probe.protocol}`;
    const expected = step.answers?.[index];
    if (expected === undefined) t.ok(prediction.certain, `${label}: the answer is certain`, { doubts: prediction.doubts });
    else t.equal(seen.told?.answer?.who ?? seen.told?.word, expected, `${label}: ${expected}`);
    t.equal(wrong(probe, prediction, seen), undefined, `${label}: ${seen.told?.word ?? 'silence'}`);
  }
}

/** Why what the kernel did is not what the walk says; undefined when it is. */
function wrong(asked: Asked, prediction: Prediction, seen: Observation): string | undefined {
  const reasons = prediction.outcomes.map((outcome) => {
    const passedOn = passedOnTo(outcome);
    return passedOn === undefined ? disagreement(asked, { ...prediction, outcomes: [outcome] }, seen) : wrongWayOn(asked, passedOn, seen);
  });
  return reasons.includes(undefined) ? undefined : reasons.join('; or ');
}

/** The server that packets are sent on to without translation: as they are (-g) or in a tunnel (-i). */
function passedOnTo({ decidedBy }: Outcome): { readonly address: string; readonly isTunnel: boolean } | undefined {
  const [, address, how] = / → (\S+):\d+ -([gi])$/.exec(decidedBy?.text ?? '') ?? [];
  return address === undefined || address.startsWith('10.9.') ? undefined : { address, isTunnel: how === 'i' };
}

/** A packet that is passed on keeps its address on its way to the server, which answers by itself; nobody here has a use for what comes in a tunnel. */
function wrongWayOn(asked: Asked, { isTunnel }: { readonly isTunnel: boolean }, { left, told }: Observation): string | undefined {
  if (isTunnel) return left.length === 0 && (told === undefined || told.word === 'unreachable') ? undefined : 'it leaves in a tunnel, and nobody answers';
  const isKept = left.length > 0 && left.every(({ device, destination, source }) => device === 'eth1' && destination === asked.to && source === asked.from);
  return isKept && told?.answer?.who === 'remote' ? undefined : 'it leaves as it is, and the server answers';
}

function compareCounters(t: Test, counted: Readonly<Record<string, boolean>>, part: string): void {
  for (const [text, met] of Object.entries(counted)) {
    const line = String(new Map(filesOf(part)).get('rule-counters.txt') ?? '')
      .split('\n')
      .find((each) => each.includes(text));
    t.equal(/^\[0:0\]/.test(line ?? '[0:0]'), !met, `${text}: ${met ? 'packets met it' : 'no packet met it'}`, { line });
  }
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
