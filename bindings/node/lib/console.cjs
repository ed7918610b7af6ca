'use strict';
// A reader and writer of a machine's console.

const readline = require('node:readline');
const { Duplex } = require('node:stream');
const native = require('./native.cjs');
const patterns = require('./patterns.cjs');
const { checkSignal, onAbort, reader, traced, waiting } = require('./wait.cjs');

/**
 * A Duplex: reading gives all output from the oldest kept on, writing types. expect and receive have a position of their
 * own, so that a program may watch a console and talk on it at once.
 */
class Console extends Duplex {
  #handle;
  #socket;
  #vm; // kept: a machine whose console is in use is not forgotten

  constructor(handle, vm) {
    super({ autoDestroy: false, emitClose: true, decodeStrings: true });
    this.#handle = handle;
    this.#vm = vm;
  }

  get vm() {
    return this.#vm;
  }

  // ---- The stream

  _read() {
    this.#socket ??= this.#open();
    this.#socket?.resume();
  }

  #open() {
    let socket;
    try {
      socket = reader(native.consoleFd(this.#handle));
    } catch (error) {
      process.nextTick(() => this.destroy(error));
      return undefined;
    }
    socket.on('data', (chunk) => this.push(chunk) || socket.pause());
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    return socket;
  }

  _write(chunk, _encoding, done) {
    native.consoleWrite(this.#handle, chunk, -1).then(() => done(), done);
  }

  _writev(chunks, done) {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), undefined, done);
  }

  _destroy(error, done) {
    this.#socket?.destroy();
    native.consoleFree(this.#handle);
    done(error);
  }

  /** Leaving a loop over the chunks leaves the console open. */
  [Symbol.asyncIterator]() {
    return this.iterator({ destroyOnReturn: false });
  }

  async *lines({ signal } = {}) {
    checkSignal(signal);
    const input = reader(native.consoleFd(this.#handle));
    const lines = readline.createInterface({ input, crlfDelay: Infinity });
    const forget = onAbort(signal, () => lines.close());
    try {
      yield* lines;
      checkSignal(signal);
    } finally {
      forget();
      lines.close();
      input.destroy();
    }
  }

  // ---- Conversation

  async expect(wanted, options) {
    const list = Array.isArray(wanted) ? wanted : [wanted];
    const compiled = list.map(patterns.compile);
    const match = await waiting(options, (timeout, cancel) =>
      native.consoleExpect(this.#handle, compiled, timeout, cancel));
    return patterns.describe(match, list);
  }

  async run(command, options) {
    const { status, bytes, missing } = await waiting(options, (timeout, cancel) =>
      native.consoleRun(this.#handle, command, timeout, cancel));
    return { status, output: bytes.toString(), bytes, missing };
  }

  async receive({ size = 65536, ...options } = {}) {
    return waiting(options, (timeout, cancel) => native.consoleRead(this.#handle, size, timeout, cancel));
  }

  async type(data, options) {
    await this.#written();
    await waiting(options, (timeout, cancel) => native.consoleWrite(this.#handle, data, timeout, cancel));
  }

  async interrupt(options) {
    await waiting(options, (timeout, cancel) => native.consoleInterrupt(this.#handle, timeout, cancel));
  }

  async eof(options) {
    await this.#written();
    await waiting(options, (timeout, cancel) => native.consoleEof(this.#handle, timeout, cancel));
  }

  /** Waits until what was written before has been typed. */
  async #written() {
    if (this.writableLength === 0 || !this.writable) return;
    await traced(new Promise((resolve, reject) => this.write('', (error) => (error ? reject(error) : resolve()))));
  }

  // ---- The rest

  resize(columns, rows) {
    native.consoleResize(this.#handle, columns, rows);
  }

  get lost() {
    return native.consoleLost(this.#handle);
  }

  close() {
    this.destroy();
  }
}

module.exports = { Console };
