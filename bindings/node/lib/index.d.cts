/// <reference types="node" />
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

// ---- Host

/** The version of the library, such as `"0.1.0"`. */
export const version: string;

/**
 * Whether the library knows a feature, such as `"disk"`. Whether that works on this host is {@link doctor}'s matter.
 */
export function has(feature: string): boolean;

/** What {@link doctor} found. */
export interface Report {
  version: string;
  features: string[];
  [detail: string]: unknown;
}

/** Examines the host: for each backend whether it works here, why not, and what to do about it. */
export function doctor(): Promise<Report>;

/** The counters of all machines of the process, in the text format of Prometheus. */
export function metrics(): Promise<string>;

// ---- Errors

/** What an error is about; `code` may say more. */
export type ErrorClass =
  | 'CAPSA_E_INVALID_ARG' | 'CAPSA_E_HANDLE' | 'CAPSA_E_STATE' | 'CAPSA_E_CONFIG' | 'CAPSA_E_UNSUPPORTED'
  | 'CAPSA_E_UNAVAILABLE' | 'CAPSA_E_NOT_FOUND' | 'CAPSA_E_EXISTS' | 'CAPSA_E_PERMISSION' | 'CAPSA_E_NO_MEMORY'
  | 'CAPSA_E_LIMIT' | 'CAPSA_E_TIMEOUT' | 'CAPSA_E_CANCELLED' | 'CAPSA_E_CLOSED' | 'CAPSA_E_IO' | 'CAPSA_E_BOOT'
  | 'CAPSA_E_GUEST' | 'CAPSA_E_PROTOCOL' | 'CAPSA_E_VMM_DIED' | 'CAPSA_E_FORKED' | 'CAPSA_E_INTERNAL';

/** One thing that is wrong with a description. */
export interface Problem {
  field: string;
  message: string;
  hint?: string;
}

/** A call of the library that failed. */
export class CapsaError extends Error {
  private constructor();
  readonly name: 'CapsaError';
  /** The status by name. */
  readonly code: ErrorClass | (string & {});
  /** The class of the status: `code` without detail. */
  readonly class: ErrorClass;
  /** The status as a number, as in `capsa.h`. */
  readonly status: number;
  /** What a person can do about it. */
  readonly hint?: string;
  /** The part of the library: `"kvm"`, `"boot"`, `"console"`... */
  readonly component?: string;
  /** The number of the failed system call's error, negative as in Node's own errors. */
  readonly errno?: number;
  /** Its name, such as `"ENOENT"`. */
  readonly syscallCode?: string;
  /** More, as the library has it. */
  readonly detail?: { problems?: Problem[]; [name: string]: unknown };
  /** Every problem of a description that could not be built. */
  readonly problems: Problem[];
  /** The last output of a guest that did not come up. */
  readonly consoleTail?: string;
  /** How the machine ended, in an error of {@link VM.wait}. */
  readonly exit?: ExitRecord;
}

// ---- Waiting

/** Options of calls that may wait. */
export interface WaitOptions {
  /** Milliseconds after which the call fails with `CAPSA_E_TIMEOUT`. Default: never. Nothing is lost; call again. */
  timeout?: number;
  /** Ends the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Options of calls that can be aborted. */
export interface SignalOptions {
  signal?: AbortSignal;
}

// ---- Builder

/** A path of the host. */
export type Path = string | URL;

/** `stream` carries bytes, `seqpacket` messages. */
export type SocketType = 'stream' | 'seqpacket';

/** The console of a machine. */
export interface ConsoleOptions {
  /** Width in characters. Default: 80. */
  columns?: number;
  /** Height in lines. Default: 24. */
  rows?: number;
  /** Bytes of output kept for readers. Default: 1 MiB. */
  ringSize?: number;
}

/** A disk. With `overlay` or `temporary` the image is only read, and any number of machines may share it. */
export interface DiskOptions {
  /** The guest cannot write. */
  readOnly?: boolean;
  /** Changes go to an unnamed file that is gone with the machine. */
  temporary?: boolean;
  /** I/O goes past the host's page cache. */
  direct?: boolean;
  /** The root file system is here, unless an argument has `root=`. */
  root?: boolean;
  /** Of the image. `auto`, the default, knows qcow2; raw must be said. */
  format?: 'auto' | 'raw' | 'qcow2';
  /** Request queues, 16 at most. Default: as suits the number of processors. */
  queues?: number;
  /** A qcow2 image that takes the changes. It is made if it is not there, and kept. */
  overlay?: Path;
  /** Where `temporary` keeps its file. Default: `/var/tmp`. */
  scratchDir?: Path;
  /** What the guest sees: up to 20 bytes of printable ASCII without `/`. */
  serial?: string;
  /** Directories in which a qcow2 image may have backing files, besides its own. */
  backingDirs?: Path[];
  /** Requests per second. Default: no limit. */
  iops?: number | bigint;
  /** Requests at once after a pause. Default: a tenth of a second's. */
  iopsBurst?: number | bigint;
  /** Bytes per second. Default: no limit. */
  bytesPerSec?: number | bigint;
  /** Bytes at once after a pause. Default: a tenth of a second's. */
  bytesBurst?: number | bigint;
}

/** Consecutive ids of users, or groups, of the guest and what they are on the host. */
export interface IdRange {
  guest: number;
  host: number;
  count: number;
}

/** A directory of the host that the guest mounts: `mount -t virtiofs TAG /mnt`. Nothing outside of it is reached. */
export interface ShareOptions {
  /** Enforced on the host. */
  readOnly?: boolean;
  /** The guest delays writes; right when only it writes. */
  writeback?: boolean;
  /** POSIX access control lists. */
  acl?: boolean;
  /** Locks stay in the guest; else they hold between the host and all guests. */
  guestLocks?: boolean;
  /** What is mounted below the directory is not shared. */
  oneFileSystem?: boolean;
  /** Set-user-ID and set-group-ID bits are kept, and hold on the host too. */
  allowSetId?: boolean;
  /** `O_DIRECT` is passed on to the host, with its demands on alignment. */
  directIo?: boolean;
  /** `auto`, the default: names for a second, data until it has changed. `none` asks each time, `always` never again. */
  cache?: 'auto' | 'none' | 'always';
  /**
   * Who owns files. `squash`, the default: in the guest all belongs to `guestUid` and `guestGid`, on the host to
   * `hostUid` and `hostGid`. `passthrough`: ids are the same. `caller`: to each user of the guest all is that user's.
   * `ranges`: ids are shifted by `uids` and `gids`.
   */
  owner?: 'squash' | 'passthrough' | 'caller' | 'ranges';
  /** Extended attributes: of the namespace `user.`, the default; none; or all. */
  xattr?: 'user' | 'none' | 'all';
  /** Request queues, 16 at most. Default: as suits the number of processors. */
  queues?: number;
  guestUid?: number;
  guestGid?: number;
  /** Default: this process's user. Together with `hostGid`. */
  hostUid?: number;
  hostGid?: number;
  /** Descriptors that the share may have open. Default: half of the process's limit. */
  maxFiles?: number;
  /** Files that are remembered. Default: 262,144. */
  maxInodes?: number;
  uids?: IdRange[];
  gids?: IdRange[];
}

/** How memory that the guest does without goes back to the host. */
export interface BalloonOptions {
  /** The guest gives back by itself what is free. Default: true. */
  reporting?: boolean;
  /** It takes back what it was asked for rather than kill programs. Default: true. */
  deflateOnOom?: boolean;
}

/** A port that is bound to a unix socket of the host. */
export interface BoundPort {
  port: number;
  path: Path;
  type?: SocketType;
}

/** The description of a machine. */
export interface MachineOptions {
  /** For messages and process listings: up to 64 bytes. */
  name?: string;
  /** `"kvm"`; default: the best of the host. */
  backend?: string;
  /** A bzImage or an ELF vmlinux. */
  kernel?: Path;
  /** An initial RAM disk. */
  initrd?: Path;
  /** Arguments for the kernel, after the machine's own. */
  args?: string[];
  /** The whole command line, in place of the machine's own and `args`. */
  cmdline?: string;
  /** Virtual processors. Default: 1. */
  cpus?: number;
  /** Memory in MiB. Default: 256. */
  memory?: number;
  /** Milliseconds that the machine may live; it then ends as `timed-out`. Default: no limit. */
  timeout?: number;
  console?: ConsoleOptions;
  /** In this order the guest sees `/dev/vda`, `/dev/vdb`... A path alone has no options. */
  disks?: (Path | (DiskOptions & { path: Path }))[];
  shares?: (ShareOptions & { tag: string; path: Path })[];
  /** Default: true, with everything on. */
  balloon?: boolean | BalloonOptions;
  /** Whether the guest has sockets to the host, and ports that are bound for the machine's life. Default: false. */
  vsock?: boolean | { listen?: BoundPort[]; connect?: BoundPort[] };
}

/**
 * Describes a machine, and builds any number of them. Methods return the builder; each throws a {@link CapsaError} of
 * class `CAPSA_E_INVALID_ARG`, and changes nothing, when what it is given is wrong by itself.
 *
 * @example
 * const builder = new Builder({ kernel, initrd }).cpus(2).disk('root.qcow2', { temporary: true, root: true });
 * const vm = await builder.start();
 */
export class Builder {
  constructor(options?: MachineOptions);
  /** Makes a builder from what {@link Builder.toJSON} gave, or its text. */
  static fromJSON(json: string | object): Builder;
  name(name: string): this;
  backend(name: string): this;
  linux(kernel: Path, initrd?: Path): this;
  /** Appends arguments; of several values of one key the last wins. */
  args(...args: string[]): this;
  /** undefined goes back to the machine's own. */
  cmdline(cmdline: string | undefined): this;
  cpus(cpus: number): this;
  /** In MiB. */
  memory(mib: number | bigint): this;
  /** In milliseconds; 0 is no limit. */
  timeout(ms: number): this;
  console(options?: ConsoleOptions): this;
  /** Adds a disk. The build opens and locks it. */
  disk(image: Path, options?: DiskOptions): this;
  /** Adds a directory that the guest mounts by its tag. */
  share(tag: string, directory: Path, options?: ShareOptions): this;
  balloon(options?: boolean | BalloonOptions): this;
  vsock(on?: boolean): this;
  /** Binds a port of the guest: the host listens at the path, and connects each client to the port. */
  vsockListen(port: number, path: Path, options?: { type?: SocketType }): this;
  /** Binds a port of the host: the guest's connections to it go to the socket at the path. */
  vsockConnect(port: number, path: Path, options?: { type?: SocketType }): this;
  /** A copy that from now on changes by itself. */
  clone(): Builder;
  /** The description as an object, for {@link Builder.fromJSON} and `JSON.stringify`. */
  toJSON(): Record<string, unknown>;
  /**
   * Makes the machine; nothing runs yet.
   *
   * @throws {@link CapsaError} `CAPSA_E_CONFIG` with all `problems`; `CAPSA_E_UNAVAILABLE`, whose `hint` says how to get
   * access to KVM; `CAPSA_E_NOT_FOUND`, `CAPSA_E_PERMISSION`, `CAPSA_E_BOOT` of the kernel and other files.
   */
  build(options?: SignalOptions): Promise<VM>;
  /** Makes the machine and starts it. */
  start(options?: WaitOptions): Promise<VM>;
  /** Frees the description now rather than with the garbage. */
  close(): void;
}

// ---- Machine

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
/** Of a newer library. */
export type UnknownEvent = EventBase<'unknown'> & { number: number };
export type OtherEvent = EventBase<'ready' | 'exec-exit' | 'console' | 'port' | 'policy-deny' | 'oom' | 'log'>;

/** Something that happened to a machine. */
export type MachineEvent = StateEvent | ExitEvent | LostEvent | DiskErrorEvent | UnknownEvent | OtherEvent;

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
   * @throws {@link CapsaError} `CAPSA_E_BOOT` when the guest never came up, with `exit` and `consoleTail`.
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
  /** Sockets to the guest. */
  readonly vsock: Vsock;
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

// ---- Console

/** A text, bytes, or an expression in what JavaScript and RE2 have in common: no look-around, no back references. */
export type Pattern = string | Uint8Array | RegExp;

/** What {@link Console.expect} found. */
export interface Match {
  /** Which of the patterns. */
  index: number;
  pattern: Pattern;
  /** What matched. It is the end of the output. */
  text: string;
  /** The output before it. */
  before: string;
  /** The expression's groups. */
  captures: (string | undefined)[];
  groups: Record<string, string> | undefined;
  /** All output up to the match's end, which the call has consumed. */
  output: Buffer;
  /** Bytes that are missing from it: overwritten before they were read. */
  missing: number;
}

/** What a command did. */
export interface RunResult {
  status: number;
  output: string;
  bytes: Buffer;
  /** Bytes that are missing from it. */
  missing: number;
}

/**
 * A reader and writer of a machine's console. As a stream it reads everything from the oldest output kept on, and writes
 * what is typed. {@link Console.expect} and {@link Console.receive} have a position of their own, so that a console can be
 * watched and talked on at once; they take turns. Output that nobody reads stalls nobody.
 */
export class Console extends Duplex {
  private constructor();
  readonly vm: VM;
  /**
   * Waits until one of the patterns appears; the earliest match wins, then the order. Consumes the output up to the
   * match's end, and nothing when it fails. No newline is needed. An expression matches in the shortest output that has a
   * match: `/\d+/` takes one digit, `/\d+\r/` all of them.
   *
   * @throws {@link CapsaError} `CAPSA_E_TIMEOUT`; `CAPSA_E_CLOSED`: the console ended without a match.
   */
  expect(pattern: Pattern | Pattern[], options?: WaitOptions): Promise<Match>;
  /**
   * Runs a command line in the shell that waits on the console, whatever its prompt is. Its status is no error. When the
   * wait ends early the command goes on; {@link Console.interrupt} stops it.
   */
  run(command: string, options?: WaitOptions): Promise<RunResult>;
  /** Reads what is there, at most `size` bytes (default 65,536), from expect's position on. No bytes: the end. */
  receive(options?: WaitOptions & { size?: number }): Promise<Buffer>;
  /** Types; settled when the guest has taken it all. */
  type(data: string | Uint8Array, options?: WaitOptions): Promise<void>;
  /** Types Ctrl-C, before what is still to be typed. */
  interrupt(options?: WaitOptions): Promise<void>;
  /** Types Ctrl-D, after what is still to be typed. */
  eof(options?: WaitOptions): Promise<void>;
  /** The lines of all output, from the oldest kept on, with a position of their own. */
  lines(options?: SignalOptions): AsyncGenerator<string, void, undefined>;
  /** Tells the guest the size of the terminal. */
  resize(columns: number, rows: number): void;
  /** Bytes of output that were overwritten before expect and receive came to them. */
  readonly lost: number;
  /** Ends this reader, and calls that wait on it with `CAPSA_E_CLOSED`. The machine goes on. */
  close(): void;
}

// ---- Sockets

/** Sockets (AF_VSOCK) between guest and host. */
export interface Vsock {
  /**
   * Connects to a port of the guest; waits for its driver to come up, and for its answer.
   *
   * @throws {@link CapsaError} `CAPSA_E_IO` with `syscallCode` `ECONNREFUSED`: nobody listens there.
   */
  connect(port: number, options: WaitOptions & { type: 'seqpacket' }): Promise<PacketSocket>;
  connect(port: number, options?: WaitOptions & { type?: 'stream' }): Promise<Socket>;
  /** Listens at a port of the host for the guest's connections. */
  listen(
    port: number, options: ListenOptions & { type: 'seqpacket' }, onconnection?: (socket: PacketSocket) => void,
  ): VsockListener<PacketSocket>;
  listen(
    port: number, options?: ListenOptions & { type?: 'stream' }, onconnection?: (socket: Socket) => void,
  ): VsockListener<Socket>;
  /** Frees a port of {@link Vsock.listen} or {@link Builder.vsockConnect}. What is connected stays so. */
  unlisten(port: number): void;
}

export interface ListenOptions {
  /** Connections that may wait. Default: 128. */
  backlog?: number;
}

/** The host's end of a port that the guest connects to: emits `connection`, and is an iterator of connections. */
export class VsockListener<T extends Duplex = Duplex> extends EventEmitter implements AsyncIterable<T> {
  private constructor();
  readonly port: number;
  /** Frees the port. What is connected stays so. */
  close(): Promise<void>;
  on(name: 'connection', listener: (socket: T) => void): this;
  on(name: 'error', listener: (error: Error) => void): this;
  on(name: 'close', listener: () => void): this;
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined>;
}

/** A socket of messages: each chunk read is one, and each chunk written becomes one. */
export class PacketSocket extends Duplex {
  private constructor();
}
