'use strict';
// Sockets between guest and host.

const { EventEmitter, on } = require('node:events');
const net = require('node:net');
const native = require('./native.cjs');
const devices = require('./devices.cjs');
const { PacketSocket, PacketAcceptor } = require('./packet.cjs');
const { isClass } = require('./errors.cjs');
const { waiting } = require('./wait.cjs');

const stream = (fd) => new net.Socket({ fd, readable: true, writable: true, allowHalfOpen: true });

class Vsock {
  #handle;
  #vm; // kept: a machine whose sockets are in use is not forgotten

  constructor(handle, vm) {
    this.#handle = handle;
    this.#vm = vm;
  }

  async connect(port, { type, ...options } = {}) {
    const flags = devices.socket(type);
    const fd = await waiting(options, (timeout, cancel) =>
      native.vmVsockConnect(this.#handle, port, flags, timeout, cancel));
    return flags ? new PacketSocket(fd) : stream(fd);
  }

  listen(port, { type, backlog = 128 } = {}, onconnection = undefined) {
    const fd = native.vmVsockListen(this.#handle, port, devices.socket(type), backlog);
    const listener = new VsockListener(this, port, fd, { type, backlog });
    if (onconnection) listener.on('connection', onconnection);
    return listener;
  }

  unlisten(port) {
    native.vmVsockUnlisten(this.#handle, port);
  }
}

/** The host's end of a port that the guest connects to. */
class VsockListener extends EventEmitter {
  #vsock;
  #acceptor;
  #closed = false;

  constructor(vsock, port, fd, { type, backlog }) {
    super();
    this.port = port;
    this.#vsock = vsock;
    const accept = (socket) => this.emit('connection', socket);
    const fail = (error) => this.#closed || this.emit('error', error);
    this.#acceptor = type === 'seqpacket' ? new PacketAcceptor(fd, accept, fail) : streamAcceptor(fd, backlog, accept, fail);
  }

  /** Frees the port. What is connected stays so. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#vsock.unlisten(this.port);
    } catch (error) {
      // The port is free already: somebody else has done it, or the machine has ended.
      if (!['CAPSA_E_NOT_FOUND', 'CAPSA_E_STATE', 'CAPSA_E_HANDLE'].some((name) => isClass(error, name))) throw error;
    }
    await this.#acceptor.close();
    this.emit('close');
  }

  /** The connections, until close. */
  async *[Symbol.asyncIterator]() {
    if (this.#closed) return;
    const ended = new AbortController();
    this.once('close', () => ended.abort());
    try {
      for await (const [socket] of on(this, 'connection', { signal: ended.signal })) yield socket;
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    }
  }
}

function streamAcceptor(fd, backlog, accept, fail) {
  const server = net.createServer({ allowHalfOpen: true }, accept).on('error', fail).listen({ fd, backlog });
  return {
    close() {
      server.close(); // calls back only after the last connection has gone
    },
  };
}

module.exports = { Vsock, VsockListener, streamAcceptor };
