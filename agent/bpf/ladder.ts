// How much of what eBPF can tell is told on this node, and why not more: a ladder of four rungs, the best that holds is taken. Pure.
import type { SourceFact } from '../../shared/model/fact.ts';
import type { Wake } from '../sources/source.ts';
import type { HelloEvent, RefusedStartEvent } from './events.parse.ts';

/** What was found out, so far as it was. */
export interface Probes {
  /** `missing`: portreeve-bpf was not built or installed. */
  readonly program: 'there' | 'missing';
  readonly hello?: HelloEvent;
  readonly refused?: RefusedStartEvent;
  /** Why it does not run just now, though it could. */
  readonly ended?: string;
  /** Lines that it says beyond what is taken. */
  readonly flooded?: boolean;
  readonly audit: AuditProbe;
}

/** `on` means that its records are being read. Portreeve never switches auditing on: that slows every process down until the next boot. */
export type AuditProbe = { readonly kind: 'on' } | { readonly kind: 'off'; readonly reason: string } | { readonly kind: 'not-asked' };

/** From the best to the last. */
export type Rung = 'everything' | 'drops and processes' | 'audit' | 'monitors';

/** The rung that holds, and what is missing above it. */
export function rungOf(probes: Probes): { readonly rung: Rung; readonly reason?: string } {
  const { hello } = probes;
  if (hello === undefined || probes.ended !== undefined || hello.drops !== 'ok' || hello.exec !== 'ok') return withoutBpf(probes);
  if (hello.callsBy === 'none')
    return { rung: 'drops and processes', reason: `calls of iptables-legacy are not seen (${hello.calls}): its tables are read by the clock` };
  if (probes.flooded === true) return { rung: 'everything', reason: 'portreeve-bpf says more than can be taken: some of it is skipped' };
  if (hello.netlink === 'ok') return { rung: 'everything' };
  return { rung: 'everything', reason: `messages to ipset and IPVS are not seen (${hello.netlink}): of their changes only the tools are known that ran` };
}

function withoutBpf(probes: Probes): { readonly rung: Rung; readonly reason: string } {
  const why = `no eBPF: ${whyNot(probes)}`;
  if (probes.audit.kind === 'on') return { rung: 'audit', reason: `${why}; changes of rules are seen in the records of the kernel's audit` };
  const audit = probes.audit.kind === 'off' ? `; no audit: ${probes.audit.reason}` : '';
  return { rung: 'monitors', reason: `${why}${audit}; legacy tables, ipset and IPVS are read by the clock` };
}

function whyNot({ program, hello, refused, ended }: Probes): string {
  if (program === 'missing') return 'portreeve-bpf is not here ("make build" builds it)';
  if (refused !== undefined) return refusal(refused);
  if (ended !== undefined) return `portreeve-bpf ended: ${ended}`;
  if (hello !== undefined) return [hello.drops, hello.exec].filter((part) => part !== 'ok').join('; ');
  return 'portreeve-bpf has not answered yet';
}

function refusal({ stage, code, reason }: RefusedStartEvent): string {
  if (stage === 'btf')
    return code === 'ENOENT' ? 'no BTF: this kernel has no /sys/kernel/btf/vmlinux' : `no BTF: /sys/kernel/btf/vmlinux cannot be read (${code})`;
  if (code === 'EPERM' || code === 'EACCES') return `${code}: loading needs CAP_BPF and CAP_PERFMON (before Linux 5.8 CAP_SYS_ADMIN)`;
  return `${code === '' ? '' : `${code}: `}${reason}`;
}

/** Whether all changes of a thing are told, or some may go unseen. */
export type Told = 'certain' | 'mostly';

/**
 * What is told of by itself, so that it need not be read by the clock. Sets change without a message too: entries end with their time, and rules add some.
 */
export function toldBy(probes: Probes): ReadonlyMap<Wake, Told> {
  const { rung } = rungOf(probes);
  if (rung === 'audit') return new Map([['iptables-legacy', 'mostly']]);
  if (rung !== 'everything') return new Map();
  const how: Told = probes.flooded === true ? 'mostly' : 'certain';
  const messages: readonly (readonly [Wake, Told])[] =
    probes.hello?.netlink === 'ok'
      ? [
          ['ipset', 'mostly'],
          ['ipvs', how],
        ]
      : [];
  return new Map<Wake, Told>([['iptables-legacy', how], ...messages]);
}

/** The rung as the fact `source/ebpf`. */
export function ladderFact(probes: Probes): SourceFact {
  const { rung, reason } = rungOf(probes);
  const outcome = rung === 'everything' || rung === 'drops and processes' ? 'facts' : probes.program === 'missing' ? 'absent' : 'failed';
  return {
    kind: 'source',
    key: 'source/ebpf',
    source: 'ebpf',
    outcome,
    rung,
    ...(reason === undefined ? {} : { reason: reason.slice(0, 2_000) }),
    watch: rung === 'monitors' ? 'poll' : 'events',
  };
}
