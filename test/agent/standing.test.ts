// How the agent says that it reads late: what is told, and how often.
import t from 'tap';
import { Degradation, degradedFact, type Standing } from '../../agent/standing.ts';

const second = 1_000;
const late = (pauseMs: number, share = 0.021): Standing => ({ paces: new Map(), share, pauseMs, bytes: 1e8 });
const well = late(0, 0.01);

t.test('all is well: there is no such fact', (t) => {
  t.equal(new Degradation().fact(well, 0), undefined);
  t.equal(degradedFact(well), undefined);
  t.end();
});

t.test('readings that wait now and then, each time for another while, are told of once a minute', (t) => {
  const degradation = new Degradation();
  const pauses = [150, 100, 0, 300, 0, 0, 250, 120, 0, 280];
  const told = Array.from({ length: 58 }, (_, index) => degradation.fact(late(pauses[index % pauses.length] as number), index * second));
  t.equal(new Set(told).size, 1);
  t.match(told[0], { key: 'reading/degraded', delayMs: 150 });
  t.match(degradation.fact(late(100), 61 * second), { delayMs: 300 }, 'then the longest pause since');
  t.end();
});

t.test('what is worse is told at once, and that it is over after a minute', (t) => {
  const degradation = new Degradation();
  degradation.fact(late(100), 0);
  t.match(degradation.fact(late(5_000), second), { delayMs: 5_000 });
  const more: Standing = { ...late(5_000), bytes: 1e9 };
  t.match(degradation.fact(more, 2 * second), { reason: /memory/ }, 'another reason');
  t.match(degradation.fact(well, 3 * second), { reason: /memory/ });
  t.equal(degradation.fact(well, 63 * second), undefined);
  t.end();
});
