// Shared networks, descriptors as networks, limits, captures.
import type { Path } from './builder.cjs';

/** A network of several machines. */
export interface SharedNetworkOptions {
  /** Network of 8 to 30 bits. Default: `"10.0.2.0/24"`. */
  ipv4?: string;
  /** The gateway's address there. Default: the 2nd. */
  gateway?: string;
  /** Network of 64 bits, or false: IPv4 only. Default: `"fd6c:6962:6361::/64"`. */
  ipv6?: string | boolean;
  /** Bytes, 1280 to 65520. Default: 1500. */
  mtu?: number;
  /** Of the machines' names, and the first search domain. Default: `"capsa.internal"`. */
  domain?: string;
  /** Name servers, `"192.0.2.53"` or `"192.0.2.53:5353"`. Default: the host's. */
  dns?: string[];
  /** Search domains after the first. */
  search?: string[];
  /** Static names and their addresses. */
  hosts?: Record<string, string | string[]>;
  /** Default: true. false: nothing leaves the network but through forwarded ports. */
  nat?: boolean;
  /** The gateway's address leads to the host's loopback, where policies allow that. */
  hostAccess?: boolean;
  /** Machines do not reach each other. */
  isolated?: boolean;
  /** Broadcasts and multicasts reach all machines, some hundreds in a second. */
  broadcast?: boolean;
}

/**
 * A network of several machines, in user space: each has a gateway to itself, with DHCP, DNS and NAT, its policy, its
 * forwarded ports and its limits, and finds the others by name. A flow between two machines needs the leave of both
 * policies.
 */
export class SharedNetwork {
  constructor(options?: SharedNetworkOptions);
  /** Lets no more machines on. Those that are there stay. */
  close(): void;
}

/** How a machine is attached to something. */
export interface AttachOptions {
  /** Of the guest, `"02:00:5e:10:00:01"`. Default: made of the machine's name, or of chance. */
  mac?: string;
  /** The cable is not plugged in, until `network.setLink(true)`. */
  linkDown?: boolean;
}

/** To a network of several machines. */
export interface AttachNetworkOptions extends AttachOptions {
  /** The machine's name in DNS. Default: its name, if that can be one. */
  hostname?: string;
  /** Static IPv4 address. Default: any that is free. */
  address?: string;
}

/** To a TAP interface. */
export interface AttachTapOptions extends AttachOptions {
  /** Bytes, 1280 to 65520. Default: 1500. */
  mtu?: number;
}

/** To a descriptor. */
export interface AttachFdOptions extends AttachTapOptions {
  /** How frames lie on it: after their lengths (QEMU, passt), as messages, as on an open TAP. Default: `stream`. */
  framing?: 'stream' | 'datagram' | 'tap';
}

/** What bounds a network device, per second. What is over a bound waits. A burst of 0 is a tenth of a second's. */
export interface NetworkLimits {
  fromGuestBytes?: number;
  fromGuestBytesBurst?: number;
  fromGuestPackets?: number;
  fromGuestPacketsBurst?: number;
  toGuestBytes?: number;
  toGuestBytesBurst?: number;
  toGuestPackets?: number;
  toGuestPacketsBurst?: number;
  /** Flows that the guest opens, of every protocol. */
  connections?: number;
  connectionsBurst?: number;
}

/** Where what passes a network device is written to, as pcapng. */
export interface CaptureOptions {
  /** Of a file, which is made or emptied. */
  path?: Path;
  /** Descriptor in place of a path; the library makes a copy. */
  fd?: number;
  /** Bytes of each frame. Default: all. */
  snapLen?: number;
  /** Bytes of the file, at which the capture ends. Default: no limit. */
  maxSize?: number;
}
