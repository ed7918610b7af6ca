'use strict';
// A machine.

const { EventEmitter } = require('node:events');
const native = require('./native.cjs');
const names = require('./names.cjs');
const { milliseconds, checkSignal, traced, waiting, untilEnd } = require('./wait.cjs');
const { Console } = require('./console.cjs');
const { isClass } = require('./errors.cjs');
const { Events, exitRecord } = require('./events.cjs');
const { Network } = require('./network.cjs');
const { path } = require('./devices.cjs');
const { execIn, runIn } = require('./process.cjs');
const { Vsock } = require('./vsock.cjs');
const { forgotten } = require('./forgotten.cjs');

const secret = Symbol('made by Builder.build');

class VM extends EventEmitter {
  #handle;
  #name;
  #events;
  #console;
  #network;
  #vsock;
  #record; // how it ended, once it was closed
  #closed;

  constructor(key, handle, name) {
    if (key !== secret) throw new TypeError('machines are made by VM.start, and by build and start of a Builder');
    super();
    this.#handle = handle;
    this.#name = name || '';
    this.#events = new Events(this, handle);
    forgotten.register(this, { handle, name: this.#name }, this);
  }

  static async start({ signal, startTimeout, ...options } = {}) {
    const { Builder } = require('./builder.cjs'); // which needs this module
    const builder = new Builder(options);
    try {
      return await builder.start({ signal, timeout: startTimeout });
    } finally {
      builder.close();
    }
  }

  get name() {
    return this.#name;
  }

  get state() {
    return names.name(names.states, native.vmState(this.#handle));
  }

  // ---- Life

  async start(options) {
    await waiting(options, (timeout, cancel) => native.vmStart(this.#handle, timeout, cancel));
    return this;
  }

  async wait({ timeout, signal } = {}) {
    const ms = milliseconds(timeout);
    checkSignal(signal);
    if (!this.#record) await untilEnd(native.vmExitFd(this.#handle), ms, signal);
    const { error, ...exit } = this.#exit(); // CAPSA_E_TIMEOUT when it has not ended
    if (!error) return exit;
    error.exit = exit;
    Error.captureStackTrace(error);
    throw error;
  }

  get exit() {
    try {
      const { error, ...exit } = this.#exit();
      return exit;
    } catch (error) {
      if (isClass(error, 'CAPSA_E_TIMEOUT')) return undefined; // it has not ended
      throw error;
    }
  }

  /** The exit record, with the error of a guest that never came up. */
  #exit() {
    if (this.#record) return this.#record;
    const { error } = native.vmExitError(this.#handle);
    const exit = exitRecord(JSON.parse(native.vmExitJson(this.#handle)));
    return error ? { ...exit, error } : exit;
  }

  async stop({ grace, signal } = {}) {
    const stage = await waiting({ timeout: grace ?? 30000, signal }, (ms, cancel) =>
      native.vmStop(this.#handle, ms, cancel));
    return names.name(names.stages, stage);
  }

  async stopInStages({ agent, powerButton, kill, signal } = {}) {
    const options = {};
    for (const [name, value] of Object.entries({ agent, powerButton, kill })) {
      if (value !== undefined) options[name] = milliseconds(value, name);
    }
    const outcome = await waiting({ signal }, (_, cancel) => native.vmStopInStages(this.#handle, options, cancel));
    return { ...outcome, stage: names.name(names.stages, outcome.stage) };
  }

  async kill() {
    await traced(native.vmKill(this.#handle));
  }

  async pause() {
    await traced(native.vmPause(this.#handle));
  }

  async resume() {
    await traced(native.vmResume(this.#handle));
  }

  close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close() {
    forgotten.unregister(this);
    // First the end, of which the last events and the exit record tell, then the handle.
    await native.vmKill(this.#handle).catch(() => {}); // freeing kills as well
    this.#events.drain();
    this.#record = this.#exit();
    this.#events.end();
    await native.vmFree(this.#handle);
  }

  // ---- What it has

  get console() {
    this.#console ??= this.openConsole();
    return this.#console;
  }

  openConsole() {
    return new Console(native.vmConsole(this.#handle), this);
  }

  get network() {
    this.#network ??= new Network(this.#handle, this);
    return this.#network;
  }

  get vsock() {
    this.#vsock ??= new Vsock(this.#handle, this);
    return this.#vsock;
  }

  // ---- Programs and files of a guest with an agent

  async waitReady(options) {
    return JSON.parse(await waiting(options, (timeout, cancel) => native.vmWaitReady(this.#handle, timeout, cancel)));
  }

  exec(args, options) {
    return execIn(this.#handle, this, args, options);
  }

  run(args, options) {
    return runIn(this.#handle, this, args, options);
  }

  async copyIn(from, to, { keepOwner, ...options } = {}) {
    await waiting(options, (timeout, cancel) =>
      native.vmCopy(this.#handle, 1, path(from), path(to), keepOwner ? 1 : 0, timeout, cancel));
  }

  async copyOut(from, to, { keepOwner, ...options } = {}) {
    await waiting(options, (timeout, cancel) =>
      native.vmCopy(this.#handle, 0, path(from), path(to), keepOwner ? 1 : 0, timeout, cancel));
  }

  async readFile(name, options) {
    const { bytes } = await waiting(options, (timeout, cancel) =>
      native.vmFileRead(this.#handle, path(name), timeout, cancel));
    return bytes;
  }

  async writeFile(name, data, { mode = 0, ...options } = {}) {
    await waiting(options, (timeout, cancel) =>
      native.vmFileWrite(this.#handle, path(name), data, mode, timeout, cancel));
  }

  get bootLog() {
    return native.vmBootLog(this.#handle).bytes.toString();
  }

  setMemoryTarget(bytes) {
    native.vmSetMemoryTarget(this.#handle, bytes);
  }

  // ---- Numbers

  stats() {
    const { state, balloon, ...numbers } = native.vmStats(this.#handle);
    return { state: names.name(names.states, state), balloon: names.name(names.balloons, balloon), ...numbers };
  }

  deviceStats(index) {
    if (index !== undefined) return native.vmDeviceStats(this.#handle, index);
    const { devices } = native.vmStats(this.#handle);
    return Array.from({ length: devices }, (_, i) => native.vmDeviceStats(this.#handle, i));
  }

  rawStats() {
    return JSON.parse(native.vmStatsJson(this.#handle));
  }

  metrics() {
    return native.vmMetrics(this.#handle);
  }

  // ---- Events

  events(options) {
    return this.#events.iterate(options);
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(VM.prototype, Symbol.asyncDispose, {
    value() {
      return this.close();
    },
    configurable: true,
    writable: true,
  });
}

module.exports = { VM, adopt: (handle, name) => new VM(secret, handle, name) };
