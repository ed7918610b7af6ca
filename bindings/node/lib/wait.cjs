'use strict';
// Calls that wait: timeouts, abort signals, and stack traces that lead to the caller.

const net = require('node:net');
const native = require('./native.cjs');

/** The longest that setTimeout can, 24 days; longer timeouts are for ever. */
const maxTimer = 2 ** 31 - 1;

/** Milliseconds for the library: undefined and Infinity are for ever. */
function milliseconds(timeout, name = 'timeout') {
  if (timeout === undefined || timeout === null || timeout === Infinity) return -1;
  if (typeof timeout !== 'number') throw new TypeError(`${name} must be a number of milliseconds`);
  if (!(timeout >= 0)) throw new RangeError(`${name} must be at least 0 milliseconds`);
  return Math.ceil(timeout);
}

/** Rejects what is no AbortSignal, and throws the reason of one that was aborted. */
function checkSignal(signal) {
  if (signal === undefined || signal === null) return;
  if (typeof signal !== 'object' || typeof signal.addEventListener !== 'function') {
    throw new TypeError('signal must be an AbortSignal');
  }
  if (signal.aborted) throw signal.reason;
}

/** What is called when a signal aborts. A signal of many waits has one listener: Node warns of more than ten. */
const callbacks = new WeakMap();

/** Calls fn when a signal aborts, until the function that this gives is called. */
function onAbort(signal, fn) {
  if (!signal) return () => {};
  const known = callbacks.get(signal);
  const set = known ?? new Set();
  if (!known) callbacks.set(signal, set);
  if (set.size === 0) signal.addEventListener('abort', callAll, { once: true });
  set.add(fn);
  return () => {
    set.delete(fn);
    if (set.size === 0) signal.removeEventListener('abort', callAll);
  };
}

function callAll({ target }) {
  for (const fn of [...(callbacks.get(target) ?? [])]) fn();
}

/**
 * Awaits a promise of the addon, whose errors were made where no function of JavaScript ran: here they get the stack of
 * the functions that await.
 */
async function traced(promise) {
  try {
    return await promise;
  } catch (error) {
    Error.captureStackTrace(error);
    throw error;
  }
}

/**
 * Makes a waiting call, call(timeout, cancel), which an AbortSignal ends with the signal's reason.
 */
async function waiting({ timeout, signal } = {}, call) {
  const ms = milliseconds(timeout);
  checkSignal(signal);
  if (!signal) return traced(call(ms, undefined));
  const cancel = native.cancelNew();
  const forget = onAbort(signal, () => native.cancelTrigger(cancel));
  try {
    return await traced(call(ms, cancel));
  } catch (error) {
    if (signal.aborted && error.class === 'CAPSA_E_CANCELLED') throw signal.reason;
    throw error;
  } finally {
    forget();
    native.cancelFree(cancel);
  }
}

/** A socket that only reads a descriptor, which it owns. */
const reader = (fd) => new net.Socket({ fd, readable: true, writable: false });

/** Waits for the end of a descriptor, or for the timeout; a signal rejects. Owns the descriptor. */
function untilEnd(fd, timeout, signal) {
  const socket = reader(fd);
  return new Promise((resolve, reject) => {
    const timer = timeout < 0 || timeout > maxTimer ? undefined : setTimeout(() => end(resolve), timeout);
    const forget = onAbort(signal, () => end(() => reject(signal.reason)));
    function end(settle) {
      clearTimeout(timer);
      forget();
      socket.destroy();
      settle();
    }
    socket.on('error', (error) => end(() => reject(error))).on('end', () => end(resolve)).resume();
  });
}

module.exports = { milliseconds, checkSignal, onAbort, traced, waiting, reader, untilEnd };
