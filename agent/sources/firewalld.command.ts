// firewalld by firewall-cmd, where the agent itself does not get through to it on the system bus. Each question starts an interpreter (0.2 s of a processor), so
// it is asked as seldom as its cost demands.
import { limits } from '../../shared/limits.ts';
import type { Machine } from '../host/machine.ts';
import { settingsOfConfiguration, stateText, usedZones } from './firewalld.parse.ts';
import { readHostFile } from './host-root.ts';
import type { Reading } from './source.ts';

/** Reads it; `why` says what is in the way of the bus. */
export async function readByCommand(machine: Machine, why: string): Promise<Reading> {
  try {
    return await readAll(new Commands(machine), { machine, why });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.isStopped ? { outcome: 'absent', reason: 'firewalld is not running' } : { outcome: 'failed', reason: `${why}; ${error.message}` };
  }
}

async function readAll(ask: Commands, { machine, why }: { readonly machine: Machine; readonly why: string }): Promise<Reading> {
  const state = await ask.text('--state');
  const [zones, defaultZone] = [await ask.text('--list-all-zones'), (await ask.text('--get-default-zone')).trim()];
  const permanent = usedZones(await ask.text('--permanent', '--list-all-zones'), { zones, defaultZone });
  const policies = await ask.tried('--list-all-policies');
  const direct = [
    ...linesOf('chain', await ask.text('--direct', '--get-all-chains')),
    ...linesOf('rule', await ask.text('--direct', '--get-all-rules')),
    ...linesOf('passthrough', await ask.text('--direct', '--get-all-passthroughs')),
  ];
  const configuration = await readHostFile(machine, '/etc/firewalld/firewalld.conf');
  const stated = stateText({
    state: state.trim(),
    version: (await ask.text('--version')).trim(),
    'default-zone': defaultZone,
    panic: await ask.isTrue('--query-panic'),
    ...(configuration.kind === 'done' ? settingsOfConfiguration(configuration.content.toString('utf8')) : {}),
  });
  const lacks = `its signals (${why}): it is asked through firewall-cmd${policies === undefined ? ', which knows no policies' : ''}`;
  const texts = {
    'firewalld-state.txt': stated,
    'firewalld-zones.txt': zones,
    'firewalld-permanent-zones.txt': permanent,
    'firewalld-policies.txt': policies ?? '',
    'firewalld-direct.txt': direct.join(''),
  };
  return {
    outcome: 'facts',
    files: new Map(Object.entries(texts).map(([file, text]) => [file, Buffer.from(text)])),
    commands: Object.fromEntries(Object.keys(texts).map((file) => [file, 'firewall-cmd'])),
    lacks,
  };
}

const linesOf = (word: string, text: string): readonly string[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => `${word} ${line}\n`);

class Refusal extends Error {
  /** firewall-cmd was heard to say that firewalld does not run. */
  readonly isStopped: boolean;

  constructor(message: string) {
    super(message);
    this.isStopped = /not running/i.test(message);
  }
}

/** The questions. What cannot be answered is thrown as a refusal. */
class Commands {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  async text(...words: readonly string[]): Promise<string> {
    const outcome = await this.#machine.run('firewall-cmd', words, limits.toolTimeoutMs);
    if (outcome.kind === 'missing') throw new Refusal('firewall-cmd is not installed');
    if (outcome.kind === 'failed') throw new Refusal(`firewall-cmd ${words.join(' ')}: ${outcome.reason}`);
    return outcome.stdout.toString('utf8');
  }

  /** undefined: this firewall-cmd has no such question. */
  async tried(...words: readonly string[]): Promise<string | undefined> {
    const outcome = await this.#machine.run('firewall-cmd', words, limits.toolTimeoutMs);
    return outcome.kind === 'done' ? outcome.stdout.toString('utf8') : undefined;
  }

  /** A question that is answered by the exit status: 0 yes, 1 no. */
  async isTrue(...words: readonly string[]): Promise<boolean> {
    const outcome = await this.#machine.run('firewall-cmd', words, limits.toolTimeoutMs);
    if (outcome.kind === 'done') return true;
    if (outcome.kind === 'failed' && /^exit (?:code|status) 1\b/.test(outcome.reason)) return false;
    throw new Refusal(`firewall-cmd ${words.join(' ')}: ${outcome.kind === 'failed' ? outcome.reason : 'it is not installed'}`);
  }
}
