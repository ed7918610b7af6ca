'use strict';
// Sockets of messages, SOCK_SEQPACKET, which Node has none of.

const { Duplex } = require('node:stream');
const native = require('./native.cjs');

const SHUT_WR = 1;
const SHUT_RDWR = 2;

/** A stream of messages: each chunk read is one, and each chunk written becomes one. Ended by an empty one. */
class PacketSocket extends Duplex {
  #packet;
  #waits = new Set();
  #reading = false;

  /** Owns the descriptor. */
  constructor(fd) {
    super({ readableObjectMode: true, writableObjectMode: true, readableHighWaterMark: 16, writableHighWaterMark: 16 });
    this.#packet = native.packetOpen(fd);
  }

  /** Waits for a message, or for room for one. */
  async #wait(forWriting) {
    const wait = native.packetWait(this.#packet, forWriting);
    this.#waits.add(wait);
    try {
      await wait;
    } finally {
      this.#waits.delete(wait);
    }
  }

  async _read() {
    if (this.#reading) return;
    this.#reading = true;
    try {
      let message;
      while ((message = native.packetReceive(this.#packet)) === undefined) {
        await this.#wait(0);
        if (this.destroyed) return;
      }
      this.#reading = false; // push calls _read again
      this.push(message.length > 0 ? message : null);
    } catch (error) {
      this.destroy(error);
    }
  }

  async _write(message, _encoding, done) {
    try {
      while (!native.packetSend(this.#packet, message)) {
        await this.#wait(1);
        if (this.destroyed) return;
      }
    } catch (error) {
      done(error);
      return;
    }
    done();
  }

  _final(done) {
    try {
      native.packetShutdown(this.#packet, SHUT_WR);
      done();
    } catch (error) {
      done(error);
    }
  }

  async _destroy(error, done) {
    await close(this.#packet, this.#waits);
    done(error);
  }
}

/** Closes a descriptor after the waits on it, which the shutdown ends. */
async function close(packet, waits) {
  native.packetShutdown(packet, SHUT_RDWR);
  await Promise.allSettled([...waits]);
  native.packetClose(packet);
}

/** Gives each connection to a listening socket of messages to a function, until it is closed. */
class PacketAcceptor {
  #packet;
  #waits = new Set();
  #closed = false;

  constructor(fd, accept, fail) {
    this.#packet = native.packetOpen(fd);
    this.#run(accept).catch(fail);
  }

  async #run(accept) {
    await undefined; // first the caller listens
    while (!this.#closed) {
      const fd = native.packetAccept(this.#packet);
      if (fd !== undefined) {
        accept(new PacketSocket(fd));
        continue;
      }
      const wait = native.packetWait(this.#packet, 0);
      this.#waits.add(wait);
      await wait;
      this.#waits.delete(wait);
    }
  }

  async close() {
    if (this.#closed) return;
    this.#closed = true;
    await close(this.#packet, this.#waits);
  }
}

module.exports = { PacketSocket, PacketAcceptor };
