// What was made lately is found again, and no more is kept than was said.
import fc from 'fast-check';
import t from 'tap';
import { Recent } from '../../../shared/netfilter/recent.ts';

t.test('law: an item is found by its own number only, and the latest always', (t) => {
  const law = fc.property(fc.integer({ min: 0, max: 100 }), fc.array(fc.integer({ min: 1, max: 1000 })), (expected, numbers) => {
    const recent = new Recent<string>(expected, 16);
    for (const number of numbers) {
      recent.keep(number, `item ${number}`);
      if (recent.get(number) !== `item ${number}`) return false;
    }
    const found = Array.from({ length: 1001 }, (_, number) => recent.get(number));
    return found.every((item, number) => item === undefined || item === `item ${number}`) && found.filter((item) => item !== undefined).length <= 16;
  });
  t.equal(fc.defaultReportMessage(fc.check(law)) ?? '', '');
  t.end();
});

t.test('as many as are expected are all kept', (t) => {
  const recent = new Recent<number>(10, 1024);
  for (let number = 1; number <= 10; number++) recent.keep(number, number);
  t.same(
    Array.from({ length: 10 }, (_, index) => recent.get(index + 1)),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  t.end();
});
