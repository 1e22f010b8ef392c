// A Unix socket on which the agent answers questions of those who may read its state directory: one line of JSON in, one line of JSON out.
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { reasonOf } from '../../shared/errors.ts';

/** What a question is answered with; what it throws becomes `{ "error": … }`. */
export type Answerer = (question: Readonly<Record<string, unknown>>) => unknown;

export interface LocalSocket {
  readonly path: string;
  close(): Promise<void>;
}

const questionBytesMax = 4 * 1024;
const answerBytesMax = 16 * 1024 * 1024;
const questionTimeoutMs = 5_000;
const clientsMax = 8;

/**
 * Listens at the path with mode 0600; its directory is made if it is not there. A socket that nobody answers at is replaced. Rejects when another process
 * answers there, or the path cannot be used.
 */
export async function answerAt(path: string, answer: Answerer): Promise<LocalSocket> {
  if (isTooLong(path)) throw new Error(tooLong(path));
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if (await isAnswered(path)) throw new Error(`another agent answers at ${path}`);
  rmSync(path, { force: true });
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    clients.add(socket);
    socket.on('close', () => clients.delete(socket));
    serve(socket, answer);
  });
  server.maxConnections = clientsMax;
  await listen(server, path);
  return {
    path,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.destroy();
      await closed;
      rmSync(path, { force: true });
    },
  };
}

// The file is made by bind(2) with what the mask leaves: nobody else may connect even for a moment.
async function listen(server: Server, path: string): Promise<void> {
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => resolve());
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
  server.on('error', () => undefined);
}

function serve(socket: Socket, answer: Answerer): void {
  let text = '';
  let asked = false;
  socket.on('end', () => {
    if (!asked) socket.destroy();
  });
  socket.setTimeout(questionTimeoutMs, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
    if (Buffer.byteLength(text) > questionBytesMax) socket.destroy();
    else if (text.includes('\n')) {
      asked = true;
      socket.pause();
      void reply(text, answer).then((line) => socket.end(line));
    }
  });
}

async function reply(text: string, answer: Answerer): Promise<string> {
  try {
    const question: unknown = JSON.parse(text.slice(0, text.indexOf('\n')));
    if (typeof question !== 'object' || question === null) throw new Error('a question is a JSON object');
    return `${JSON.stringify(await answer(question as Record<string, unknown>))}\n`;
  } catch (error) {
    return `${JSON.stringify({ error: reasonOf(error) })}\n`;
  }
}

// The kernel keeps the path in 108 bytes, with a zero at the end.
const pathBytesMax = 107;
const isTooLong = (path: string): boolean => Buffer.byteLength(path) > pathBytesMax;
const tooLong = (path: string): string => `${path} is longer than the ${pathBytesMax} bytes that a socket's path may have: name a shorter one with --socket`;

/** `absent`: nobody answers at the path. */
export type LocalAnswer =
  | { readonly kind: 'answer'; readonly value: Readonly<Record<string, unknown>> }
  | { readonly kind: 'absent'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

/** Asks whoever answers at the path. Never rejects. */
export async function askAt(path: string, question: Readonly<Record<string, unknown>>, timeoutMs = 30_000): Promise<LocalAnswer> {
  if (isTooLong(path)) return { kind: 'failed', reason: tooLong(path) };
  return await new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = createConnection(path);
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    socket.on('connect', () => socket.write(`${JSON.stringify(question)}\n`));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > answerBytesMax) socket.destroy(new Error(`the answer has more than ${answerBytesMax} bytes`));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const absent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTDIR';
      resolve({ kind: absent ? 'absent' : 'failed', reason: error.code === 'EACCES' ? `${path} is for another user` : reasonOf(error) });
    });
    socket.on('end', () => resolve(readAnswer(Buffer.concat(chunks).toString('utf8'))));
  });
}

function readAnswer(text: string): LocalAnswer {
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    return typeof value['error'] === 'string' ? { kind: 'failed', reason: value['error'] } : { kind: 'answer', value };
  } catch {
    return { kind: 'failed', reason: 'what answers is no agent' };
  }
}

const isAnswered = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
