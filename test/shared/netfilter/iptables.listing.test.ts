import t from 'tap';
import { dumpOfListing, listedChain } from '../../../shared/netfilter/iptables.listing.ts';

// As iptables 1.8.9 prints it, with -S CHAIN -v and with iptables-save -c.
const listed = `-P FORWARD ACCEPT -c 5 300
-A FORWARD -p tcp -m tcp --dport 2 -m comment --comment "a -c 1 2 \\"b\\" \\\\ c" -c 10 20 -j DROP
-A FORWARD -m comment --comment -c -c 0 0 -j LOG --log-prefix "x -c 3 4 "
-A FORWARD -p tcp -c 1 2
-A FORWARD -c 0 7 -g U
-A FORWARD -j NONE
`;
const saved = `*filter
:FORWARD ACCEPT [5:300]
[10:20] -A FORWARD -p tcp -m tcp --dport 2 -m comment --comment "a -c 1 2 \\"b\\" \\\\ c" -j DROP
[0:0] -A FORWARD -m comment --comment -c -j LOG --log-prefix "x -c 3 4 "
[1:2] -A FORWARD -p tcp
[0:7] -A FORWARD -g U
-A FORWARD -j NONE
COMMIT
`;

t.test('a listing as a dump', async (t) => {
  t.equal(dumpOfListing('filter', listed), saved);
  t.equal(dumpOfListing('nat', '-N U\n'), '*nat\n:U - [0:0]\nCOMMIT\n');
  t.equal(dumpOfListing('nat', 'what is this\n'), '*nat\nwhat is this\nCOMMIT\n');
});

t.test('the chain of a listing', async (t) => {
  t.equal(listedChain(listed), 'FORWARD');
  t.equal(listedChain('-N U\n-A U -j X\n'), 'U');
  t.equal(listedChain('-A U -j X\n'), undefined);
});
