'use strict';
// Programs in a guest.

const net = require('node:net');
const native = require('./native.cjs');
const devices = require('./devices.cjs');
const { waiting } = require('./wait.cjs');

const flags = { tty: 1, envOnly: 2, stdin: 4, stdout: 8, stderr: 16 }; // CAPSA_EXEC_...
const ends = { oom: 1, timedOut: 2 };
const signalAll = 1; // CAPSA_SIGNAL_ALL
const secret = Symbol('made by VM.exec');

const options = [
  'stdin', 'stdout', 'stderr', 'tty', 'columns', 'rows', 'env', 'envOnly', 'dir', 'user', 'memory', 'pids', 'limit', 'rlimits',
];

/** A program that runs in the guest. */
class Process {
  #handle;
  #vm; // kept: a machine whose programs are in use is not forgotten

  constructor(key, handle, vm, wanted) {
    if (key !== secret) throw new TypeError('programs are made by exec of a machine');
    this.#handle = handle;
    this.#vm = vm;
    const stream = (number) => new net.Socket({
      fd: native.execFd(handle, number), readable: wanted.tty || number > 0, writable: number === 0, allowHalfOpen: true,
    });
    this.stdin = wanted.stdin ? stream(0) : null;
    this.stdout = wanted.tty ? this.stdin : wanted.stdout ? stream(1) : null;
    this.stderr = wanted.stderr ? stream(2) : null;
  }

  async wait(wait) {
    const { flags: how, ...status } = await waiting(wait, (timeout, cancel) => native.execWait(this.#handle, timeout, cancel));
    return { ...status, oom: (how & ends.oom) !== 0, timedOut: (how & ends.timedOut) !== 0 };
  }

  async signal(number, wait) {
    await waiting(wait, (timeout, cancel) => native.execSignal(this.#handle, number, 0, timeout, cancel));
  }

  async kill(wait) {
    await waiting(wait, (timeout, cancel) => native.execSignal(this.#handle, 9, signalAll, timeout, cancel));
  }

  async resize(columns, rows, wait) {
    await waiting(wait, (timeout, cancel) => native.execResize(this.#handle, columns, rows, timeout, cancel));
  }

  /** Kills it if it has not ended, and closes its streams. */
  close() {
    for (const stream of [this.stdin, this.stdout, this.stderr]) stream?.destroy();
    native.execFree(this.#handle);
  }
}

/** The options for the addon. */
function describe(args, { tty = false, stdin = true, stdout = true, stderr = true, env = {}, envOnly = false, ...rest }) {
  if (!Array.isArray(args)) throw new TypeError('args must be an array of strings');
  const wanted = { tty, stdin: stdin || tty, stdout: stdout && !tty, stderr: stderr && !tty, envOnly };
  let bits = 0;
  for (const [name, bit] of Object.entries(flags)) if (wanted[name]) bits |= bit;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return { wanted, native: { ...rest, args, env: variables, flags: bits, limit: rest.limit ?? 0 } };
}

async function execIn(handle, vm, args, { timeout, signal, ...given } = {}) {
  devices.checkOptions(given, options, 'options of a program');
  const described = describe(args, given);
  const made = await waiting({ timeout, signal }, (ms, cancel) => native.vmExec(handle, described.native, ms, cancel));
  return new Process(secret, made, vm, described.wanted);
}

/** Everything from a stream, until its end. */
async function collect(stream) {
  const pieces = [];
  if (stream) for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function runIn(handle, vm, args, { input, timeout, signal, ...given } = {}) {
  const process = await execIn(handle, vm, args, { ...given, stdin: input !== undefined, timeout, signal });
  const late = timeout === undefined || timeout === Infinity ? undefined : setTimeout(() => process.close(), timeout);
  const abort = () => process.close();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    process.stdin?.on('error', () => {}); // it reads no more
    process.stdin?.end(input);
    const outputs = Promise.all([collect(process.stdout), collect(process.stderr)]);
    outputs.catch(() => {}); // of a program that is killed; the wait says why
    const status = await process.wait({ timeout, signal });
    const [stdout, stderr] = await outputs;
    return { ...status, stdout, stderr };
  } finally {
    clearTimeout(late);
    signal?.removeEventListener('abort', abort);
    process.close();
  }
}

module.exports = { Process, execIn, runIn };
