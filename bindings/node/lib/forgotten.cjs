'use strict';
// Machines that the program has lost while they had not been closed: they are freed, and that is told, since until the
// garbage collector came they have kept memory and a processor.

const native = require('./native.cjs');

const forgotten = new FinalizationRegistry(({ handle, name }) => {
  process.emitWarning(`the virtual machine${name && ` ${name}`} was garbage collected without having been closed`, {
    type: 'CapsaWarning',
    code: 'CAPSA_FORGOTTEN_VM',
    detail: 'call close() when it is no longer needed, or declare it with "await using"',
  });
  native.vmFree(handle).catch(() => {}); // it has been freed before
});

module.exports = { forgotten };
