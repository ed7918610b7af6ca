// fleet.mjs COUNT KERNEL [ARGUMENT...] - boots many machines from one description at once; prints what happens to them,
// and how long each took to use its console. Ctrl-C ends all of them.
import { Builder } from 'capsa';

const [count, kernel, ...args] = process.argv.slice(2);
if (!kernel) {
  console.error('usage: fleet.mjs COUNT KERNEL [ARGUMENT...]');
  process.exit(2);
}
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
const { signal } = interrupted;

const fleet = new Builder({ kernel, args, memory: 64, timeout: 300_000 });

async function life(number) {
  const vm = await fleet.clone().name(`machine ${number}`).start({ signal });
  try {
    vm.on('state', ({ state }) => console.log(`${vm.name}: ${state}`));
    const { cause } = await vm.wait({ signal });
    return `${vm.name}: ${cause}, console after ${vm.stats().consoleOpenMs.toFixed(1)} ms`;
  } finally {
    await vm.close();
  }
}

const lives = await Promise.allSettled(Array.from({ length: Number(count) }, (_, i) => life(i)));
for (const { value, reason } of lives) console.log(value ?? `failed: ${reason.message}`);
process.exitCode = lives.filter(({ status }) => status === 'rejected').length;
