// Firewalls that a job keeps resetting: configuration management, compliance and hardening tools undo by the clock what a person repairs by hand.

import { type Actor, actorText } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';

/** C18: the same finding, where the change that caused it was made by such a job: then its configuration is the place to repair. */
export function byHardening(finding: Finding): Finding {
  const job = jobOf(finding.actor);
  if (job === undefined) return finding;
  return {
    ...finding,
    id: finding.id.replace(new RegExp(`${finding.cause}$`), 'C18'),
    cause: 'C18',
    title: 'a hardening or configuration job has reset the firewall',
    summary: `${finding.summary.replace(/\.$/, '')}; ${job} made it so and will do it again.`,
    evidence: [...finding.evidence, { witness: 'changes', text: `Made by ${actorText(finding.actor)}.` }],
    remedy: [...finding.remedy, `# lasting: in the configuration of ${job}, which puts it back at its next run`],
  };
}

const jobs =
  /\b(puppet|chef-client|cinc-client|salt-(?:call|minion)|ansible(?:-pull|-playbook)?|cfengine|cf-agent|rudder|csf|lfd|oscap|openscap|usg|lynis|cloud-init|cis-\w+)\b/i;

function jobOf(actor: Actor | undefined): string | undefined {
  const text = [actor?.comm ?? '', ...(actor?.argv ?? []), actor?.unit ?? ''].join(' ');
  const found = jobs.exec(text)?.[1];
  return found ?? (/^(iptables|nftables|netfilter-persistent|iptables-restore)\.service$/.test(actor?.unit ?? '') ? actor?.unit : undefined);
}
