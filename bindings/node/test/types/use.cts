// The same for CommonJS.
import capsa = require('capsa');
import { VM } from 'capsa';

async function main(): Promise<number> {
  const vm: VM = await new capsa.Builder().start();
  const { uptimeMs } = await vm.wait();
  return uptimeMs;
}
export = main;
