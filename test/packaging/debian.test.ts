// The packages in a Debian 12 that holds nothing else, made for the test: apt finds all that they need, and they install, upgrade, go and are forgotten where no
// systemd runs (a machine that is being built).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { version } from '../../packaging/release.ts';
import { debNames, debObstacle, debOf } from './debs.ts';

t.setTimeout(300_000);
const hooks = '/usr/share/mmdebstrap/hooks/file-mirror-automount';
const obstacle = debObstacle('mmdebstrap', 'chroot') ?? (process.getuid?.() === 0 ? undefined : 'it takes root');

/** Run with the root of the new system; prints a line for each thing that holds. */
const script = `set -eu
root=$1
unset NODE_EXTRA_CA_CERTS
in_it() { chroot "$root" "$@"; }
[ "$(in_it portreeve --version)" = 'portreeve ${version}' ] && echo 'the command runs'
in_it portreeve-agent --help | grep -q 'watch this node' && echo 'the agent runs'
in_it getent passwd portreeve-agent portreeve-collector | grep -c nologin | grep -qx 2 && echo 'users are made'
[ "$(in_it stat -c '%a %U' /var/lib/portreeve/agent)" = '700 portreeve-agent' ] && echo 'directories are made'
in_it touch /var/lib/portreeve/agent/kept
echo '# ours' >>"$root/etc/portreeve/agent.env"
cp ${debNames.map((name) => `'${debOf(name)}'`).join(' ')} "$root/tmp/"
in_it sh -c 'dpkg --force-confold -i /tmp/*.deb' >/dev/null 2>&1 && [ -e "$root/var/lib/portreeve/agent/kept" ] && grep -q ours "$root/etc/portreeve/agent.env" && echo 'an upgrade keeps state and settings'
in_it dpkg -r portreeve-agent portreeve-collector portreeve >/dev/null 2>&1 && [ -e "$root/var/lib/portreeve/agent/kept" ] && [ ! -e "$root/usr/lib/portreeve" ] && echo 'removing keeps state'
in_it dpkg -P portreeve-agent portreeve-collector >/dev/null 2>&1
rm "$root"/tmp/*.deb
left=$(find "$root"/etc "$root"/usr "$root"/var/lib "$root"/run "$root"/lib "$root"/opt -iname '*portreeve*'; grep -h portreeve "$root"/etc/passwd "$root"/etc/group "$root"/etc/shadow || true)
[ -z "$left" ] && echo 'purging leaves nothing' || echo "left: $left"
`;

t.test('packages in a new Debian', { skip: obstacle ?? false }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-debian-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const hook = join(directory, 'hook');
  writeFileSync(hook, script);
  const includes = debNames.map((name) => `--include=${debOf(name)}`);
  const options = ['--mode=root', '--variant=minbase', '--format=null', `--hook-dir=${hooks}`, ...includes, `--customize-hook=bash ${hook} "$1"`];
  const ran = spawnSync('env', ['-u', 'NODE_OPTIONS', 'mmdebstrap', ...options, 'bookworm', '/dev/null'], { encoding: 'utf8', timeout: 280_000 });
  const told = `${ran.stdout}\n${ran.stderr}`;
  t.equal(ran.status, 0, 'apt installs them with what they need', { told });
  const wanted = [
    'the command runs',
    'the agent runs',
    'users are made',
    'directories are made',
    'an upgrade keeps state and settings',
    'removing keeps state',
    'purging leaves nothing',
  ];
  for (const line of wanted) t.ok(told.includes(line), line, { told });
});
