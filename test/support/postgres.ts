// A PostgreSQL server of the test's own: started in a temporary directory as an unprivileged user, listening on loopback, killed and promoted at will.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Why no server can be started here; undefined when one can. */
export function noPostgres(): string | undefined {
  if (binaries() === undefined) return 'PostgreSQL is not installed (apt-get install postgresql)';
  if (process.getuid?.() === 0 && account() === undefined) return 'there is no user postgres or nobody to run a server as';
  return undefined;
}

const versionsDirectory = '/usr/lib/postgresql';

function binaries(): string | undefined {
  if (!existsSync(versionsDirectory)) return undefined;
  const newest = readdirSync(versionsDirectory)
    .filter((name) => existsSync(join(versionsDirectory, name, 'bin', 'initdb')))
    .sort((a, b) => Number(a) - Number(b))
    .at(-1);
  return newest === undefined ? undefined : join(versionsDirectory, newest, 'bin');
}

/** The server refuses to run as root. */
function account(): { readonly uid: number; readonly gid: number } | undefined {
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = ['-u', '-g'].map((option) => Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })));
      if (uid !== undefined && gid !== undefined) return { uid, gid };
    } catch {
      // No such user here.
    }
  }
  return undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class TestPostgres {
  readonly #directory: string;
  readonly #binaries: string;
  readonly #as: { readonly uid?: number; readonly gid?: number };
  readonly port: number;
  #server: ChildProcess | undefined;
  #output = '';

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.port = port;
    this.#binaries = binaries() as string;
    this.#as = process.getuid?.() === 0 ? (account() ?? {}) : {};
  }

  /** A new server, or with `standbyOf` a standby that follows another. */
  static async start({ standbyOf }: { readonly standbyOf?: TestPostgres } = {}): Promise<TestPostgres> {
    const directory = mkdtempSync(join(tmpdir(), 'portreeve-postgres-'));
    const postgres = new TestPostgres(directory, await freePort());
    chmodSync(directory, 0o700);
    if (postgres.#as.uid !== undefined && postgres.#as.gid !== undefined) chownSync(directory, postgres.#as.uid, postgres.#as.gid);
    if (standbyOf === undefined)
      postgres.#tool('initdb', ['-D', postgres.#data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions']);
    else
      postgres.#tool('pg_basebackup', [
        '-h',
        '127.0.0.1',
        '-p',
        String(standbyOf.port),
        '-U',
        'postgres',
        '-D',
        postgres.#data,
        '-R',
        '-c',
        'fast',
        '--no-sync',
      ]);
    await postgres.restart();
    return postgres;
  }

  get #data(): string {
    return join(this.#directory, 'data');
  }

  /** `HOST:PORT`, as in a URL of several hosts. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  url(database = 'postgres'): string {
    return `postgres://postgres@${this.host}/${database}`;
  }

  sql(text: string, database = 'postgres'): string {
    return this.#tool('psql', ['-h', '127.0.0.1', '-p', String(this.port), '-U', 'postgres', '-d', database, '-Atqc', text]).trim();
  }

  /** A database of its own for one test. */
  newDatabase(name: string): string {
    this.sql(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  /** Starts it (again); resolves when it takes connections. */
  async restart(): Promise<void> {
    const settings = [
      'max_connections=60',
      'max_wal_senders=4',
      'shared_buffers=16MB',
      'wal_level=replica',
      'hot_standby=on',
      `unix_socket_directories=${this.#directory}`,
    ];
    const args = ['-D', this.#data, '-h', '127.0.0.1', '-p', String(this.port), ...settings.flatMap((setting) => ['-c', setting])];
    this.#server = spawn(join(this.#binaries, 'postgres'), args, { ...this.#as, cwd: this.#directory, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#server.stderr?.on('data', (chunk: Buffer) => {
      this.#output = `${this.#output}${chunk.toString()}`.slice(-20_000);
    });
    for (let tries = 0; tries < 200; tries++) {
      if (this.#server.exitCode !== null) throw new Error(`the server ended:\n${this.#output}`);
      try {
        this.sql('SELECT 1');
        return;
      } catch {
        await sleep(100);
      }
    }
    throw new Error(`the server takes no connections:\n${this.#output}`);
  }

  /** As a crash of the machine's PostgreSQL: all its processes at once. */
  async kill(): Promise<void> {
    const server = this.#server;
    if (server?.pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const children = childrenOf(server.pid);
    server.kill('SIGKILL');
    for (const pid of children) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended with its parent.
      }
    }
    await once(server, 'exit');
  }

  /** Makes a standby the primary. */
  promote(): void {
    this.#tool('pg_ctl', ['promote', '-D', this.#data, '-w']);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #tool(name: string, args: readonly string[]): string {
    return execFileSync(join(this.#binaries, name), args, {
      ...this.#as,
      cwd: this.#directory,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    });
  }
}

function childrenOf(pid: number): readonly number[] {
  try {
    return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}
