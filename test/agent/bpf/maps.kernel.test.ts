// Pinned maps that look like those of Cilium and Calico, made with bpftool in a file system of their own: read, found by name, and turned into facts.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { bpfProgram } from '../../../agent/host/bpf.ts';
import { thisMachine } from '../../../agent/host/machine.ts';
import { serviceMaps } from '../../../agent/sources/service-maps.ts';
import { parseServiceMaps, serviceMapNames } from '../../../shared/netfilter/service-maps.parse.ts';
import { calicoMaps, ciliumMaps, type LookAlike, ndjson } from '../../shared/netfilter/service-maps.ts';
import { noBpf, run } from './program.ts';

/** Pins maps in a directory of a mounted bpffs. */
function pin(directory: string, maps: readonly LookAlike[]): void {
  mkdirSync(directory, { recursive: true });
  const hex = (bytes: Buffer): string => (bytes.toString('hex').match(/../g) ?? []).join(' ');
  for (const { name, keySize, valueSize, entries, type = 'hash' } of maps) {
    const path = join(directory, name);
    const flags = type === 'lpm_trie' ? ['flags', '1'] : [];
    run(
      'bpftool',
      'map',
      'create',
      path,
      'type',
      type,
      'key',
      String(keySize),
      'value',
      String(valueSize),
      'entries',
      '1024',
      'name',
      name.slice(0, 15),
      ...flags,
    );
    const batch = entries.map(([key, value]) => `map update pinned ${path} key hex ${hex(key)} value hex ${hex(value)}\n`).join('');
    execFileSync('bpftool', ['batch', 'file', '-'], { input: batch, stdio: ['pipe', 'ignore', 'pipe'] });
  }
}

const read = (directory: string): string => run(bpfProgram() as string, 'maps', '--dir', directory, ...serviceMapNames);

// Maps are pinned in a mount that nobody else sees and that goes with this process.
async function tests(): Promise<void> {
  const root = process.env.PORTREEVE_TEST_BPFFS as string;
  run('mount', '-t', 'bpf', 'bpf', root);
  const layouts: readonly (readonly [string, readonly LookAlike[]])[] = [
    ['cilium-v1', ciliumMaps(4, 'v1')],
    ['cilium-v2', ciliumMaps(4, 'v2')],
    ['cilium-v3', ciliumMaps(4, 'v3')],
    ['cilium6-v2', ciliumMaps(6, 'v2')],
    ['cilium6-v3', ciliumMaps(6, 'v3')],
    ['calico-1', calicoMaps(4, 1)],
    ['calico-2', calicoMaps(4, 2)],
    ['calico-3', calicoMaps(4, 3)],
    ['calico6-3', calicoMaps(6, 3)],
  ];
  for (const [name, maps] of layouts) {
    await t.test(name, async (t) => {
      const directory = join(root, name, 'tc', 'globals');
      pin(directory, maps);
      // A trie and a hash table give their entries in orders of their own.
      const sorted = (text: string) =>
        parseServiceMaps(text)
          .frontends.map((each) => JSON.stringify(each, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
          .sort();
      const output = read(join(root, name));
      t.strictSame(parseServiceMaps(output).issues, []);
      t.ok(sorted(output).length > 0);
      t.strictSame(sorted(output), sorted(ndjson(maps)));
    });
  }

  await t.test('a layout that is not known, and a map that is of no interest', async (t) => {
    const directory = join(root, 'other');
    pin(directory, [
      { name: 'cilium_lb4_services_v2', keySize: 20, valueSize: 12, entries: [] },
      { name: 'cilium_metrics', keySize: 8, valueSize: 8, entries: [] },
    ]);
    const output = read(directory);
    t.notMatch(output, /cilium_metrics/);
    t.match(parseServiceMaps(output).unread, ['the map cilium_lb4_services_v2 has keys of 20 and values of 12 bytes: a layout that is not known']);
  });

  await t.test('more entries than one call reads', async (t) => {
    const entries = Array.from({ length: 5_000 }, (_, i) => {
      const key = Buffer.alloc(12);
      key.writeUInt32BE(i, 0);
      return [key, Buffer.alloc(12)] as const;
    });
    const directory = join(root, 'large');
    mkdirSync(directory);
    const path = join(directory, 'cilium_lb4_services_v2');
    run('bpftool', 'map', 'create', path, 'type', 'hash', 'key', '12', 'value', '12', 'entries', '65536', 'name', 'large');
    const batch = entries
      .map(([key]) => `map update pinned ${path} key hex ${(key.toString('hex').match(/../g) ?? []).join(' ')} value hex ${'00 '.repeat(12)}\n`)
      .join('');
    execFileSync('bpftool', ['batch', 'file', '-'], { input: batch, stdio: ['pipe', 'ignore', 'pipe'], maxBuffer: 1 << 26 });
    const start = performance.now();
    const output = read(directory);
    t.comment(`${(performance.now() - start).toFixed(0)} ms`);
    t.equal(output.split('\n').filter((line) => line.startsWith('{"ev":"entry"')).length, 5_000);
    t.equal(new Set(output.split('\n')).size, output.split('\n').length, 'none is told twice');
  });

  await t.test('maps are opened for reading alone', async (t) => {
    const trace = run('sh', '-c', `strace -f -e trace=bpf ${bpfProgram()} maps --dir ${join(root, 'cilium-v3')} cilium_lb4 2>&1 >/dev/null || true`);
    if (!trace.includes('BPF_OBJ_GET')) return t.comment('strace is not here to see it');
    t.match(trace, /BPF_OBJ_GET, \{[^}]*file_flags=BPF_F_RDONLY/);
    t.notMatch(trace, /UPDATE|DELETE|PIN/);
  });

  await t.test('a directory that is no file system of BPF', async (t) => {
    t.match(parseServiceMaps(read(tmpdir())).issues, [{ reason: /cannot be read/ }]);
  });

  await t.test('as a source of the agent', async (t) => {
    const machine = thisMachine(new AbortController().signal);
    t.match(await serviceMaps.read(machine, new Map()), { outcome: 'absent', reason: /no map of Services is pinned/ });
    run('mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf');
    pin('/sys/fs/bpf/tc/globals', ciliumMaps(4, 'v3'));
    const reading = await serviceMaps.read(machine, new Map());
    if (reading.outcome !== 'facts') throw new Error(reading.reason);
    const again = await serviceMaps.read(machine, new Map());
    t.match(again, { files: reading.files });
    t.equal(parseServiceMaps(reading.files.get('service-maps.ndjson')?.toString() ?? '').frontends.length, 3);
    pin('/sys/fs/bpf/tc/globals', [{ name: 'cilium_lb6_services_v7', keySize: 4, valueSize: 4, entries: [] }]);
    t.match(await serviceMaps.read(machine, new Map()), { outcome: 'facts', unread: /cilium_lb6_services_v7 .* a layout that is not known/ });
  });
}

if (noBpf !== false) {
  t.comment(`SKIPPED: ${noBpf}`);
  t.pass('not tested', { skip: noBpf });
} else if (process.env.PORTREEVE_TEST_BPFFS !== undefined) await tests();
else {
  const root = mkdtempSync(join(tmpdir(), 'portreeve-bpffs-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const env = { ...process.env, PORTREEVE_TEST_BPFFS: root };
  await t.spawn('unshare', ['-m', '--propagation', 'private', process.execPath, fileURLToPath(import.meta.url)], { env }, 'in a mount namespace');
}
