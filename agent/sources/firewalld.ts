// firewalld by its D-Bus interface, else by firewall-cmd: zones, policies, direct rules, panic mode, and what is permanent, from which follows what a reload would lose.
import { reasonOf } from '../../shared/errors.ts';
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import { type Bus, connectBus, systemBusSocket } from '../host/bus.ts';
import type { Machine } from '../host/machine.ts';
import { readByCommand } from './firewalld.command.ts';
import { directText, namesOf, policyText, type Settings, stateText, zoneText } from './firewalld.parse.ts';
import { hasProcess } from './processes.parse.ts';
import type { Reading, Source } from './source.ts';

export const firewalldName = 'org.fedoraproject.FirewallD1';
export const firewalldPath = '/org/fedoraproject/FirewallD1';

const files = ['firewalld-state.txt', 'firewalld-zones.txt', 'firewalld-permanent-zones.txt', 'firewalld-policies.txt', 'firewalld-direct.txt'] as const;

export const firewalld: Source = {
  name: 'firewalld',
  needs: { commands: [], capabilities: [] },
  files,
  wakes: ['firewalld'],
  // Its start and its end are signals of the bus; without them a look costs one question.
  pollMs: (known) => (known.has(files[0]) ? 60_000 : 30_000),
  read: async (machine, known) => await readFirewalld(machine, known),
};

/** Reads it through the bus at `socket` (only tests name one), or where it runs and cannot be reached there by firewall-cmd. */
export async function readFirewalld(machine: Machine, known: CaptureFiles, socket = systemBusSocket): Promise<Reading> {
  const connected = await connectBus({ socket });
  const runs = hasProcess(known.get('processes.json'), /^firewalld$/);
  if (connected.kind !== 'bus') {
    if (!runs) return { outcome: 'absent', reason: absence(connected) };
    const why = connected.kind === 'absent' ? `the system bus cannot be reached: ${socket} is not here` : `the system bus refuses: ${connected.reason}`;
    return await readByCommand(machine, `firewalld runs, and ${why}`);
  }
  try {
    return await readThrough(new Questions(connected.bus));
  } catch (error) {
    const reason = reasonOf(error);
    const refused = /AccessDenied|NotAuthorized|not authorized|rejected/i.test(`${(error as { readonly name?: string }).name} ${reason}`);
    if (refused) return { outcome: 'failed', reason: `firewalld: ${reason} (it answers root, or those that a polkit rule lets in)` };
    return await readByCommand(machine, `firewalld: ${reason}`);
  } finally {
    await connected.bus.close();
  }
}

const absence = (connected: { readonly kind: 'absent' } | { readonly kind: 'failed'; readonly reason: string }): string =>
  connected.kind === 'absent' ? 'there is no system bus, and no firewalld runs' : `no firewalld runs (the system bus refuses: ${connected.reason})`;

async function readThrough(ask: Questions): Promise<Reading> {
  if ((await ask.bus('NameHasOwner', firewalldName)) !== true) return { outcome: 'absent', reason: 'firewalld is not running' };
  const [defaultZone, panic, version, active, names] = [
    String(await ask.runtime('', 'getDefaultZone')),
    await ask.runtime('', 'queryPanicMode'),
    await ask.property('version'),
    (await ask.runtime('.zone', 'getActiveZones')) as Settings,
    namesOf(await ask.runtime('.zone', 'getZones')),
  ];
  const zones = await inTurn(names.slice(0, zonesMax), async (name) =>
    zoneText(name, (await ask.runtime('.zone', 'getZoneSettings2', name)) as Settings, name in active),
  );
  const used = names.filter((name) => name in active || name === defaultZone);
  const permanent = await inTurn(used, async (name) => zoneText(name, await ask.permanentZone(name), false));
  const { policies, lacks } = await readPolicies(ask);
  const direct = directText({
    chains: await ask.runtime('.direct', 'getAllChains'),
    rules: await ask.runtime('.direct', 'getAllRules'),
    passthroughs: await ask.runtime('.direct', 'getAllPassthroughs'),
  });
  const state = stateText({ state: 'running', version, 'default-zone': defaultZone, panic, ...(await ask.configuration()) });
  const texts = [state, zones.join('\n'), permanent.join('\n'), policies, direct];
  return {
    outcome: 'facts',
    files: new Map(files.map((file, index) => [file, Buffer.from(texts[index] ?? '')])),
    commands: Object.fromEntries(files.map((file) => [file, `${firewalldName} on the system bus`])),
    ...(lacks === undefined ? {} : { lacks }),
  };
}

/** Zones and policies read; firewalld ships with nine zones and one policy. */
const zonesMax = 200;

// Policies came with firewalld 0.9.
async function readPolicies(ask: Questions): Promise<{ readonly policies: string; readonly lacks?: string }> {
  try {
    const active = (await ask.runtime('.policy', 'getActivePolicies')) as Settings;
    const names = namesOf(await ask.runtime('.policy', 'getPolicies')).slice(0, zonesMax);
    const texts = await inTurn(names, async (name) => policyText(name, (await ask.runtime('.policy', 'getPolicySettings', name)) as Settings, name in active));
    return { policies: texts.join('\n') };
  } catch (error) {
    return { policies: '', lacks: `policies (${reasonOf(error)})` };
  }
}

async function inTurn<Result>(names: readonly string[], read: (name: string) => Promise<Result>): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const name of names) results.push(await read(name));
  return results;
}

/** The questions that firewalld is asked, by where they go. */
class Questions {
  readonly #bus: Bus;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  bus(member: string, argument: string): Promise<unknown> {
    const to = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus' };
    return this.#bus.call({ ...to, member, signature: 's', body: [argument] });
  }

  runtime(part: '' | '.zone' | '.policy' | '.direct', member: string, argument?: string): Promise<unknown> {
    const to = { destination: firewalldName, path: firewalldPath, interface: `${firewalldName}${part}`, member };
    return this.#bus.call(argument === undefined ? to : { ...to, signature: 's', body: [argument] });
  }

  property(name: string): Promise<unknown> {
    const to = { destination: firewalldName, path: firewalldPath, interface: 'org.freedesktop.DBus.Properties', member: 'Get' };
    return this.#bus.call({ ...to, signature: 'ss', body: [firewalldName, name] });
  }

  async permanentZone(name: string): Promise<Settings> {
    const path = await this.#bus.call({ ...toConfiguration, interface: `${firewalldName}.config`, member: 'getZoneByName', signature: 's', body: [name] });
    const to = { destination: firewalldName, path: String(path), interface: `${firewalldName}.config.zone`, member: 'getSettings2' };
    return (await this.#bus.call(to)) as Settings;
  }

  async configuration(): Promise<Settings> {
    const to = { ...toConfiguration, interface: 'org.freedesktop.DBus.Properties', member: 'GetAll', signature: 's', body: [`${firewalldName}.config`] };
    const all = (await this.#bus.call(to)) as Settings;
    const [backend, flush, individual] = [all['FirewallBackend'], all['FlushAllOnReload'], all['CleanupOnExit']];
    return { backend, 'flush-all-on-reload': flush, 'cleanup-on-exit': individual };
  }
}

const toConfiguration = { destination: firewalldName, path: `${firewalldPath}/config` };
