// Frames as text: one JSON message each, size-limited and schema-checked on both sides. The only place that knows the wire form.
import { Compile, type Validator } from 'typebox/compile';
import { failure, type PortreeveError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type AgentMessage, type CollectorMessage, fromAgent, fromCollector } from './messages.ts';

export type Decoded<Message> = { readonly kind: 'message'; readonly message: Message } | { readonly kind: 'malformed'; readonly error: PortreeveError };

/** Reads a frame that an agent sent. */
export const decodeFromAgent = (frame: string | Uint8Array): Decoded<AgentMessage> => decode<AgentMessage>(frame, agentChecks);

/** Reads a frame that a collector sent. */
export const decodeFromCollector = (frame: string | Uint8Array): Decoded<CollectorMessage> => decode<CollectorMessage>(frame, collectorChecks);

/** Writes a message as a frame. Throws FRAME_TOO_LARGE past the limit: the caller splits before. */
export function encode(message: AgentMessage | CollectorMessage): string {
  const frame = JSON.stringify(message);
  const bytes = Buffer.byteLength(frame);
  if (bytes > limits.frameBytesMax) throw failure('FRAME_TOO_LARGE', [bytes, limits.frameBytesMax]);
  return frame;
}

type Checks = ReadonlyMap<string, Validator>;
const compile = (schemas: Readonly<Record<string, object>>): Checks => new Map(Object.entries(schemas).map(([type, schema]) => [type, Compile(schema)]));
const agentChecks = compile(fromAgent);
const collectorChecks = compile(fromCollector);

function decode<Message>(frame: string | Uint8Array, checks: Checks): Decoded<Message> {
  const bytes = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.byteLength;
  if (bytes > limits.frameBytesMax) return { kind: 'malformed', error: failure('FRAME_TOO_LARGE', [bytes, limits.frameBytesMax]) };
  let value: unknown;
  try {
    value = JSON.parse(typeof frame === 'string' ? frame : Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString('utf8'));
  } catch (error) {
    return malformed('JSON', (error as Error).message);
  }
  const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
  const check = typeof type === 'string' ? checks.get(type) : undefined;
  if (check === undefined) return malformed('unknown', `type is ${JSON.stringify(type)?.slice(0, 64) ?? 'missing'}`);
  if (check.Check(value)) return { kind: 'message', message: value as Message };
  const [first] = check.Errors(value);
  return malformed(String(type), `${first?.instancePath || '/'} ${first?.message ?? 'is not as the schema says'}`);
}

const malformed = (type: string, reason: string): { readonly kind: 'malformed'; readonly error: PortreeveError } => ({
  kind: 'malformed',
  error: failure('FRAME_INVALID', [type, reason]),
});
