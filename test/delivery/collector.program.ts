// A collector as it is, on a port that is given, so that agents find it again after it was killed: `node collector.program.ts PORT DATA CLUSTER`.
import { runCollector } from '../../collector/main.ts';

const [port = '', data = '', cluster = ''] = process.argv.slice(2);
const collector = await runCollector({ listen: `127.0.0.1:${port}`, data, cluster, noAuth: true, graceMs: 0, logLevel: 'error' });
process.stdout.write(`ready ${process.pid}\n`);
process.on('SIGTERM', () => void collector.close());
