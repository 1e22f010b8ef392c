// Values that are read from their bytes are those that their text says.
import fc from 'fast-check';
import t from 'tap';
import { formatAddress, parseAddress } from '../../../shared/model/address.ts';
import { Place } from '../../../shared/netfilter/iptables.places.ts';

/** The text within another one, as values stand in a rule. */
function placeOf(text: string): Place {
  const bytes = Buffer.from(`-x ${text} -y`);
  return new Place(bytes, 3, bytes.length - 3);
}

const check = (property: fc.IProperty<unknown>): string => fc.defaultReportMessage(fc.check(property as fc.IProperty<[unknown]>, { numRuns: 500 })) ?? '';

t.test('law: a chance is the number that its text says', (t) => {
  const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 24 });
  const law = fc.property(fc.constantFrom('0', '1'), digits, (whole, places) => {
    const value = Number(`${whole}.${places}`);
    return placeOf(`${whole}.${places}`).chance === (value <= 1 ? value : -1);
  });
  t.equal(check(law), '');
  for (const text of ['', '0', '0.', '.5', '2.0', '-0.5', '0x5', '0.5x', '1e-3', '0,5', '1.00000000001', '9.5', '/.5']) t.equal(placeOf(text).chance, -1, text);
  t.equal(placeOf('1.0').chance, 1);
  t.end();
});

t.test('law: addresses and ports are those of the text', (t) => {
  const address = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((value) => [value, formatAddress(4, BigInt(value))] as const);
  const port = fc.integer({ min: 0, max: 65535 });
  t.equal(check(fc.property(address, ([value, text]) => placeOf(`${text}/32`).host === value)), '');
  t.equal(check(fc.property(port, (value) => placeOf(String(value)).port === value)), '');
  t.equal(
    check(
      fc.property(address, port, ([value, text], number) => {
        const found = placeOf(`${text}:${number}`).endpoint;
        return found?.address === value && found.port === number;
      }),
    ),
    '',
  );
  const odd = fc.string({ unit: fc.constantFrom(...'0123456789./:-'), maxLength: 20 });
  const law = fc.property(odd, (text) => {
    const { host } = placeOf(text);
    return host === -1 ? !text.endsWith('/32') || parseAddress(text.slice(0, -3))?.family !== 4 : BigInt(host) === parseAddress(text.slice(0, -3))?.value;
  });
  t.equal(check(law), '', 'and nothing else is one');
  t.end();
});

t.test('other forms are left to the decoder', (t) => {
  for (const text of [
    '10.0.0.1',
    '10.0.0.0/8',
    '10.0.0.0/31',
    '256.0.0.1/32',
    '10.0.1/32',
    '10.0.0.0.1/32',
    '10..0.1/32',
    '10.0.0.1,10.0.0.2/32',
    '/32',
    '0010.0.0.1/32',
  ])
    t.equal(placeOf(text).host, -1, text);
  for (const text of ['', '65536', '123456', '80:90', 'http', '-1', '8o']) t.equal(placeOf(text).port, -1, text);
  for (const text of ['10.0.0.1', ':80', '10.0.0.1:', '10.0.0.1:80-90', '10.0.0.1-10.0.0.2:80', '[fd00::1]:80', '10.0.0.1:65536'])
    t.equal(placeOf(text).endpoint, undefined, text);
  t.end();
});

t.test('texts', (t) => {
  t.ok(placeOf('KUBE-MARK-MASQ').isText('KUBE-MARK-MASQ'));
  for (const text of ['KUBE-MARK-MAS', 'KUBE-MARK-MASQ2', 'KUBE-MARK-DROP', '']) t.notOk(placeOf('KUBE-MARK-MASQ').isText(text), text);
  t.ok(placeOf('!').isBang);
  for (const text of ['!!', 'x', '']) t.notOk(placeOf(text).isBang, text);
  t.notOk(new Place(Buffer.from('-x "!"'), 4, 5).isBang, 'in quotes it is a value');
  t.equal(placeOf('grün').text, 'grün');
  t.end();
});
