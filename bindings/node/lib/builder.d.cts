// Descriptions of machines.
import type { SignalOptions, WaitOptions } from './wait.cjs';
import type {
  AttachFdOptions, AttachNetworkOptions, AttachTapOptions, CaptureOptions, NetworkLimits, SharedNetwork,
} from './cable.cjs';
import type { ForwardOptions, NetworkOptions, Policy } from './network.cjs';
import type { VM } from './vm.cjs';

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
  /** Device nodes are made, and are the host's devices there; when the owner is `passthrough`. */
  allowDevices?: boolean;
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

/**
 * The process in which a machine runs. `default`: as the backend prefers, kvm in this process. `none`: in this process.
 * `process`: in one of its own, whose death is only the machine's.
 */
export type Isolation = 'default' | 'none' | 'process';

/**
 * How far a process of its own is confined. `full`, the default: as far as the library goes; what the host's kernel
 * cannot do is an error of the build. `partial`: as far as the host's kernel goes. `off`: not at all.
 */
export type Jail = 'full' | 'partial' | 'off';

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
  isolation?: Isolation;
  /** Of `isolation: 'process'`. */
  jail?: Jail;
  /** Whether the guest has a network, and what it is like. Default: false. */
  network?: boolean | NetworkOptions;
  /** What the guest may reach. Default: everything but the host itself, and what only the host should reach. */
  policy?: Policy | string;
  /** Ports of the guest that the host's side reaches. A number alone is at any free port of `127.0.0.1`. */
  forwards?: (number | (ForwardOptions & { guestPort: number }))[];
  /** Whether the guest has sockets to the host, and ports that are bound for the machine's life. Default: false. */
  vsock?: boolean | { listen?: BoundPort[]; connect?: BoundPort[] };
  /** Begins with a machine in which programs are run: with the library's agent, in a process of its own. */
  sandbox?: boolean;
  /** What becomes the root directory of a guest with an agent: a directory of the host, or a disk. */
  root?: string | URL | (DiskOptions & { path: string | URL });
  /** The guest writes its root. Default: what it writes stays in its memory. */
  writable?: boolean;
  /** Directories of the host that the agent mounts, by their absolute paths in the guest. */
  mounts?: Record<string, string | URL | (ShareOptions & { path: string | URL })>;
  /** What the agent does in the guest, as the key `guest` of the description has it. */
  guest?: Record<string, unknown> | string;
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
  /**
   * Chooses the process in which the machine runs; without arguments one of its own. A machine whose process dies ends
   * as `vmm-crash`. The build fails with `CAPSA_E_UNAVAILABLE` when the program capsa-vzd, which the package brings along,
   * is in none of the places where it could be.
   */
  isolation(isolation?: Isolation, options?: { jail?: Jail }): this;
  /** Makes a directory of the host, or the file system on a disk, the root directory of a guest with an agent. */
  root(root: string | URL | (DiskOptions & { path: string | URL }), options?: { writable?: boolean }): this;
  /** Has the agent mount a directory of the host at an absolute path of the guest. */
  mount(directory: string | URL, target: string, options?: ShareOptions): this;
  /** Says what the agent does in the guest. What is left out stays as it is. */
  guest(guest: Record<string, unknown> | string): this;
  network(options?: boolean | NetworkOptions): this;
  /** undefined goes back to everything but the host itself, and what only the host should reach. */
  policy(policy: Policy | string | undefined): this;
  /** Puts the guest on a network of several machines. */
  attach(network: SharedNetwork, options?: AttachNetworkOptions): this;
  /**
   * Makes whoever holds the other end of a descriptor the guest's network: passt, a TAP. It stays open until the build,
   * which makes a copy of it and makes both non-blocking.
   */
  attachFd(fd: number, options?: AttachFdOptions): this;
  /** Makes a TAP interface of the host the guest's network. */
  attachTap(name: string, options?: AttachTapOptions): this;
  /** Bounds what passes the guest's network device; undefined: nothing. */
  networkLimits(limits: NetworkLimits | undefined): this;
  /** Has what passes the guest's network device written to a file, by path or descriptor; undefined: not. */
  capture(to: Path | number | CaptureOptions | undefined): this;
  /** Opens a port of the guest to the host's side, from the build to the machine's end. */
  forward(guestPort: number, options?: ForwardOptions): this;
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
