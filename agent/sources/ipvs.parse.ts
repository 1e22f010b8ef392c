// Writes the kernel's own list of IPVS services as `ipvsadm -Sn` does, and tells that output from what else a program may print.
import { parseProcIpvs } from '../../shared/netfilter/ipvs.parse.ts';
import { identityText, methodFlags, serverText, serviceText } from '../../shared/netfilter/ipvs.text.ts';

/** Why an output cannot be that of `ipvsadm -Sn`; undefined when it can. */
export function rulesFault(output: Buffer): string | undefined {
  const text = output.subarray(0, 256).toString('latin1').trimStart();
  if (text === '') return undefined;
  if (!/^-[Aa] /.test(text)) return `it prints what is no list of services: ${JSON.stringify(text.split('\n')[0]?.slice(0, 80))}`;
  return output.at(-1) === 0x0a ? undefined : 'its list ends in the middle';
}

/** Whether /proc/net/ip_vs holds its headings alone. */
export const isEmptyProc = (text: string): boolean => !/^(?:TCP|UDP|SCTP|FWM) /m.test(text);

/**
 * /proc/net/ip_vs as `ipvsadm -Sn` prints it; undefined when a line of it is not understood. Persistence is counted there in ticks of the kernel, so many a
 * second; without that number it is written as if there were 250.
 */
export function fromProc(text: string, ticksPerSecond: number | undefined): string | undefined {
  const { services, issues } = parseProcIpvs(text, ticksPerSecond);
  if (issues.length > 0) return undefined;
  return services
    .map((service) => {
      const ops = service.flags.includes('ops') ? ' --ops' : '';
      const flags = service.flags.filter((flag) => flag !== 'ops');
      const scheduler = flags.length === 0 ? '' : ` -b ${flags.join(',')}`;
      const servers = service.servers.map(
        (server) => `-a ${identityText(service)} -r ${serverText(server)} ${methodFlags[server.method]} -w ${server.weight}\n`,
      );
      return `-A ${serviceText(service)}${ops}${scheduler}\n${servers.join('')}`;
    })
    .join('');
}
