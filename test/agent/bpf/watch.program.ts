// Watches the kernel as an agent does, prints the process id of portreeve-bpf once it is attached, and runs until it is killed.
import { KernelWatch } from '../../../agent/bpf/watch.ts';
import { thisMachine } from '../../../agent/host/machine.ts';

const kernel = new KernelWatch({
  machine: thisMachine(new AbortController().signal),
  onWake: () => {},
  onFacts: () => {
    if (kernel.sourceFact().outcome === 'facts') console.log(String(kernel.pids[0]));
  },
  onNotice: () => {},
});
await kernel.start();
setInterval(() => {}, 60_000);
