// console.mjs KERNEL INITRD [ARGUMENT...] - boots Linux with its console on this terminal, and tells how it ended.
import { VM } from 'capsa';

const [kernel, initrd, ...args] = process.argv.slice(2);
if (!initrd) {
  console.error('usage: console.mjs KERNEL INITRD [ARGUMENT...]');
  process.exit(2);
}
const { stdin, stdout } = process;
const vm = await VM.start({
  kernel, initrd, args, console: { columns: stdout.columns ?? 80, rows: stdout.rows ?? 24 },
});
try {
  stdin.setRawMode?.(true); // the guest's terminal sees every key
  stdin.pipe(vm.console, { end: false }).pipe(stdout, { end: false });
  stdout.on('resize', () => vm.console.resize(stdout.columns, stdout.rows));
  const { cause, code } = await vm.wait();
  stdin.setRawMode?.(false);
  console.error(`the machine ended: ${cause}`);
  process.exitCode = code;
} catch (error) {
  stdin.setRawMode?.(false);
  console.error(`${error.message}\n${error.hint ?? ''}\n${error.consoleTail ?? ''}`);
  process.exitCode = 125;
} finally {
  stdin.destroy();
  await vm.close();
}
