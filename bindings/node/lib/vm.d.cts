// Machines: their life, numbers and events.
import type { EventEmitter } from 'node:events';
import type { MachineOptions } from './builder.cjs';
import type { Console } from './console.cjs';
import type { Network, OpenForward } from './network.cjs';
import type { ExecOptions, Process, Result, RunOptions } from './process.cjs';
import type { Vsock } from './vsock.cjs';
import type { SignalOptions, WaitOptions } from './wait.cjs';

export type State =
  | 'created' | 'starting' | 'running' | 'paused' | 'stopping' | 'stopped' | 'failed' | 'unknown';

/** Why a machine ended. */
export type Cause =
  | 'none' | 'guest-shutdown' | 'main-exited' | 'reboot' | 'panic' | 'oom' | 'stopped' | 'killed' | 'timed-out'
  | 'vmm-crash' | 'boot-failed' | 'triple-fault' | 'unknown';

/** How far a stop had to go. */
export type Stage = 'none' | 'agent' | 'power-button' | 'kill' | 'unknown';

/** How a machine ended. */
export interface ExitRecord {
  cause: Cause;
  /** Exit code of the main program, else 0. */
  code: number;
  /** Signal that ended the main program, else 0. */
  signal: number;
  /** Milliseconds between start and end. */
  uptimeMs: number;
  /** What the guest's kernel said when it panicked. */
  panicText?: string;
  detail?: string;
  /** What failed, when the machine did. */
  fault?: string;
}

/** How long each stage may take, in milliseconds: Infinity is for ever, 0 leaves it out. */
export interface StopOptions extends SignalOptions {
  /** The guest's agent is asked. Default: 10,000. */
  agent?: number;
  /** The power button is pressed. Default: 30,000. */
  powerButton?: number;
  /** How long the call waits after the kill; 0: the machine is not killed. Default: Infinity. */
  kill?: number;
}

export interface StopOutcome {
  stage: Stage;
  agentMs: number;
  powerButtonMs: number;
  killMs: number;
}

/** Counters of a machine, and its time line: milliseconds since its making began, 0: not yet. */
export interface Stats {
  state: State;
  /** Whether the guest has a driver for its balloon, and reports free memory. */
  balloon: 'none' | 'present' | 'reporting' | 'unknown';
  cpus: number;
  devices: number;
  memoryBytes: number;
  /** Exits from the guest to user space: the next three together. */
  exits: number;
  exitsIo: number;
  exitsMmio: number;
  exitsOther: number;
  /** Programs that the guest's kernel killed for want of memory. */
  oomKills: number;
  eventsLost: number;
  createdMs: number;
  startedMs: number;
  firstInstructionMs: number;
  firstExitMs: number;
  driversUpMs: number;
  consoleOpenMs: number;
  endedMs: number;
  /** Memory of the host that the guest's takes now. */
  residentBytes: number;
  targetBytes: number;
  currentBytes: number;
  inflatedBytes: number;
  deflatedBytes: number;
  reportedBytes: number;
  guestFreeBytes: number;
  guestAvailableBytes: number;
  /** How long ago the guest said so; 0: it has not. */
  guestSaidMs: number;
}

/** Counters of one device. */
export interface DeviceStats {
  name: string;
  /** Device type of the virtio specification: 2 is a disk; 0: not a virtio device. */
  virtioId: number;
  kicks: number;
  interrupts: number;
  requests: number;
  /** From the guest to the host. */
  bytesIn: number;
  /** From the host to the guest. */
  bytesOut: number;
  errors: number;
  faults: number;
  resets: number;
  /** From here on of disks only. */
  reads: number;
  writes: number;
  flushes: number;
  discards: number;
  writeZeroes: number;
  refused: number;
  stalls: number;
  throttled: number;
}

interface EventBase<T extends string> {
  type: T;
  time: Date;
  component?: string;
  message?: string;
}

export type StateEvent = EventBase<'state'> & { state: State };
/** The last event of a machine. */
export type ExitEvent = EventBase<'exit'> & { exit: ExitRecord };
/** How many events nobody fetched in time and are gone. */
export type LostEvent = EventBase<'lost'> & { lost: number };
/** The host could not serve a request of a disk. */
export type DiskErrorEvent = EventBase<'disk-error'> & { disk: number };
/** The host listens for a forwarded port. */
export type PortEvent = EventBase<'port'> & { forward: OpenForward };
/** Of a newer library. */
export type UnknownEvent = EventBase<'unknown'> & { number: number };
export type OtherEvent = EventBase<'ready' | 'exec-exit' | 'console' | 'policy-deny' | 'oom' | 'log' | 'crash-kernel'>;

/** Something that happened to a machine. */
export type MachineEvent = StateEvent | ExitEvent | LostEvent | DiskErrorEvent | PortEvent | UnknownEvent | OtherEvent;

/** Events by name; each is also an `event`. */
export type EventMap = { [E in MachineEvent as E['type']]: E } & { event: MachineEvent };

/**
 * A machine. It belongs to whoever has it: call {@link VM.close}, or declare it with `await using`. One that runs does
 * not keep the process alive; waiting for it, listening to its events and reading its console do.
 */
export class VM extends EventEmitter implements AsyncDisposable {
  private constructor();
  /**
   * Builds a machine and starts it. `signal` and `startTimeout` are of this call.
   *
   * @example
   * await using vm = await VM.start({ kernel: 'vmlinuz', initrd: 'initrd.cpio' });
   * await vm.console.expect('# ');
   * const { status, output } = await vm.console.run('uname -a');
   */
  static start(options: MachineOptions & { signal?: AbortSignal; startTimeout?: number }): Promise<VM>;
  readonly name: string;
  readonly state: State;
  /** How it ended; undefined: it has not. Stays when the machine was closed. */
  readonly exit: ExitRecord | undefined;
  /** Runs a machine that was built; when it is settled its processors run. */
  start(options?: WaitOptions): Promise<this>;
  /**
   * Waits for the end. Any number of times; always the same record.
   *
   * @throws {@link CapsaError} `CAPSA_E_BOOT` when the guest never came up, with `exit` and `consoleTail`;
   * `CAPSA_E_VMM_DIED`, with `exit`, when the machine's own process died.
   */
  wait(options?: WaitOptions): Promise<ExitRecord>;
  /**
   * Asks the guest to shut down, and kills it when it has not after `grace` milliseconds (default 30,000). An aborted
   * call leaves the request standing and does not kill.
   */
  stop(options?: SignalOptions & { grace?: number }): Promise<Stage>;
  /** Asks the agent, presses the power button, kills. */
  stopInStages(options?: StopOptions): Promise<StopOutcome>;
  /** Ends it at once, whatever the guest does. */
  kill(): Promise<void>;
  /** Stops the processors, which keep their state. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Kills it when it runs, and releases everything. Its consoles keep the output that they have not read yet. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;

  /** The machine's console: always the same object. */
  readonly console: Console;
  /** Another reader and writer of it, with a position of its own. Close it, or leave it to the garbage collector. */
  openConsole(): Console;
  /** Its network: forwarded ports, the policy, the cable. */
  readonly network: Network;
  /** Sockets to the guest. */
  readonly vsock: Vsock;
  /** Waits until the guest's agent has set it up, and gives what the guest says of itself. */
  waitReady(options?: WaitOptions): Promise<Record<string, unknown>>;
  /** Starts a program in the guest: an executable and its arguments, no shell. The timeout is for the start. */
  exec(args: string[], options?: ExecOptions): Promise<Process>;
  /** Runs a program to its end. When the timeout passes it is killed. A status other than 0 is no error. */
  run(args: string[], options?: RunOptions): Promise<Result>;
  /** Copies a file or directory of the host into the guest, where it becomes `to`. */
  copyIn(from: string | URL, to: string, options?: WaitOptions & { keepOwner?: boolean }): Promise<void>;
  /** Copies a file or directory of the guest to the host, where it becomes `to`; nothing else is touched. */
  copyOut(from: string, to: string | URL, options?: WaitOptions & { keepOwner?: boolean }): Promise<void>;
  /** Reads a whole file of the guest, of 256 MiB at most. */
  readFile(name: string, options?: WaitOptions): Promise<Buffer>;
  /** Writes a whole file in place of the one there, which stays whole until then. */
  writeFile(name: string, data: string | Uint8Array, options?: WaitOptions & { mode?: number }): Promise<void>;
  /** What the guest has written to its first serial port: the early boot log, and the text of a panic. */
  readonly bootLog: string;
  /** Asks the guest to make do with so many bytes; 0 ends that. {@link VM.stats} tells how far it is. */
  setMemoryTarget(bytes: number | bigint): void;

  stats(): Stats;
  deviceStats(): DeviceStats[];
  deviceStats(index: number): DeviceStats;
  /** All counters, as the library has them. */
  rawStats(): Record<string, unknown>;
  /** The counters as Prometheus text. */
  metrics(): string;

  /** What happens from now on, up to the machine's end. */
  events(options?: SignalOptions): AsyncIterableIterator<MachineEvent>;
  on<E extends keyof EventMap>(name: E, listener: (event: EventMap[E]) => void): this;
  once<E extends keyof EventMap>(name: E, listener: (event: EventMap[E]) => void): this;
  off<E extends keyof EventMap>(name: E, listener: (event: EventMap[E]) => void): this;
}
