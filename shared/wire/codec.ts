// Frames: one JSON message each, size-limited and schema-checked on both sides; a text frame is plain, a binary one compressed by zstd. The only place that knows
// the wire form.
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Compile, type Validator } from 'typebox/compile';
import { failure, type PortreeveError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isDeeperThan } from './depth.ts';
import { lastTextOfFact } from './fact.text.ts';
import { type AgentMessage, type CollectorMessage, fromAgent, fromCollector } from './messages.ts';

/** `size` is that of the text, in characters: a compressed frame is smaller. */
export type Decoded<Message> =
  | { readonly kind: 'message'; readonly message: Message; readonly size: number }
  | { readonly kind: 'malformed'; readonly error: PortreeveError };

/** How a frame came: `text` or `binary` of WebSocket. */
export type FrameForm = 'text' | 'binary';

/** What a side says in `capabilities` when it reads binary frames; to one that does not, frames are plain. */
export const zstdCapability = 'zstd';

/** Reads a frame that an agent sent. */
export const decodeFromAgent = (frame: string | Uint8Array, form: FrameForm = 'text'): Decoded<AgentMessage> =>
  decode<AgentMessage>({ frame, form }, agentChecks);

/** Reads a frame that a collector sent. */
export const decodeFromCollector = (frame: string | Uint8Array, form: FrameForm = 'text'): Decoded<CollectorMessage> =>
  decode<CollectorMessage>({ frame, form }, collectorChecks);

/**
 * Writes a message as a frame: text, or bytes that are to be sent as binary, where the peer reads zstd and compressing pays. Throws FRAME_TOO_LARGE past the
 * limits: the caller splits before.
 */
export function encode(message: AgentMessage | CollectorMessage, peer: readonly string[] = []): string | Buffer {
  const text = textOf(message);
  const bytes = Buffer.byteLength(text);
  if (bytes < limits.compressedBytesMin || !peer.includes(zstdCapability)) return within(text, bytes, limits.frameBytesMax);
  within(text, bytes, limits.messageBytesMax);
  // A fast level: frames are made while the agent watches.
  const frame = zstdCompressSync(text, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return within(frame, frame.length, limits.frameBytesMax);
}

/** As JSON. Facts are written out already, for their length. */
function textOf(message: AgentMessage | CollectorMessage): string {
  if (message.type !== 'state') return JSON.stringify(message);
  const { put, ...rest } = message;
  return `${JSON.stringify(rest).slice(0, -1)},"put":[${put.map(lastTextOfFact).join(',')}]}`;
}

function within<Frame>(frame: Frame, bytes: number, max: number): Frame {
  if (bytes > max) throw failure('FRAME_TOO_LARGE', [bytes, max]);
  return frame;
}

type Checks = ReadonlyMap<string, Validator>;
const compile = (schemas: Readonly<Record<string, object>>): Checks => new Map(Object.entries(schemas).map(([type, schema]) => [type, Compile(schema)]));
const agentChecks = compile(fromAgent);
const collectorChecks = compile(fromCollector);

function decode<Message>({ frame, form }: { readonly frame: string | Uint8Array; readonly form: FrameForm }, checks: Checks): Decoded<Message> {
  const bytes = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.byteLength;
  if (bytes > limits.frameBytesMax) return { kind: 'malformed', error: failure('FRAME_TOO_LARGE', [bytes, limits.frameBytesMax]) };
  const text = form === 'text' ? utf8Of(frame) : inflated(frame);
  if (typeof text !== 'string') return text;
  if (isDeeperThan(text, limits.messageDepthMax)) return malformed('JSON', `it is nested deeper than ${limits.messageDepthMax}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return malformed('JSON', (error as Error).message);
  }
  const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
  const check = typeof type === 'string' ? checks.get(type) : undefined;
  if (check === undefined) return malformed('unknown', `type is ${JSON.stringify(type)?.slice(0, 64) ?? 'missing'}`);
  if (check.Check(value)) return { kind: 'message', message: value as Message, size: text.length };
  const [first] = check.Errors(value);
  return malformed(String(type), `${first?.instancePath || '/'} ${first?.message ?? 'is not as the schema says'}`);
}

const utf8Of = (frame: string | Uint8Array): string =>
  typeof frame === 'string' ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString('utf8');

/** The text of a compressed frame. The output is bounded while it is made: a frame of a few bytes can stand for gigabytes. */
function inflated(frame: string | Uint8Array): string | { readonly kind: 'malformed'; readonly error: PortreeveError } {
  try {
    return zstdDecompressSync(frame, {
      maxOutputLength: limits.messageBytesMax,
      params: { [constants.ZSTD_d_windowLogMax]: limits.zstdWindowLogMax },
    }).toString('utf8');
  } catch (error) {
    const isLarge = (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE';
    return isLarge
      ? { kind: 'malformed', error: failure('FRAME_TOO_LARGE', [`more than ${limits.messageBytesMax}`, limits.messageBytesMax]) }
      : malformed('zstd', (error as Error).message);
  }
}

const malformed = (type: string, reason: string): { readonly kind: 'malformed'; readonly error: PortreeveError } => ({
  kind: 'malformed',
  error: failure('FRAME_INVALID', [type, reason]),
});
