// What the agent's single executable runs first: unpacks what it carries into a directory of this user's own, and goes on with the agent, or with one of its programs.
const { createHash } = require('node:crypto');
const { chmodSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { getAsset } = require('node:sea');

const files = JSON.parse(getAsset('files.json', 'utf8'));
const directory = unpacked();
const [first = ''] = process.argv.slice(2);
// The agent starts its programs by the path of Node.js, which is this file.
const program = files.find(({ name }) => name.endsWith('.program.mjs') && join(directory, name) === first)?.name;
if (program !== undefined) process.argv.splice(2, 1);
globalThis.portreeveProgram = join(directory, program ?? 'agent.mjs');
createRequire(join(directory, 'start.mjs'))(join(directory, 'start.mjs'));

/** Named by what is in it, so that it is made once for each release. It holds code: one that others could write to is not used. */
function unpacked() {
  const name = `portreeve-${createHash('sha256').update(getAsset('files.json', 'utf8')).digest('hex').slice(0, 16)}`;
  for (const base of [process.env.XDG_RUNTIME_DIR, process.env.XDG_CACHE_HOME, process.env.HOME && join(process.env.HOME, '.cache')]) {
    if (!base) continue;
    const place = join(base, name);
    if (isOurs(place)) return place;
    try {
      mkdirSync(base, { recursive: true, mode: 0o700 });
      const made = unpackInto(mkdtempSync(`${place}.`));
      try {
        renameSync(made, place);
        return place;
      } catch {
        rmSync(made, { recursive: true, force: true });
        if (isOurs(place)) return place;
      }
    } catch {}
  }
  const alone = unpackInto(mkdtempSync(join(tmpdir(), `${name}.`)));
  process.on('exit', () => rmSync(alone, { recursive: true, force: true }));
  return alone;
}

function isOurs(place) {
  try {
    const { uid, mode } = lstatSync(place);
    return lstatSync(place).isDirectory() && uid === process.getuid() && (mode & 0o022) === 0;
  } catch {
    return false;
  }
}

function unpackInto(place) {
  chmodSync(place, 0o700);
  for (const { name, mode } of files) writeFileSync(join(place, name), new Uint8Array(getAsset(name)), { mode });
  // Loaded by require, it may not wait; what it imports may.
  writeFileSync(join(place, 'start.mjs'), 'import(globalThis.portreeveProgram);\n');
  return place;
}
