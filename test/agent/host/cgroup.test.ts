// What is said of the control group that readers run in.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import t from 'tap';
import { groupDirectory, groupText } from '../../../agent/host/cgroup.ts';

const mounts = '24 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n25 30 0:24 / /proc rw - proc proc rw\n';

t.test('where it is', async (t) => {
  const own = '0::/system.slice/portreeve-agent.service\n';
  t.equal(groupDirectory(own, mounts), '/sys/fs/cgroup/system.slice/portreeve-agent.service');
  t.equal(groupDirectory(`4:memory:/x\n${own}`, mounts), '/sys/fs/cgroup/system.slice/portreeve-agent.service', 'beside older hierarchies');
  t.equal(groupDirectory('0::/\n', mounts), '/sys/fs/cgroup', 'in a container');
  t.equal(groupDirectory('0::/kubepods/pod1/c1\n', mounts.replace('0:23 / ', '0:23 /kubepods/pod1 ')), '/sys/fs/cgroup/c1');
  t.equal(groupDirectory('4:memory:/x\n', mounts), undefined);
  t.equal(groupDirectory(own, ''), undefined);
});

t.test('what it allows', async (t) => {
  const path = '/system.slice/portreeve-agent.service';
  t.equal(
    groupText(path, { weight: '20\n', max: '100000 100000\n' }),
    `in the control group ${path}, as the agent: weight 20 (100 is usual), at most 100 % of a core`,
  );
  t.equal(groupText(path, { weight: '20\n', max: 'max 100000\n' }), `in the control group ${path}, as the agent: weight 20 (100 is usual)`);
  t.match(groupText(path, { weight: '', max: '' }), /has no share of the processor of its own$/);
  t.equal(groupText('/', { weight: '', max: '' }), 'in no control group of their own');
  t.equal(groupText(undefined, { weight: '', max: '' }), 'in no control group of their own');
});

t.test('a real one', async (t) => {
  const root = groupDirectory('0::/\n', readFileSync('/proc/self/mountinfo', 'utf8'));
  const name = `portreeve-test-${process.pid}`;
  try {
    if (root === undefined || !existsSync(root)) throw new Error('no unified hierarchy is mounted');
    mkdirSync(`${root}/${name}`);
  } catch (error) {
    t.comment(`SKIPPED: no control group can be made here: ${(error as Error).message}`);
    return t.pass('not tested', { skip: 'no control group can be made here' });
  }
  t.teardown(() => rmdirSync(`${root}/${name}`));
  const program = `import { readersText } from ${JSON.stringify(new URL('../../../agent/host/cgroup.ts', import.meta.url).href)};
    import { writeFileSync } from 'node:fs';
    writeFileSync(${JSON.stringify(`${root}/${name}/cgroup.procs`)}, String(process.pid));
    process.stdout.write(await readersText());`;
  const { stdout } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program], { encoding: 'utf8' });
  t.match(stdout, new RegExp(`^nice \\d+; in the control group \\S*/${name}, as the agent`));
});
