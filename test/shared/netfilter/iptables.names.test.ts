// Chains by name: found exactly when they were added, however many there are and whatever their hashes.
import fc from 'fast-check';
import t from 'tap';
import { ChainNames, type Name, NamesToFind, nameAt, namesAtOnce } from '../../../shared/netfilter/iptables.names.ts';
import { DumpText, hashOf, mixed } from '../../../shared/netfilter/iptables.text.ts';

/** Names in a text, a blank behind each. */
function textOf(words: readonly string[]): { readonly text: DumpText; readonly names: readonly Name[] } {
  const text = new DumpText(Buffer.from(words.map((word) => `${word} `).join('')));
  let start = 0;
  const names = words.map((word) => {
    const name = nameAt(text, start, start + Buffer.byteLength(word));
    start = name.end + 1;
    return name;
  });
  return { text, names };
}

/** Two names of one hash: for another beginning there are four bytes that lead back to the same hash, and some are letters. */
function twins(): readonly [string, string] {
  const bytesOf = (quad: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(quad);
    return bytes;
  };
  const after = (first: string): number => mixed(0, Buffer.from(first).readInt32LE());
  for (let i = 1000; i < 10_000; i++) {
    const end = bytesOf(Buffer.from('SVC-').readInt32LE() ^ after('KUBE') ^ after(String(i))).toString('latin1');
    if (/^[!-~]{4}$/.test(end)) return ['KUBESVC-', `${i}${end}`];
  }
  throw new Error('no name was found');
}

t.test('law: a name is found, one by one, many at once and by its string, exactly when it was added to the table', async (t) => {
  const word = fc.stringMatching(/^[AB]{1,3}$/);
  const table = fc.nat(40);
  const added = fc.array(fc.tuple(table, word), { maxLength: 200 });
  fc.assert(
    fc.property(added, fc.array(fc.tuple(table, word), { maxLength: 50 }), (added, asked) => {
      const all = [...added, ...asked];
      const { text, names } = textOf(all.map(([, word]) => word));
      const chains = new ChainNames(text, 1);
      const model = new Map<string, number>();
      for (const [i, [table, word]] of added.entries()) {
        const id = chains.add(table, names[i] as Name, i + 1);
        if (id !== (model.has(`${table} ${word}`) ? -1 : model.size)) return false;
        if (id >= 0) model.set(`${table} ${word}`, id);
      }
      const wanted = new NamesToFind(namesAtOnce);
      for (const [i, [table]] of all.entries()) wanted.push(table, names[i] as Name);
      chains.findAll(wanted);
      return all.every(([table, word], i) => {
        const id = model.get(`${table} ${word}`) ?? -1;
        const { start, end } = names[i] as Name;
        return chains.find(table, start, end) === id && wanted.found[i] === id && chains.named(table, word) === id;
      });
    }),
    { numRuns: 200 },
  );
  t.pass('held');
});

t.test('names of one hash are told apart', async (t) => {
  const [one, other] = twins();
  t.equal(hashOf(one), hashOf(other), `${one} and ${other}`);
  const { text, names } = textOf([one, other]);
  const chains = new ChainNames(text, 2);
  t.equal(chains.add(0, names[0] as Name, 1), 0);
  const absent = new NamesToFind(namesAtOnce);
  absent.push(0, names[1] as Name);
  chains.findAll(absent);
  t.same([chains.find(0, names[1]?.start ?? 0, names[1]?.end ?? 0), absent.found[0], chains.named(0, other)], [-1, -1, -1]);
  t.equal(chains.add(0, names[1] as Name, 2), 1);
  t.same([chains.named(0, one), chains.named(0, other)], [0, 1]);
});

t.test('thousands more chains than expected', async (t) => {
  const words = Array.from({ length: 5000 }, (_, i) => `KUBE-SEP-${i}`);
  const { text, names } = textOf([...words, 'KUBE-SEP-A']);
  const chains = new ChainNames(text, 10);
  for (const [i, name] of names.slice(0, -1).entries()) chains.add(i & 1, name, i + 1);
  t.equal(chains.length, 5000);
  t.ok(words.every((word, i) => chains.named(i & 1, word) === i && chains.named(1 - (i & 1), word) === -1));
  t.ok(words.every((word, i) => chains.text(i) === word && chains.lineOf(i) === i + 1 && chains.tableOf(i) === (i & 1)));
  t.equal(chains.named(0, 'KUBE-SEP-A'), -1);
});

t.test('a name of thousands of tables is found in those that have it', async (t) => {
  const { text, names } = textOf(['KUBE-SERVICES']);
  const [name] = names as [Name];
  const chains = new ChainNames(text, 10);
  for (let table = 0; table < 4000; table += 2) chains.add(table, name, 1);
  for (let table = 0; table < 4000; table += 200) {
    const wanted = new NamesToFind(namesAtOnce);
    for (let i = 0; i < 200; i++) wanted.push(table + i, name);
    chains.findAll(wanted);
    const one = Array.from({ length: 200 }, (_, i) => chains.find(table + i, name.start, name.end));
    const expected = Array.from({ length: 200 }, (_, i) => (i & 1 ? -1 : (table + i) / 2));
    t.strictSame([...wanted.found.subarray(0, 200)], expected);
    t.strictSame(one, expected);
  }
});

t.test('names beyond ASCII', async (t) => {
  const { text, names } = textOf(['kädde', 'ÿ']);
  const chains = new ChainNames(text, 2);
  chains.add(0, names[0] as Name, 1);
  t.same([chains.named(0, 'kädde'), chains.named(0, 'ÿ'), chains.named(1, 'kädde')], [0, -1, -1]);
});
