// Sockets between guest and host.
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { WaitOptions } from './wait.cjs';

/** Sockets (AF_VSOCK) between guest and host. */
export interface Vsock {
  /**
   * Connects to a port of the guest; waits for its driver to come up, and for its answer.
   *
   * @throws {@link CapsaError} `CAPSA_E_IO` with `syscallCode` `ECONNREFUSED`: nobody listens there.
   */
  connect(port: number, options: WaitOptions & { type: 'seqpacket' }): Promise<PacketSocket>;
  connect(port: number, options?: WaitOptions & { type?: 'stream' }): Promise<Socket>;
  /** Listens at a port of the host for the guest's connections. */
  listen(
    port: number, options: ListenOptions & { type: 'seqpacket' }, onconnection?: (socket: PacketSocket) => void,
  ): VsockListener<PacketSocket>;
  listen(
    port: number, options?: ListenOptions & { type?: 'stream' }, onconnection?: (socket: Socket) => void,
  ): VsockListener<Socket>;
  /** Frees a port of {@link Vsock.listen} or {@link Builder.vsockConnect}. What is connected stays so. */
  unlisten(port: number): void;
}

export interface ListenOptions {
  /** Connections that may wait. Default: 128. */
  backlog?: number;
}

/** The host's end of a port that the guest connects to: emits `connection`, and is an iterator of connections. */
export class VsockListener<T extends Duplex = Duplex> extends EventEmitter implements AsyncIterable<T> {
  private constructor();
  readonly port: number;
  /** Frees the port. What is connected stays so. */
  close(): Promise<void>;
  on(name: 'connection', listener: (socket: T) => void): this;
  on(name: 'error', listener: (error: Error) => void): this;
  on(name: 'close', listener: () => void): this;
  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined>;
}

/** A socket of messages: each chunk read is one, and each chunk written becomes one. */
export class PacketSocket extends Duplex {
  private constructor();
}
