// Runs the agent for tests inside a namespace: `node agent.program.ts URL`; SIGTERM ends it.
import { runAgent } from '../../agent/main.ts';

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
await runAgent({ collector: process.argv[2] as string, node: 'node1' }, stop.signal);
