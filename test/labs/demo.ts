// `make demo`: builds the lab, runs a collector and two agents on it, breaks three things one after another, and shows what clients meet and what Portreeve says.
//
// DEMO_EXIT=1 ends after the last act, with exit code 0 only if every answer was right; otherwise it stays until Ctrl-C so that one can ask on.
// DEMO_RESTART=1 kills the collector with SIGKILL in the second act and checks that the ledger came out whole.
// Without root it builds the lab in a user namespace; where the kernel refuses that, it replays captures of real clusters.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Change } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { type Cluster, type NodeName, buildCluster, labObstacle } from './cluster.ts';
import type { Meeting } from './client.ts';
import { type Act, acts } from './demo.acts.ts';
import { replay } from './demo.replay.ts';
import { ledgerFaults, withCollector } from './demo.collector.ts';
import type { Product } from './demo.collector.ts';
