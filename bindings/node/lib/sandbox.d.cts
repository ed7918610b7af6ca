// A machine in which programs are run.
import type { MachineOptions } from './builder.cjs';
import type { VM } from './vm.cjs';
import type { SignalOptions } from './wait.cjs';

/**
 * Fresh machines that run programs: with the library's agent, in a process of their own, no network, no shares but the
 * mounts. Nothing of the host is changed: what the guest writes stays in its memory, unless `writable` is set.
 */
export const Sandbox: {
  /** Makes one that is up when the promise is kept. Close it, or `await using` it, in the end. */
  start(options: MachineOptions & SignalOptions & {
    root: NonNullable<MachineOptions['root']>;
    /** Milliseconds until it must be up. Default: Infinity. */
    startTimeout?: number;
  }): Promise<VM>;
};
