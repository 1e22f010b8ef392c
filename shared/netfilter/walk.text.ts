// Puts a walk into words: one line for each rule that a packet met, the deciding one marked; and an outcome as one line.
import type { Decider, Outcome } from '../model/outcome.ts';
import type { Station } from './packet.ts';
import type { Walk } from './walk.ts';

/** The branches of a traced walk as text, one paragraph for each. */
export function walkText(walked: Walk): string {
  const paragraphs = walked.branches.map(({ stations, outcome }, index) => {
    const title = walked.branches.length === 1 ? outcomeText(outcome) : `way ${index + 1} of ${walked.branches.length}: ${outcomeText(outcome)}`;
    return [title, ...stations.flatMap((station) => stationText(station, outcome)), ...endText(outcome)].join('\n');
  });
  return `${paragraphs.join('\n\n')}\n`;
}

/** `forward to 10.244.1.11:8080, source replaced, 50 % of new connections`. */
export function outcomeText(outcome: Outcome): string {
  const parts = [
    verdictText(outcome),
    outcome.masquerade ? 'source address replaced' : undefined,
    outcome.weight === 1 ? undefined : `${percent(outcome.weight)} of new connections`,
    outcome.reply === undefined ? undefined : `but the answer is lost (${outcome.reply.verdict}: ${outcome.reply.decidedBy?.text ?? 'unknown'})`,
    outcome.later === undefined
      ? undefined
      : `but later packets of the client are lost (${outcome.later.verdict}: ${outcome.later.decidedBy?.text ?? 'unknown'})`,
    outcome.unless === undefined ? undefined : `unless it depends on: ${outcome.unless.map((decider) => placed(decider)).join('; ')}`,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}

function verdictText(outcome: Outcome): string {
  const to = outcome.dnat === null ? '' : ` to ${outcome.dnat}`;
  switch (outcome.verdict) {
    case 'forward':
      return `forward${to}`;
    case 'local':
      return `local${to}`;
    case 'refused':
      return `refused${to === '' ? '' : ` (translated${to})`}`;
    case 'drop':
      return `drop${to === '' ? '' : ` (translated${to})`}`;
    case 'reject':
      return `reject with ${outcome.rejectWith}${to === '' ? '' : ` (translated${to})`}`;
    case 'unknown':
      return 'unknown';
  }
}

const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;

/** `ip filter FORWARD rule 1: -A FORWARD …`. */
export function placed(decider: Decider): string {
  if (decider.chain === undefined) return decider.text;
  const rule = decider.rule === undefined ? '' : ` rule ${decider.rule}`;
  return `${decider.family} ${decider.table} ${decider.chain}${rule}: ${decider.text}`;
}

function stationText(station: Station, outcome: Outcome): readonly string[] {
  switch (station.kind) {
    case 'hook':
      return [`  ${station.hook.toUpperCase()}  ${station.text}`];
    case 'chain':
      return [
        `  ${station.hook.toUpperCase().padEnd(12)} ${String(station.priority).padStart(5)}  ${station.backend} ${station.family} ${station.table} ${station.chain}`,
      ];
    case 'route':
      return [`  ${'ROUTE'.padEnd(12)}        ${station.text}`];
    case 'policy':
      return [`  ${''.padEnd(20)} ${station.decider.text}${decides(station.decider, outcome)}`];
    case 'rule': {
      const { decider } = station;
      const counted = decider.packets === undefined ? '' : `; ${decider.packets} packet${decider.packets === '1' ? '' : 's'} so far`;
      const place = decider.chain === undefined ? '' : `${decider.chain} ${decider.rule}: `;
      return [`  ${''.padEnd(20)} ${place}${decider.text}  [${station.effect}${station.certain ? '' : ', perhaps'}${counted}]${decides(decider, outcome)}`];
    }
  }
}

const decides = (decider: Decider, outcome: Outcome): string => {
  const by = outcome.decidedBy;
  const same =
    by !== undefined &&
    by.text === decider.text &&
    by.chain === decider.chain &&
    by.rule === decider.rule &&
    by.table === decider.table &&
    by.family === decider.family;
  return same && outcome.verdict !== 'forward' ? '   ◄ decides' : '';
};

/** What decided where it is no rule: a socket, a route, a setting. */
function endText(outcome: Outcome): readonly string[] {
  const by = outcome.decidedBy;
  if (by === undefined || by.by === 'policy') return [];
  if (by.by === 'rule' && (by.chain !== undefined || outcome.verdict === 'forward'))
    return outcome.verdict === 'drop' || outcome.verdict === 'reject' ? [`  decided by ${placed(by)}`] : [];
  return [`  ${outcome.verdict === 'forward' ? 'leaves by' : 'decided by'}: ${by.text}`];
}
