'use strict';
// A machine's events, fetched while somebody listens.

const native = require('./native.cjs');
const names = require('./names.cjs');
const { opened } = require('./network.cjs');
const { checkSignal, onAbort, reader } = require('./wait.cjs');

/** Names of EventEmitter's own. */
const own = ['newListener', 'removeListener'];

/** An exit record as programs see it, from the library's JSON. */
function exitRecord({ cause_code, code, signal, uptime_ns, panic_text, detail, error }) {
  const exit = { cause: names.name(names.causes, cause_code), code, signal, uptimeMs: uptime_ns / 1e6 };
  for (const [name, text] of Object.entries({ panicText: panic_text, detail, fault: error })) if (text) exit[name] = text;
  return exit;
}

/** An event as programs see it. */
function describe({ type, timeMs, value, json }) {
  const { type: _type, time: _time, exit, state: _state, lost: _lost, ...details } = JSON.parse(json);
  const event = { type: names.name(names.events, type), time: new Date(timeMs), ...details };
  if (event.type === 'state') event.state = names.name(names.states, value);
  if (event.type === 'exit') event.exit = exitRecord(exit);
  if (event.type === 'lost') event.lost = value;
  if (event.type === 'port' && event.forward) event.forward = opened(event.forward);
  if (event.type === 'unknown') event.number = type;
  return event;
}

/**
 * The library has one queue for each machine. As long as the machine has listeners or iterators this fetches what is
 * there and gives it to all of them; that keeps the process alive.
 */
class Events {
  #emitter;
  #handle;
  #socket;
  #iterators = new Set();
  #ended = false;

  constructor(emitter, handle) {
    this.#emitter = emitter;
    this.#handle = handle;
    emitter.on('newListener', (name) => own.includes(name) || this.#open());
    emitter.on('removeListener', () => this.#closeIfUnheard());
  }

  #open() {
    if (this.#socket || this.#ended) return;
    this.#socket = reader(native.vmEventFd(this.#handle));
    this.#socket.on('data', () => this.drain()).on('end', () => this.drain()).on('error', () => {});
  }

  #closeIfUnheard() {
    const heard = this.#emitter.eventNames().some((name) => !own.includes(name) && this.#emitter.listenerCount(name) > 0);
    if (heard || this.#iterators.size > 0) return;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** Fetches everything that is there: only then does the descriptor tell of more. */
  drain() {
    if (!this.#socket) return;
    for (;;) {
      const raw = native.vmNextEvent(this.#handle);
      if (raw === undefined) return;
      if (raw === null) {
        this.end();
        return;
      }
      this.#deliver(describe(raw));
      if (!this.#socket) return; // a listener has gone
    }
  }

  #deliver(event) {
    for (const iterator of this.#iterators) iterator.push(event);
    this.#emitter.emit(event.type, event);
    this.#emitter.emit('event', event);
  }

  /** Nothing more will come. */
  end() {
    this.#ended = true;
    this.#socket?.destroy();
    this.#socket = undefined;
    for (const iterator of this.#iterators) iterator.push(undefined);
  }

  /** From now on, until the machine's end. */
  iterate({ signal } = {}) {
    checkSignal(signal);
    const iterator = new Iterator(signal, () => {
      this.#iterators.delete(iterator);
      this.#closeIfUnheard();
    });
    this.#iterators.add(iterator);
    if (this.#ended) iterator.push(undefined);
    else this.#open();
    return iterator;
  }
}

/** How many events are kept for an iterator that is slow, as many as the library keeps. */
const maxQueued = 256;

/**
 * An async iterator over what is pushed; undefined is the end. The guest makes events, so that what is kept for a slow
 * program is bounded: the oldest go, and are counted.
 */
class Iterator {
  #queue = [];
  #lost = 0;
  #waiting = [];
  #over = false;
  #leave;
  #forget;

  constructor(signal, leave) {
    this.#leave = leave;
    this.#forget = onAbort(signal, () => this.#finish(signal.reason));
  }

  push(event) {
    if (this.#over) return;
    if (event === undefined) this.#finish();
    else if (this.#waiting.length > 0) this.#waiting.shift().resolve({ value: event, done: false });
    else this.#keep(event);
  }

  #keep(event) {
    if (event.type === 'console' && this.#queue.some(({ type }) => type === 'console')) return; // it is still true
    if (this.#queue.length === maxQueued) {
      this.#queue.shift();
      this.#lost++;
    }
    this.#queue.push(event);
  }

  #oldest() {
    if (this.#lost === 0) return this.#queue.shift();
    const event = { type: 'lost', time: new Date(), lost: this.#lost };
    this.#lost = 0;
    return event;
  }

  #finish(error) {
    if (this.#over) return;
    this.#over = true;
    this.#forget();
    if (error !== undefined) this.#queue = [];
    this.error = error;
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (error === undefined) {
        resolve({ value: undefined, done: true });
      } else {
        reject(error);
        this.error = undefined; // told once
      }
    }
    this.#leave();
  }

  next() {
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#oldest(), done: false });
    if (!this.#over) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const { error } = this;
    this.error = undefined;
    return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
  }

  return() {
    this.#queue = [];
    this.#finish();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

module.exports = { Events, exitRecord };
