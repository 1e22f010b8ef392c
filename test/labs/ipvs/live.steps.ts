// What is done to a node in IPVS mode, and what the collector must be told of it. That kernel has no BTF, so nobody can be named.
import type { SequencedChange } from '../../../shared/model/change.ts';

export interface Step {
  readonly name: string;
  readonly command: string;
  readonly subject: string;
  readonly before?: RegExp;
  readonly after?: RegExp;
}

/** What came of a step; no change: nothing came. */
export interface Heard {
  readonly name: string;
  readonly afterMs?: number;
  readonly change?: SequencedChange;
}

const service = 'ipvs -t 172.31.0.11:30080';

export const steps: readonly Step[] = [
  {
    name: 'a real server is removed',
    command: 'ipvsadm -d -t 172.31.0.11:30080 -r 10.244.2.11:8080',
    subject: service,
    before: /^-a -t 172\.31\.0\.11:30080 -r 10\.244\.2\.11:8080 -m -w 1$/,
  },
  {
    name: 'a real server is given no weight',
    command: 'ipvsadm -e -t 172.31.0.11:30080 -r 10.244.1.11:8080 -m -w 0',
    subject: service,
    before: /-r 10\.244\.1\.11:8080 -m -w 1$/,
    after: /-r 10\.244\.1\.11:8080 -m -w 0$/,
  },
  {
    name: 'a service is added',
    command: 'ipvsadm -A -t 172.31.0.11:30081 -s sh',
    subject: 'ipvs -t 172.31.0.11:30081',
    after: /^-A -t 172\.31\.0\.11:30081 -s sh/,
  },
  { name: 'all services are cleared', command: 'ipvsadm -C', subject: service, before: /-A -t 172\.31\.0\.11:30080 -s rr/ },
  {
    name: 'a rule of iptables-legacy',
    command: 'iptables-legacy -w -A FORWARD -s 192.0.2.0/24 -j DROP',
    subject: 'ip filter FORWARD',
    after: /-A FORWARD -s 192\.0\.2\.0\/24 -j DROP/,
  },
];
