// Programs in a guest that has the library's agent.
import type { Socket } from 'node:net';
import type { WaitOptions } from './wait.cjs';

/** A resource limit: setrlimit(2). */
export interface Rlimit {
  /** RLIMIT_... of Linux. */
  resource: number;
  soft: number;
  hard: number;
}

export interface ExecOptions extends WaitOptions {
  /** Streams that are false are /dev/null. Default: true. */
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  /** On a terminal, whose both directions are stdin and stdout. */
  tty?: boolean;
  /** Size of the terminal in characters. Default: 80 by 24. */
  columns?: number;
  rows?: number;
  /** Variables besides the agent's own PATH, HOME and the like. */
  env?: Record<string, string>;
  /** Without the agent's own. */
  envOnly?: boolean;
  /** Working directory. Default: the user's home. */
  dir?: string;
  /** "name", "1000", "name:group", "1000:1000". Default: root. */
  user?: string;
  /** Bytes that it and its children may have. */
  memory?: number;
  /** How many processes and threads they may be. */
  pids?: number;
  /** Milliseconds after which they are all killed. */
  limit?: number;
  rlimits?: Rlimit[];
}

export interface RunOptions extends Omit<ExecOptions, 'stdin'> {
  /** What it reads. Default: nothing. */
  input?: string | Uint8Array;
}

/** How a program in the guest ended. */
export interface ExitStatus {
  /** Exit status, or 128 and the signal, as a shell has it. */
  code: number;
  /** Signal that ended it, else 0. */
  signal: number;
  /** One of its processes was killed for want of memory. */
  oom: boolean;
  /** Its limit ended it. */
  timedOut: boolean;
  userMs: number;
  systemMs: number;
  realMs: number;
  /** The largest amount of memory it had, in bytes. */
  maxRss: number;
}

/** A program that ran to its end. */
export interface Result extends ExitStatus {
  stdout: Buffer;
  stderr: Buffer;
}

/** A program that runs in the guest. */
export class Process {
  private constructor();
  readonly stdin: Socket | null;
  readonly stdout: Socket | null;
  readonly stderr: Socket | null;
  /** Waits for its end; repeatable. What it wrote may still be on its way. */
  wait(options?: WaitOptions): Promise<ExitStatus>;
  /** Sends a signal to its process group. One that has ended gets none, which is no error. */
  signal(number: number, options?: WaitOptions): Promise<void>;
  /** Kills it and everything that came from it. */
  kill(options?: WaitOptions): Promise<void>;
  /** Tells it the size of its terminal. */
  resize(columns: number, rows: number, options?: WaitOptions): Promise<void>;
  /** Kills it if it has not ended, and closes its streams. */
  close(): void;
}
