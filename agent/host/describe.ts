// What the host is: read once, at the agent's start.
import os from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HostFact } from '../../shared/model/fact.ts';
import { readText } from './files.ts';
import { run } from './run.ts';

// Beside this file in a checkout, beside the bundle in a package.
const program = fileURLToPath(new URL(`./describe.program${extname(import.meta.url)}`, import.meta.url));

/** Describes the host; what the program cannot say in time is taken from the kernel alone. Never rejects. */
export async function describeHost(signal: AbortSignal): Promise<HostFact> {
  const plain = {
    kind: 'host' as const,
    key: 'host/node',
    hostname: os.hostname(),
    kernel: os.release(),
    os: os.type(),
    bootedAt: Math.round((Date.now() - os.uptime() * 1000) / 1000) * 1000,
    memoryBytes: os.totalmem(),
    processors: os.availableParallelism(),
  };
  const outcome = await run(process.execPath, [program], { timeoutMs: 10_000, outputBytesMax: 64 * 1024, signal });
  if (outcome.kind !== 'done') return plain;
  try {
    const { hostname, kernel, os: system, bootedAt, virtual } = JSON.parse(outcome.stdout.toString('utf8')) as Partial<HostFact>;
    return {
      ...plain,
      hostname: hostname ?? plain.hostname,
      kernel: kernel ?? plain.kernel,
      os: system ?? plain.os,
      bootedAt: bootedAt ?? plain.bootedAt,
      ...(virtual === undefined ? {} : { virtual }),
    };
  } catch {
    return plain;
  }
}

/** Identifies this boot of the kernel; empty where /proc does not say. */
export async function bootId(): Promise<string> {
  const read = await readText('/proc/sys/kernel/random/boot_id');
  return read.kind === 'done' ? read.content.toString('latin1').trim() : '';
}
