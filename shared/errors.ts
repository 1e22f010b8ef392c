// The table of errors: a stable code and a sentence for a person that says what to do. Thrown at the edges, logged once at the top.

const table = {
  USAGE: (detail: string) => detail,
  INPUT_UNREADABLE: (file: string, reason: string) => `cannot read ${file}: ${reason}`,
  INPUT_INVALID: (where: string, reason: string) => `${where}: ${reason}`,
  CAPTURE_EMPTY: (directory: string) =>
    `${directory} holds no file of a capture (iptables-save.txt, nft.json, ip-addr.json …): give the directory that "portreeve capture --out" wrote`,
  CAPTURE_NODE_UNKNOWN: (directory: string) => `${directory} does not say which node it is of: add --node NAME or a capture.json`,
  TOOL_MISSING: (tool: string, hint: string) => `${tool} is not installed: ${hint}`,
  TOOL_FAILED: (command: string, reason: string) => `${command} failed: ${reason}`,
  COLLECTOR_UNREACHABLE: (url: string, reason: string) =>
    `no collector answers at ${url}: ${reason}. Start one with "portreeve collector" or name it with --server or PORTREEVE_SERVER`,
  AGENT_UNREACHABLE: (path: string, reason: string) =>
    `no agent answers at ${path}: ${reason}. Name its socket with --socket or its directory with --state, or read the sources once with --probe`,
  AGENT_REFUSED: (path: string, reason: string) => `the agent at ${path} does not answer: ${reason}`,
  COLLECTOR_REFUSED: (status: number, detail: string) => `the collector answered ${status}: ${detail}`,
  COLLECTOR_DENIED: (status: number, detail: string) => `the collector answered ${status}: ${detail}. Give a token with --token-file or PORTREEVE_TOKEN_FILE`,
  NO_DRAWING: (reason: string) => `the walk cannot be drawn: ${reason}`,
  FRAME_INVALID: (type: string, reason: string) => `malformed ${type} message: ${reason}`,
  FRAME_TOO_LARGE: (bytes: number | string, max: number) => `a message of ${bytes} bytes is over the limit of ${max}`,
  LISTEN_NEEDS_LOOPBACK: (host: string) => `${host} is not a loopback address: --no-auth and plain ws:/http: are accepted on loopback addresses only`,
  NODE_FOREIGN: (named: string, admitted: string) => `the agent was let in for ${admitted} and speaks for ${named}`,
  ENROLMENT_REFUSED: (reason: string) => `the collector does not take this agent: ${reason}`,
  ROOT_NEEDED: (what: string) => `${what} needs root (or CAP_NET_ADMIN)`,
  LEASE_LOST: (node: string) => `another replica of the collector owns ${node === '' ? 'the ledger of the cluster' : node} now`,
  STORE_FAILED: (file: string, reason: string) => `the store ${file} cannot be used: ${reason}`,
} as const;

export type ErrorCode = keyof typeof table;

/** An error of the table. `message` is the sentence; `cause` the error beneath, where there is one. */
export class PortreeveError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.name = 'PortreeveError';
    this.code = code;
  }
}

/** Makes an error of the table: `failure('INPUT_UNREADABLE', [file, reason])`. */
export function failure<Code extends ErrorCode>(code: Code, parts: Parameters<(typeof table)[Code]>, cause?: unknown): PortreeveError {
  const sentence = table[code] as (...parts: readonly unknown[]) => string;
  return new PortreeveError(code, sentence(...parts), cause);
}

/** The message of anything thrown. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
