// Serves the page: the files that `make web` has built, from memory, and the page itself for every address that is a view of it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/** One file of the page. */
interface PageFile {
  readonly body: Buffer;
  readonly type: string;
  readonly etag: string;
}

/** Where the page may stand: beside a bundle of the collector, or where a checkout builds it. */
const directories = [new URL('./web/', import.meta.url).pathname, new URL('../../dist/web/', import.meta.url).pathname];

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const notBuilt =
  'The page is not built: run "make web" in the checkout, or install a package, and start the collector again.\n' +
  'The API answers all the same: /api/v1, /openapi.json, and on the command line portreeve get findings.\n';

/** Adds the page's files, and `/`. Answers in `pageAnswer` are for addresses that nothing else answers. */
export function addPage(app: FastifyInstance): void {
  const files = pageFiles();
  for (const [path, file] of files)
    if (path !== '/index.html') app.get(path, { schema: { hide: true } }, (request, reply) => sendFile(request, reply, { file, keeps: true }));
  app.get('/', { schema: { hide: true } }, (request, reply) => sendPage(request, reply, files));
  app.decorate('pageFiles', files);
}

declare module 'fastify' {
  interface FastifyInstance {
    readonly pageFiles: ReadonlyMap<string, PageFile>;
  }
}

/** Whether an address that no resource has is one of the page's own, as a browser asks for it. */
export const isView = ({ method, url, headers }: FastifyRequest): boolean =>
  (method === 'GET' || method === 'HEAD') && !/^\/(?:api|agent|assets)(?:\/|\?|$)/.test(url) && /\btext\/html\b/.test(headers.accept ?? '');

/** The page for an address of a view; the page itself finds out which. */
export const sendView = (request: FastifyRequest, reply: FastifyReply): FastifyReply => sendPage(request, reply, request.server.pageFiles);

function sendPage(request: FastifyRequest, reply: FastifyReply, files: ReadonlyMap<string, PageFile>): FastifyReply {
  const file = files.get('/index.html');
  return file === undefined ? reply.code(503).type('text/plain; charset=utf-8').send(notBuilt) : sendFile(request, reply, { file, keeps: false });
}

/** `keeps`: the name says what is in it, so that it need never be asked for again. */
function sendFile(request: FastifyRequest, reply: FastifyReply, { file, keeps }: { readonly file: PageFile; readonly keeps: boolean }): FastifyReply {
  reply.header('etag', file.etag).header('cache-control', keeps ? 'public, max-age=31536000, immutable' : 'no-cache');
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send();
  return reply.type(file.type).send(file.body);
}

/** All files by their paths; none where the page is not built. Only sorts of files that a page is made of are taken. */
function pageFiles(): ReadonlyMap<string, PageFile> {
  for (const directory of directories) {
    const names = filesIn(directory);
    if (!names.includes('index.html')) continue;
    return new Map(
      names.flatMap((name) => {
        const type = types[extname(name)];
        return type === undefined ? [] : [[`/${name}`, fileOf(join(directory, name), type)] as const];
      }),
    );
  }
  return new Map();
}

function filesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true }).flatMap((entry) =>
      entry.isFile() ? [join(entry.parentPath, entry.name).slice(directory.length)] : [],
    );
  } catch {
    return [];
  }
}

function fileOf(path: string, type: string): PageFile {
  const body = readFileSync(path);
  return { body, type, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` };
}
