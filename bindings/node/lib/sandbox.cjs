'use strict';
// A machine in which programs are run.

const { Builder } = require('./builder.cjs');

const Sandbox = {
  /** Makes a machine that is up when the promise is kept. */
  async start({ startTimeout: timeout, signal, ...options }) {
    const builder = new Builder({ ...options, sandbox: true });
    let vm;
    try {
      vm = await builder.start({ signal });
    } finally {
      builder.close();
    }
    try {
      await vm.waitReady({ timeout, signal });
      return vm;
    } catch (error) {
      await vm.close();
      throw error;
    }
  },
};

module.exports = { Sandbox };
