// hello.mjs KERNEL INITRD COMMAND - boots Linux, runs a command in its shell and ends with the command's exit status.
import { VM } from 'capsa';

const [kernel, initrd, command] = process.argv.slice(2);
if (!command) {
  console.error('usage: hello.mjs KERNEL INITRD COMMAND');
  process.exit(2);
}
const vm = await VM.start({ kernel, initrd, args: ['quiet'] });
try {
  await vm.console.expect('# ', { timeout: 300_000 });
  const { status, output } = await vm.console.run(command, { timeout: 60_000 });
  process.stdout.write(output);
  process.exitCode = status;
} finally {
  await vm.close(); // ends the machine
}
