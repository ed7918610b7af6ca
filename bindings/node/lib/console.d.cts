// Consoles.
import type { Duplex } from 'node:stream';
import type { VM } from './vm.cjs';
import type { SignalOptions, WaitOptions } from './wait.cjs';

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
