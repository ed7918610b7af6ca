'use strict';
// What failed calls throw.

const { getSystemErrorName } = require('node:util');
const native = require('./native.cjs');

/** A call of the library that failed. The addon makes them; see index.d.ts for the fields. */
class CapsaError extends Error {
  constructor(fields) {
    super(fields.message);
    for (const name of ['code', 'status', 'hint', 'component', 'consoleTail']) {
      if (fields[name] !== undefined) this[name] = fields[name];
    }
    // Mostly the code again: not worth a line wherever errors are printed.
    Object.defineProperty(this, 'class', { value: fields.class, configurable: true, writable: true });
    if (fields.errno) {
      this.errno = -fields.errno; // as Node's own errors have it
      this.syscallCode = getSystemErrorName(-fields.errno);
    }
    if (fields.detail) this.detail = JSON.parse(fields.detail);
  }

  /** Every problem of a description that could not be built. */
  get problems() {
    return this.detail?.problems ?? [];
  }
}
Object.defineProperty(CapsaError.prototype, 'name', { value: 'CapsaError', configurable: true, writable: true });

native.setErrorClass(CapsaError);

/** Whether an error is the library's and of a class, such as 'CAPSA_E_TIMEOUT'. */
const isClass = (error, name) => error instanceof CapsaError && error.class === name;

module.exports = { CapsaError, isClass };
