// `portreeve token`: makes, lists and revokes the tokens that let agents enrol and clients ask.
import { failure } from '../../shared/errors.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputOption, type Parsed, serverOption, textOf } from '../command.ts';
import { tableText } from '../table.ts';
import { reachable } from './get.ts';

export const token: Command = {
  name: 'token',
  summary: 'make, list and revoke tokens of agents and clients',
  usage: 'create|list|revoke [ID]',
  description:
    'create --node NAME makes a join token: with it the agent of that node enrols, once. create --role ROLE makes a token for the API: view reads, operate also traces, asks agents for captures and makes join tokens, admin does everything. A token is shown once. revoke ID ends a token, revoke --node NAME the keys of a node.',
  places: [['create', 'list', 'revoke']],
  options: [
    { name: 'node', value: 'NAME', summary: 'the node that may enrol, or whose keys are revoked', names: 'node' },
    { name: 'role', value: 'ROLE', summary: 'what the token for the API allows', choices: ['view', 'operate', 'admin'] },
    { name: 'name', value: 'NAME', summary: 'whom the token for the API is made for, for the audit log' },
    { name: 'ttl', value: 'TIME', summary: 'how long it holds: 30m, 1h, 7d (default: 1h for --node, for ever for --role)' },
    { ...outputOption, choices: ['text', 'json'] },
    serverOption,
    ...accessOptions,
  ],
  examples: ['portreeve token create --node edge-7 --ttl 1h', 'portreeve token create --role view --name grafana', 'portreeve token revoke --node edge-7'],
  async run(parsed, io) {
    const [action, id, ...more] = parsed.positionals;
    if (more.length > 0) throw failure('USAGE', [`${more[0]}: too much; see portreeve token --help`]);
    if (action === 'create') return await reachable(io, () => create(parsed, io));
    if (action === 'list') return await reachable(io, () => list(parsed, io));
    if (action === 'revoke') return await reachable(io, () => revoke(parsed, io, id));
    throw failure('USAGE', ['create, list or revoke is wanted; see portreeve token --help']);
  },
};

const joinTtlMs = 3_600_000;

async function create(parsed: Parsed, io: Io): Promise<number> {
  const [node, role, name] = [textOf(parsed, 'node'), textOf(parsed, 'role'), textOf(parsed, 'name')];
  const ttlMs = ttlOf(textOf(parsed, 'ttl'));
  if ((node === undefined) === (role === undefined)) throw failure('USAGE', ['create wants --node NAME (an agent) or --role ROLE (a client)']);
  const body =
    node === undefined
      ? { kind: 'api', role, name: name ?? 'unnamed', ...(ttlMs === undefined ? {} : { ttlMs }) }
      : { kind: 'join', node, ttlMs: ttlMs ?? joinTtlMs };
  const made = await ask(serverOf(parsed), 'tokens', { method: 'POST', body });
  if (textOf(parsed, 'output') === 'json') io.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
  else {
    io.stdout.write(`${made.token}\n`);
    if (node !== undefined)
      io.stderr.write(
        `on ${node}: portreeve agent --collector wss://… --node ${node} --state DIR --join-token-file FILE   (valid once, until ${timeOf(made.expiresAt)})\n`,
      );
  }
  return 0;
}

async function list(parsed: Parsed, io: Io): Promise<number> {
  const answer = await ask(serverOf(parsed), 'tokens');
  const items = answer.items as readonly Readonly<Record<string, unknown>>[];
  if (textOf(parsed, 'output') === 'json') io.stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
  else
    io.stdout.write(
      tableText(
        ['ID', 'KIND', 'FOR', 'ROLE', 'MADE BY', 'UNTIL', 'STATE'],
        items.map((item) => [item.id, item.kind, item.name, item.role ?? '-', item.createdBy, timeOf(item.expiresAt), stateOf(item)].map(String)),
      ),
    );
  return 0;
}

async function revoke(parsed: Parsed, io: Io, id: string | undefined): Promise<number> {
  const node = textOf(parsed, 'node');
  if ((id === undefined) === (node === undefined)) throw failure('USAGE', ['revoke wants the ID of a token, or --node NAME']);
  await ask(serverOf(parsed), node === undefined ? `tokens/${encodeURIComponent(id as string)}` : `nodes/${encodeURIComponent(node)}/identity`, {
    method: 'DELETE',
  });
  io.stderr.write(node === undefined ? `${id} is revoked\n` : `the keys of ${node} are revoked, and its session is ended\n`);
  return 0;
}

function stateOf({ revokedAt, usedAt, expiresAt }: Readonly<Record<string, unknown>>): string {
  if (revokedAt !== null) return 'revoked';
  if (usedAt !== null) return 'used';
  return typeof expiresAt === 'number' && expiresAt <= Date.now() ? 'expired' : 'valid';
}

const timeOf = (at: unknown): string => (typeof at === 'number' ? new Date(at).toISOString().replace(/\.\d+Z$/, 'Z') : 'for ever');

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function ttlOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const found = /^(\d{1,6})([smhd])$/.exec(text);
  const ms = Number(found?.[1]) * (units[found?.[2] ?? ''] ?? Number.NaN);
  if (!(ms >= 60_000 && ms <= 366 * 86_400_000)) throw failure('USAGE', [`--ttl ${text}: a time from 1m to 366d is wanted, e.g. 30m, 1h, 7d`]);
  return ms;
}
