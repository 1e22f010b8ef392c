// A small agent for tests: speaks the protocol over a real WebSocket and keeps what it is told.
import WebSocket from 'ws';
import type { SequencedChange } from '../../../shared/model/change.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import type { AgentMessage, CollectorMessage, Hello } from '../../../shared/wire/messages.ts';
import { subprotocol } from '../../../shared/wire/messages.ts';

export class TestAgent {
  readonly received: CollectorMessage[] = [];
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
  #waiting: (() => void)[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      this.received.push(JSON.parse(data.toString('utf8')) as CollectorMessage);
      this.#wake();
    });
    this.closed = new Promise((resolve) =>
      socket.once('close', (code) => {
        resolve(code);
        this.#wake();
      }),
    );
  }

  /** Connects to `http://HOST:PORT`. */
  static async connect(address: string): Promise<TestAgent> {
    const socket = new WebSocket(`${address.replace('http', 'ws')}/agent`, subprotocol, { perMessageDeflate: false });
    const agent = new TestAgent(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return agent;
  }

  /** Connects and says hello; resolves after the welcome and the first want. */
  static async start(address: string, hello: Partial<Hello> = {}): Promise<TestAgent> {
    const agent = await TestAgent.connect(address);
    agent.send({
      type: 'hello',
      node: 'node1',
      version: '0.1.0',
      bootId: 'boot',
      stream: 'run-1',
      acknowledged: 0,
      clock: Date.now(),
      capabilities: [],
      ...hello,
    });
    await agent.until('welcome');
    await agent.until('want');
    return agent;
  }

  send(message: AgentMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  sendFacts(facts: readonly Fact[], state: { seq?: number; full?: boolean; more?: boolean; delete?: string[] } = {}): void {
    this.send({ type: 'state', seq: 1, full: true, more: false, at: Date.now(), delete: [], ...state, put: facts.map((fact) => ({ ...fact })) });
  }

  sendChanges(changes: readonly SequencedChange[]): void {
    this.send({ type: 'changes', changes: changes.map((change) => ({ ...change })) as never });
  }

  /** The next message of a type that satisfies the condition, seen or yet to come; throws after five seconds or at the end of the connection. */
  async until<T extends CollectorMessage['type']>(
    type: T,
    fits: (message: Extract<CollectorMessage, { type: T }>) => boolean = () => true,
  ): Promise<Extract<CollectorMessage, { type: T }>> {
    const deadline = Date.now() + 5_000;
    for (;;) {
      const found = this.received.find((message) => message.type === type && fits(message as never));
      if (found !== undefined) return found as Extract<CollectorMessage, { type: T }>;
      if (this.socket.readyState === WebSocket.CLOSED || Date.now() > deadline) throw new Error(`no ${type} came: ${JSON.stringify(this.received)}`);
      await this.#news(deadline - Date.now());
    }
  }

  async stop(): Promise<void> {
    this.socket.close();
    await this.closed;
  }

  #news(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/** A change of a node's ledger with everything that does not matter filled in. */
export const changeOf = (seq: number, given: Partial<SequencedChange> = {}): SequencedChange => ({
  stream: 'run-1',
  seq,
  at: 1_700_000_000_000 + seq,
  node: 'node1',
  kind: 'rule',
  subject: 'ip filter FORWARD',
  before: null,
  after: `rule ${seq}`,
  ...given,
});

/** What a node reports of one NodePort when a rule drops it, or when all is well. */
export function nodePortFact(port: number, verdict: 'forward' | 'drop', endpoints: readonly string[]): Fact {
  const text = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';
  const decidedBy = { by: 'rule' as const, family: 'ip', table: 'filter', chain: 'FORWARD', rule: 1, text };
  const outcomes = endpoints.map((dnat) => ({ verdict, dnat, masquerade: true, weight: 1 / endpoints.length, ...(verdict === 'drop' ? { decidedBy } : {}) }));
  return {
    kind: 'nodeport',
    key: `nodeport/tcp/4/${port}`,
    nodePort: { protocol: 'tcp', family: 4, port },
    address: '172.31.0.11',
    outcomes: { external: outcomes, peer: outcomes },
    claimed: { by: 'rule', service: 'shop/web:http' },
  };
}
