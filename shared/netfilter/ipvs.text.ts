// Writes virtual services and real servers as `ipvsadm -Sn` does, for people to recognise them and for remedies to name them.
import { type Family, formatAddress } from '../model/address.ts';
import type { IpvsMethod, IpvsServer, IpvsService } from './ipvs.parse.ts';

/** `-t 192.0.2.11:30080 -s rr -p 10800`, `-f 7 -6 -s sh`. */
export function serviceText(service: IpvsService): string {
  const persistent = service.persistentSeconds === undefined ? '' : ` -p ${service.persistentSeconds}`;
  return `${identityText(service)} -s ${service.scheduler}${persistent}`;
}

/** What names a service alone: `-t 192.0.2.11:30080`. */
export function identityText(service: IpvsService): string {
  if (service.fwmark !== undefined) return `-f ${service.fwmark}${service.family === 6 ? ' -6' : ''}`;
  return `${serviceOption.get(service.protocol) ?? '-t'} ${placeText(service)}`;
}

/** `10.244.1.5:8080`, `[fd00::5]:8080`. */
export const serverText = (server: IpvsServer): string => placeText(server);

/** The options of the three ways to a server. */
export const methodFlags: Readonly<Record<IpvsMethod, string>> = { masquerade: '-m', route: '-g', tunnel: '-i' };

const serviceOption: ReadonlyMap<number, string> = new Map([
  [6, '-t'],
  [17, '-u'],
  [132, '--sctp-service'],
]);

function placeText({ family, address, port }: { readonly family: Family; readonly address: bigint; readonly port: number }): string {
  const text = formatAddress(family, address);
  return `${family === 6 ? `[${text}]` : text}:${port}`;
}

/** What an answer of routing ends in on a node that has no route beyond its own links: it is not joined to the others, and little can be concluded from it. */
export const aloneText = 'the node has no route beyond its own links';
