// What agents are asked for a question of the API: walks on their live rules, with the drawings of them, and captures.
import { reasonOf } from '../../shared/errors.ts';
import { actorText } from '../../shared/model/change.ts';
import type { WalkGraph } from '../../shared/netfilter/walk.graph.model.ts';
import { type Drawing, type DrawingForm, drawingOf } from '../explain/drawing.ts';
import type { Explanation } from '../explain/explain.ts';
import type { NodeView } from '../state/state.ts';
import { Problem } from './problem.ts';
import type { ApiOptions } from './server.ts';

/** What the agent of a node answers to a packet. Throws Problem: 503 without an agent, 502 where it refuses or is silent. */
export async function traced(session: ApiOptions['session'], node: string, packet: Record<string, string>): Promise<unknown> {
  const agent = session(node);
  if (agent === undefined) throw new Problem(503, `the agent of ${node} is not connected`);
  const answer = await agent.trace(packet).catch((error: unknown) => ({ error: reasonOf(error), result: undefined }));
  if (answer.error !== undefined) throw new Problem(502, answer.error);
  return answer.result;
}

/** The capture that the agent of a node makes. Throws Problem: 503 without an agent, 502 where it makes none. */
export async function captured(session: ApiOptions['session'], node: string): Promise<{ readonly archive: string }> {
  const agent = session(node);
  if (agent === undefined) throw new Problem(503, `the agent of ${node} is not connected`);
  const answer = await agent.capture().catch((error: unknown) => ({ error: reasonOf(error), result: undefined }));
  if (answer.error !== undefined) throw new Problem(502, answer.error);
  return answer.result as { readonly archive: string };
}

/** The drawing of such an answer. Throws Problem 502 where the agent is too old or too new to make one. */
export function drawn(node: string, result: unknown, asked: Drawing): string | WalkGraph {
  const drawing = drawingOf(result, asked);
  if (drawing === undefined)
    throw new Problem(502, `the agent of ${node} answered without a drawing that this collector understands: are both of the same version?`);
  return drawing;
}

/** The walk of the clients that an explanation is about. An explanation without a drawing is better than none, so what is wrong is said beside it. */
export async function drawnExplanation(
  session: ApiOptions['session'],
  { name, drifts }: NodeView,
  { explanation, form }: { readonly explanation: Explanation; readonly form: DrawingForm },
): Promise<{ readonly drawing?: string | WalkGraph; readonly drawingProblem?: string }> {
  const { address, port, protocol, findings } = explanation;
  if (address === undefined) return { drawingProblem: `the address of ${name} that clients ask is not known` };
  const drift = drifts.find(({ nodePort, fact }) => nodePort.port === port && nodePort.protocol === protocol && fact?.address === address);
  const vantage = drift?.affected[0]?.vantage ?? 'external';
  const actor = findings[0]?.actor;
  try {
    const result = await traced(session, name, { vantage, dst: address, dport: String(port), proto: protocol });
    return { drawing: drawn(name, result, { form, ...(actor === undefined ? {} : { actor: actorText(actor) }) }) };
  } catch (error) {
    return { drawingProblem: reasonOf(error) };
  }
}
