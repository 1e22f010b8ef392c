// `portreeve top`: the broken NodePorts of the cluster in the terminal, worst first, drawn anew when something changes.
import type { FindingItem } from '../../collector/api/answers.ts';
import type { NodeItem } from '../../collector/api/views.ts';
import { actorText } from '../../shared/model/change.ts';
import { askForAll, listen, type Server, serverOf } from '../ask.ts';
import { accessOptions, type Command, flagOf, type Io, namespaceOf, namespaceOptions, type Parsed, serverOption } from '../command.ts';
import { printable, spanText } from '../table.ts';
import { reachable } from './get.ts';

export const top: Command = {
  name: 'top',
  summary: 'live view of broken NodePorts in the terminal',
  usage: '',
  description:
    'Findings, worst first, with their likely cause, since when, and who made the change before; drawn anew whenever something changes. Ctrl-C ends it. With --once, or where\n' +
    'standard output is no terminal, it is printed once. Exit code 0: all is well (or it was ended); 1 with --once: there are findings.',
  options: [{ name: 'once', summary: 'print it once and end' }, ...namespaceOptions, serverOption, ...accessOptions],
  examples: ['portreeve top', 'portreeve top --once -n shop'],
  run: (parsed, io) => reachable(io, () => run(parsed, io)),
};

/** What the screen shows. */
export interface Overview {
  readonly findings: readonly FindingItem[];
  readonly nodes: readonly NodeItem[];
  readonly view: { readonly objectsAgeMs: number | null; readonly stale: boolean; readonly doubts: readonly string[] };
  readonly now: number;
}

interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

async function run(parsed: Parsed, io: Io): Promise<number> {
  const [server, namespace] = [serverOf(parsed), namespaceOf(parsed)];
  const terminal = io.stdout as NodeJS.WriteStream;
  const ask = () => overviewOf(server, namespace);
  if (flagOf(parsed, 'once') || terminal.isTTY !== true) {
    const overview = await ask();
    io.stdout.write(`${screenLines(overview, { columns: terminal.columns ?? 160, rows: Number.MAX_SAFE_INTEGER, colour: io.colour }).join('\n')}\n`);
    return overview.findings.some(({ severity }) => severity !== 'info') ? 1 : overview.view.stale ? 5 : 0;
  }
  // The other screen of the terminal, without a cursor; whatever happens, the first comes back.
  io.stdout.write('\u001b[?1049h\u001b[?25l');
  try {
    return await live(server, io, ask);
  } finally {
    io.stdout.write('\u001b[?25h\u001b[?1049l');
  }
}

async function overviewOf(server: Server, namespace: string | undefined): Promise<Overview> {
  const [findings, nodes] = await Promise.all([askForAll(server, 'GET /findings', { query: { namespace } }), askForAll(server, 'GET /nodes', { query: {} })]);
  return {
    findings: findings.items as readonly FindingItem[],
    nodes: nodes.items as readonly NodeItem[],
    view: findings.view,
    now: Date.now(),
  };
}

const redrawMs = 1_000;
const settleMs = 150;

async function live(server: Server, io: Io, ask: () => Promise<Overview>): Promise<number> {
  const terminal = io.stdout as NodeJS.WriteStream;
  let overview = await ask();
  let error: unknown;
  const draw = (): void => {
    const { columns = 80, rows = 24 } = terminal;
    const lines = screenLines({ ...overview, now: Date.now() }, { columns, rows, colour: io.colour });
    io.stdout.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
  };
  const clock = setInterval(draw, redrawMs);
  terminal.on('resize', draw);
  let waiting: NodeJS.Timeout | undefined;
  try {
    draw();
    for await (const { event } of listen(server, 'live?events=finding-opened,finding-changed,finding-closed,node,nodeports,heartbeat,reset', io.signal)) {
      if (error !== undefined) throw error;
      waiting ??= setTimeout(
        () => {
          waiting = undefined;
          ask().then(
            (fresh) => {
              overview = fresh;
              draw();
            },
            (reason: unknown) => {
              error = reason;
            },
          );
        },
        event === 'heartbeat' ? 0 : settleMs,
      );
    }
  } finally {
    clearInterval(clock);
    clearTimeout(waiting);
    terminal.off('resize', draw);
  }
  return 0;
}

/** The lines of the screen, none longer than it is wide and no more than it is high. */
export function screenLines({ findings, nodes, view, now }: Overview, { columns, rows, colour }: Screen): string[] {
  const count = (severity: FindingItem['severity']): number => findings.filter((finding) => finding.severity === severity).length;
  const connected = nodes.filter(({ agent }) => agent === 'connected').length;
  const faulty = nodes.reduce((sum, { nodePorts }) => sum + nodePorts.fault, 0);
  const age = view.objectsAgeMs === null ? 'never read' : `${spanText(view.objectsAgeMs)} old`;
  const head = [
    `portreeve  ${new Date(now).toISOString().slice(11, 19)} UTC   agents ${connected}/${nodes.length}   cluster ${age}${view.stale ? ' (STALE)' : ''}`,
    `${count('error')} errors  ${count('warning')} warnings  ${count('info')} by design   ${faulty} NodePorts × nodes shut`,
    '',
  ];
  const told = findings.filter(({ severity }) => severity !== 'info');
  if (told.length === 0)
    return [...head, connected === 0 ? 'no agent is connected: nothing is known' : 'all NodePorts answer as they should', ...view.doubts].map((line) =>
      cut(line, columns),
    );
  const body = told.flatMap((finding) =>
    findingLines(finding, now).map((line, index) => (index === 0 ? paint(cut(line, columns), finding.severity, colour) : cut(line, columns))),
  );
  const room = Math.max(1, rows - head.length - 1);
  const shown = body.length <= room ? body : [...body.slice(0, room - 1), `… ${told.length} findings in all: portreeve get findings`];
  return [...head.map((line) => cut(line, columns)), ...shown];
}

function findingLines({ node, port, protocol, service, cause, severity, since, summary, actor, remedy }: FindingItem, now: number): string[] {
  const where = [node, port === 0 ? '' : `${port}/${protocol}`, service].filter((part) => part !== '').join('  ');
  const who = actor === undefined ? '' : `   ${actorText(actor)}`;
  return [
    `${severity === 'error' ? '✖' : '▲'} ${cause}  ${where}   ${since === undefined ? '' : `for ${spanText(now - since)}`}${who}`,
    `    ${summary}`,
    ...(remedy[0] === undefined ? [] : [`    ${remedy[0]}`]),
  ];
}

const cut = (raw: string, columns: number): string => {
  const text = printable(raw);
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
};
const paint = (text: string, severity: FindingItem['severity'], colour: boolean): string =>
  colour ? `\u001b[${severity === 'error' ? 31 : 33}m${text}\u001b[0m` : text;
