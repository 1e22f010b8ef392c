// Rules that stand at another place and do the same there: kube-proxy writes the chains that list all Services anew at each of its syncs, in the order of a Go map,
// which is another one each time. Pure.

/**
 * Lines of a chain, before and after, that only stand elsewhere among rules for other connections. Each is for one port, and maybe one address; before or behind rules
 * for others it does the same. Those that were moved past a rule that may match the same connections are not among them.
 */
export function harmlessMoves(before: readonly string[], after: readonly string[]): ReadonlySet<string> {
  const [was, is] = [targetsOf(before), targetsOf(after)];
  const open = new Set([...was, ...is].filter(({ target }) => target !== undefined && target.address === undefined).map(({ target }) => target?.port));
  const [earlier, later] = [placesOf(was, open), placesOf(is, open)];
  return new Set([...earlier].filter(([key, { places }]) => later.get(key)?.places === places).flatMap(([, { lines }]) => lines));
}

interface Target {
  /** Absent: connections to any address, or to a network. */
  readonly address?: string | undefined;
  /** `tcp 30080`. */
  readonly port: string;
}

interface Targeted {
  readonly line: string;
  readonly target: Target | undefined;
}

const ofOnePort = /^-A \S+ (?:-d (\S+)\/(?:32|128) )?(?:.* )?-p (tcp|udp|sctp) (?:.* )?--dport (\d+) /;

function targetsOf(lines: readonly string[]): readonly Targeted[] {
  return lines.map((line) => {
    const plain = line.replace(/"[^"]*"/g, '""');
    const found = plain.includes(' ! ') ? null : ofOnePort.exec(plain);
    return { line, target: found === null ? undefined : { address: found[1], port: `${found[2]} ${found[3]}` } };
  });
}

/** By what they are for: the lines and, as text, behind how many of the rules for anything each stands. `open` are ports that some rule is for whatever the address. */
function placesOf(rules: readonly Targeted[], open: ReadonlySet<string | undefined>): ReadonlyMap<string, { readonly lines: string[]; places: string }> {
  const found = new Map<string, { readonly lines: string[]; places: string }>();
  let others = 0;
  for (const { line, target } of rules) {
    if (target === undefined) {
      others++;
      continue;
    }
    const key = open.has(target.port) ? target.port : `${target.address} ${target.port}`;
    const known = found.get(key) ?? { lines: [], places: '' };
    known.lines.push(line);
    known.places += `${others} ${line}\n`;
    found.set(key, known);
  }
  return found;
}
