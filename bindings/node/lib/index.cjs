'use strict';
// What the package exports.

const native = require('./native.cjs');
const { CapsaError } = require('./errors.cjs');
const { Builder } = require('./builder.cjs');
const { VM } = require('./vm.cjs');
const { Console } = require('./console.cjs');
const { Process } = require('./process.cjs');
const { Sandbox } = require('./sandbox.cjs');
const { SharedNetwork } = require('./cable.cjs');
const { VsockListener } = require('./vsock.cjs');
const { PacketSocket } = require('./packet.cjs');
const { traced } = require('./wait.cjs');

/** What works on this host, what does not, and what to do about it. */
const doctor = async () => JSON.parse(await traced(native.doctor()));

/** The counters of all machines as Prometheus text. */
const metrics = () => traced(native.metrics());

module.exports = {
  Builder, CapsaError, Console, PacketSocket, Process, Sandbox, SharedNetwork, VM, VsockListener, doctor,
  has: native.has, metrics,
  version: native.version(),
};
