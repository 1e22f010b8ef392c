// The commands in the order of the help: daemons, this node, captures, questions to a collector, the shell. A new command is one file and one line here.

import { failure } from '../../shared/errors.ts';
import type { Command } from '../command.ts';

/** A command as the help lists it; its code is loaded only when it is run. */
export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<object>;
}

export const entries: readonly Entry[] = [
  { name: 'agent', summary: 'watch this node and stream its state and changes to the collector', load: () => import('./agent.ts') },
  { name: 'collector', summary: 'run the collector', load: () => import('./collector.ts') },
  { name: 'capture', summary: "write this node's capture, or that of a live node", load: () => import('./capture.ts') },
  { name: 'parse', summary: 'parse a dump of rules', load: () => import('./parse.command.ts') },
  { name: 'trace', summary: 'walk packets through the rules of a capture, or of a live node', load: () => import('./trace.ts') },
  { name: 'reach', summary: 'say for every NodePort of a capture which sources get in', load: () => import('./reach.ts') },
  { name: 'check', summary: 'compare a capture with cluster objects and diagnose', load: () => import('./check.ts') },
  { name: 'lint', summary: 'check how NodePorts are used, and list whom each belongs to', load: () => import('./lint.ts') },
  { name: 'explain', summary: 'ask the collector why a NodePort does not answer', load: () => import('./explain.ts') },
  {
    name: 'get',
    summary: 'list nodes, nodeports, findings, changes, services, incidents, the register, gaps, coverage or replicas of a collector',
    load: () => import('./get.ts'),
  },
  { name: 'top', summary: 'live view of broken NodePorts in the terminal', load: () => import('./top.ts') },
  { name: 'watch', summary: 'print findings, changes and agents as they come and go', load: () => import('./watch.ts') },
  { name: 'timeline', summary: 'show changes and findings in order of time', load: () => import('./timeline.ts') },
  { name: 'incident', summary: 'report that a Service could not be reached, and get the likely causes', load: () => import('./incident.ts') },
  { name: 'token', summary: 'make, list and revoke tokens of agents and clients', load: () => import('./token.ts') },
  { name: 'config', summary: 'show which settings are in force and where each comes from', load: () => import('./config.ts') },
  { name: 'completion', summary: 'print the completion script of a shell', load: () => import('./completion.ts') },
  { name: 'man', summary: 'print the manual pages', load: () => import('./man.ts') },
];

/** Loads one command: the export of its file that carries its name. */
export async function loadCommand(entry: Entry): Promise<Command> {
  const exports = Object.values(await entry.load());
  const found = exports.find((value) => isCommand(value) && value.name === entry.name);
  if (found === undefined) throw failure('USAGE', [`the command ${entry.name} is not part of this build`]);
  return found as Command;
}

/** Loads all commands in order: for completion, the manual page and tests. */
export const loadCommands = (): Promise<Command[]> => Promise.all(entries.map(loadCommand));

const isCommand = (value: unknown): value is Command => typeof value === 'object' && value !== null && 'run' in value && 'options' in value && 'name' in value;
