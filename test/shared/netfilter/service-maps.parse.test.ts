import fc from 'fast-check';
import t from 'tap';
import { parseServiceMaps } from '../../../shared/netfilter/service-maps.parse.ts';
import { ciliumMaps, type LookAlike, ndjson } from './service-maps.ts';

const frontends = (...maps: readonly LookAlike[]) => parseServiceMaps(ndjson(maps)).frontends;

t.test('Cilium: frontends, slots and backends of each version', async (t) => {
  for (const version of ['v1', 'v2', 'v3'] as const) {
    t.match(
      frontends(...ciliumMaps(4, version)),
      [
        {
          program: 'Cilium',
          map: 'cilium_lb4_services_v2',
          family: 4,
          address: 0xc0000_20bn & 0xffff_ffffn,
          port: 30080,
          protocols: [6],
          scope: 'external',
          nodePort: true,
          backends: [
            { address: 0x0af4_0105n, port: 8080 },
            { address: 0x0af4_0206n, port: 8080 },
          ],
        },
        { address: 'any', port: 30080, nodePort: true, scope: 'external' },
        { address: 0x0a60_000an, port: 80, nodePort: false },
      ],
      version,
    );
  }
});

t.test('IPv6', async (t) => {
  for (const version of ['v2', 'v3'] as const) {
    const [first] = frontends(...ciliumMaps(6, version));
    t.match(first, { family: 6, port: 30080, backends: [{ address: 0xfd00_0010_0244_0001_0000_0000_0000_0005n, port: 8080 }, {}] }, version);
  }
});

t.test('a layout that is not known is said', async (t) => {
  const cases: readonly LookAlike[] = [
    { name: 'cilium_lb4_services_v2', keySize: 16, valueSize: 12, entries: [] },
    { name: 'cilium_lb4_services_v3', keySize: 12, valueSize: 12, entries: [] },
    { name: 'cali_v4_nat_fe4', keySize: 16, valueSize: 24, entries: [] },
  ];
  for (const map of cases) {
    const { issues, unread, frontends: found } = parseServiceMaps(ndjson([map]));
    t.strictSame(found, []);
    t.match(issues, [{ reason: `the map ${map.name} has keys of ${map.keySize} and values of ${map.valueSize} bytes: a layout that is not known` }]);
    t.equal(unread.length, 1);
  }
});

t.test('what cannot be read, is cut or is no line is an issue', async (t) => {
  const lines = [
    '{"ev":"map-failed","pin":"/sys/fs/bpf/x","code":"EPERM","reason":"Operation not permitted"}',
    '{"ev":"map-end","pin":"/sys/fs/bpf/x","entries":1000000,"cut":true}',
    '{"ev":"entry","key":"00","value":"00"}',
    'nonsense',
    '{"ev":"end","maps":0}',
  ];
  t.match(parseServiceMaps(lines.join('\n')).issues, [
    { line: 1, reason: 'the map /sys/fs/bpf/x cannot be read: Operation not permitted' },
    { line: 2, reason: /more entries/ },
    { line: 3, reason: /size of its map/ },
    { line: 4, reason: /not a line/ },
  ]);
});

t.test('a backend that is not there is an issue, and nothing that was not read', async (t) => {
  const [services] = ciliumMaps(4, 'v3');
  const parsed = parseServiceMaps(ndjson([services as LookAlike]));
  t.match(parsed.frontends, [{ backends: [] }, {}, {}]);
  t.match(parsed.issues[0], { reason: /names backend 1, which no map of backends has/ });
  t.strictSame(parsed.unread, []);
});

t.test('no bytes throw', async (t) => {
  const maps = [...ciliumMaps(4, 'v3'), ...ciliumMaps(6, 'v3')];
  const byte = fc.nat(255);
  fc.assert(
    fc.property(fc.nat(maps.length - 1), fc.array(fc.tuple(byte, byte), { maxLength: 20 }), fc.boolean(), (which, changes, inKey) => {
      const map = maps[which] as LookAlike;
      const entries = map.entries.map(([key, value]) => {
        const bytes = Buffer.from(inKey ? key : value);
        for (const [at, to] of changes) bytes[at % bytes.length] = to;
        return inKey ? ([bytes, value] as const) : ([key, bytes] as const);
      });
      t.ok(Array.isArray(parseServiceMaps(ndjson(maps.map((each, i) => (i === which ? { ...each, entries } : each)))).frontends));
    }),
    { numRuns: 200 },
  );
  fc.assert(fc.property(fc.string(), (text) => parseServiceMaps(text).frontends.length === 0));
});
