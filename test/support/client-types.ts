// Writes collector/api/client.types.ts from the OpenAPI document of a collector that is started for it: "make client".
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientTypes } from '../../collector/api/client.generator.ts';
import type { Document } from '../../collector/api/docs.ts';
import { startCollector } from '../collector/ingest/cluster.ts';

export const clientTypesFile = join(import.meta.dirname, '../../collector/api/client.types.ts');

/** The types that belong to the API as it is. */
export async function currentClientTypes(directory: string): Promise<string> {
  const collector = await startCollector(directory);
  try {
    return clientTypes((await (await fetch(`${collector.address}/openapi.json`)).json()) as Document);
  } finally {
    await collector.close();
  }
}

if (import.meta.main) {
  const directory = await mkdtemp(join(tmpdir(), 'portreeve-client-'));
  await writeFile(clientTypesFile, await currentClientTypes(directory));
  await rm(directory, { recursive: true });
}
