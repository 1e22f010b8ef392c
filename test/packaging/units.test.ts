// The units of systemd as such: how exposed their services are, and that units, users and examples fit together.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import t from 'tap';
import { root } from '../../packaging/release.ts';
import { textOf, unitFiles } from './debs.ts';

/** The most exposed that a service may be, as `systemd-analyze security` counts it: 10 is nothing done, 0 cannot do anything. The README quotes them. */
const exposureMax: Readonly<Record<string, number>> = { 'portreeve-agent.service': 2.0, 'portreeve-collector.service': 1.5, 'portreeve-bpf@.service': 1.5 };

const analyze = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });

t.test('services are walled in', { skip: analyze.status === 0 ? false : 'systemd-analyze is not installed' }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-units-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  t.same(
    unitFiles().map((file) => basename(file)),
    Object.keys(exposureMax).sort(),
    'every service has a bound',
  );
  for (const file of unitFiles()) {
    const name = basename(file);
    copyFileSync(join(root, file), join(directory, name));
    const told = execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', join(directory, name)], {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(told)?.[1]);
    t.ok(exposure <= (exposureMax[name] as number), `${name}: ${exposure}, at most ${exposureMax[name]}`, { told });
    t.ok(textOf('README.md').includes(`| ${exposure.toFixed(1)} |`), `the README quotes ${exposure.toFixed(1)} for ${name}`);
  }
});

t.test('what V8 and the sources of the agent cannot do without is left open, and said', async (t) => {
  for (const file of unitFiles()) {
    const text = textOf(file);
    if (!file.includes('bpf')) t.notMatch(text, /^MemoryDenyWriteExecute=yes/m, `${file}: V8 writes machine code`);
    if (!file.includes('collector')) t.notMatch(text, /^(?:PrivateUsers=yes|ProcSubset=pid|PrivateNetwork=yes)/m, file);
    t.match(text, /^# Left out on purpose:$/m, `${file} says what is left out`);
  }
});

t.test('users and directories of the units are those of sysusers and tmpfiles', async (t) => {
  for (const side of ['agent', 'collector']) {
    const unit = textOf(`systemd/portreeve-${side}.service`);
    t.match(unit, new RegExp(`^User=portreeve-${side}$`, 'm'));
    t.match(unit, new RegExp(`^StateDirectory=portreeve/${side}$`, 'm'));
    t.match(textOf(`systemd/portreeve-${side}.sysusers.conf`), new RegExp(`^u +portreeve-${side} .*/var/lib/portreeve/${side}$`, 'm'));
    t.match(textOf(`systemd/portreeve-${side}.tmpfiles.conf`), new RegExp(`^d +/var/lib/portreeve/${side} +0700 portreeve-${side} portreeve-${side}`, 'm'));
  }
});
