import t from 'tap';
import { isTakerEnd } from '../../../agent/monitors/sockets.parse.ts';

const lines = [
  ['tcp UNCONN 0      0      127.0.0.1:8080    0.0.0.0:*    ', true],
  ['udp UNCONN 0      -1     127.0.0.1:9090    0.0.0.0:*    ', true],
  ['tcp UNCONN 0      0          [::]:80          [::]:*', true],
  ['tcp UNCONN 1      0      127.0.0.1:45248 127.0.0.1:8080', false],
  ['', false],
  ['Netid State', false],
] as const;
for (const [line, expected] of lines) t.test(`end of a socket: ${line}`, async (t) => t.equal(isTakerEnd(line), expected));
