import { figuresOf } from './bench/agent/figures.ts';
import { spawn } from 'node:child_process';
import { Peer } from './agent/peer.ts';
import { makeNode, syncText } from './bench/agent/node.ts';
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
const [services, endpoints] = (process.env.SIZE ?? '100x3').split('x').map(Number) as [number, number];
import { execFileSync } from 'node:child_process'; import { writeFileSync } from 'node:fs'; writeFileSync(process.env.LOCK!, ''); execFileSync('mount', ['--bind', process.env.LOCK!, '/run/xtables.lock']);
const node = await makeNode('nft', { services, endpoints });
const peer = await Peer.start();
const [cmd, ...args] = process.argv.slice(2);
const child = spawn(cmd!, [...args, '--collector', peer.url], { stdio: ['ignore', 'inherit', 'inherit'] });
await peer.wait(() => peer.facts.get('source/iptables') as any, 60000); await sleep(3000);
if (process.env.IDLE) await sleep(Number(process.env.IDLE) * 1000);
const f0 = figuresOf(child.pid!);
for (let i = 0; i < Number(process.env.N ?? 40); i++) { const s = node.services[i % node.services.length]!; await node.restore(syncText(s, i % 2 === 0)); await sleep(300); await node.iptables('-I', 'FORWARD', '-s', `10.9.8.${i}`, '-j', 'DROP'); await sleep(300); await node.iptables('-D', 'FORWARD', '-s', `10.9.8.${i}`, '-j', 'DROP'); await sleep(300); }
const f1 = figuresOf(child.pid!); console.log(args.join(' ').slice(0, 90), '\n   idle rss', f0.rss.toFixed(0), 'after', f1.rss.toFixed(0), 'peak', f1.peak.toFixed(0), 'cpu s', (f1.cpu - f0.cpu).toFixed(2), 'children', (f1.childrenCpu - f0.childrenCpu).toFixed(2));
child.kill('SIGTERM'); await new Promise((r) => child.once('exit', r)); await peer.close(); process.exit(0);
