// The guest's network.
import type { Path } from './builder.cjs';
import type { CaptureOptions, NetworkLimits } from './cable.cjs';

/**
 * The guest's network. In mode `user` it is the machine's own, in user space: it needs no privileges and changes nothing
 * about the host. The guest reaches what this process does, as far as the policy lets it. It gets its address by DHCP, and
 * over IPv6 by router advertisements; the gateway answers DNS, also for `host.capsa.internal`, which is its own address.
 */
export interface NetworkOptions {
  /** `user` is the default; `nat` is the platform's, which is not on every backend. */
  mode?: 'none' | 'user' | 'nat';
  /** Of the guest, `"02:00:5e:10:00:01"`. Default: made of the machine's name, or of chance. */
  mac?: string;
  /** Bytes, 1280 to 65520. Default: 1500. */
  mtu?: number;
  /** Network of 8 to 30 bits. Default: `"10.0.2.0/24"`. */
  ipv4?: string;
  /** The guest's address there. Default: the 15th. */
  guest?: string;
  /** This side's. Default: the 2nd. */
  gateway?: string;
  /** Network of 64 bits, or false: IPv4 only. Default: `"fd6c:6962:6361::/64"`. */
  ipv6?: string | boolean;
  /** That DHCP gives the guest. */
  hostname?: string;
  /** Name servers, `"192.0.2.53"` or `"192.0.2.53:5353"`. Default: the host's. */
  dns?: string[];
  /** Search domains. */
  search?: string[];
  /** Static names and their addresses. */
  hosts?: Record<string, string | string[]>;
  /** The gateway's address leads to the host's loopback, where the policy allows it. */
  hostAccess?: boolean;
  /** The cable is not plugged in, until {@link Network.setLink}. */
  linkDown?: boolean;
}

/** Named sets of addresses. */
export type PolicyGroup = 'public' | 'private' | 'loopback' | 'linklocal' | 'metadata' | 'multicast' | 'host';

/** A condition: every part that is given must match, and of a list one of its entries. */
export interface PolicyMatch {
  any?: boolean;
  /** `"192.0.2.0/24"`, or one address. */
  addresses?: string[];
  groups?: PolicyGroup[];
  /** Numbers, or ranges: `"8000-8010"`. */
  ports?: (number | string)[];
  protocols?: ('tcp' | 'udp' | 'icmp')[];
  /** `"example.com"` is that name alone, `"*.example.com"` what is below it, `".example.com"` both. */
  domains?: string[];
  /** All of them must match. */
  all?: PolicyMatch[];
}

/** Acts on what it matches. */
export interface PolicyRule extends PolicyMatch {
  /** `log` notes it and goes on with the next rule; `deny` is another word for `reject`. */
  action: 'allow' | 'deny' | 'reject' | 'drop' | 'log';
  /** Default: `outbound`. */
  direction?: 'outbound' | 'inbound' | 'both';
  /** For people. */
  note?: string;
}

/** What the guest may reach, and what may reach it. */
export interface Policy {
  /** Decides where no rule has. */
  default: 'allow-all' | 'deny-all' | 'public-only';
  /** How it is refused what is refused. Default: `reject`. */
  deny?: 'reject' | 'drop';
  /** For forwarded ports, where no rule has decided. Default: `allow`. */
  inbound?: 'allow' | 'reject' | 'drop';
  /** Opens to rules and default what is closed otherwise: all but `public` and `private`. */
  unlock?: PolicyGroup[];
  /** The first that matches decides. */
  rules?: PolicyRule[];
}

/** How the host's side reaches a port of the guest. Until the guest answers, clients wait. */
export interface ForwardOptions {
  /** Default: `tcp`. */
  protocol?: 'tcp' | 'udp';
  /** Address of the host to listen at, `"0.0.0.0"` or `"::"` for all. Default: `"127.0.0.1"`. */
  host?: string;
  /** Default: 0, any that is free. */
  hostPort?: number;
  /** Of a unix socket that leads to a TCP port, in place of `host` and `hostPort`. */
  path?: Path;
}

/** A forwarded port as it is: at `host` and `hostPort`, or at `path`. */
export interface OpenForward {
  /** No other forward of the machine ever has it. */
  id: number;
  protocol: 'tcp' | 'udp';
  guestPort: number;
  host?: string;
  /** The one that was chosen if none was given. */
  hostPort?: number;
  path?: string;
}

/** The network of a machine. */
export interface Network {
  /**
   * Opens one more port of the guest to the host's side.
   *
   * @throws {@link CapsaError} `CAPSA_E_EXISTS`: something is at that address or path; `CAPSA_E_UNSUPPORTED`: the machine
   * has no network of its own.
   */
  forward(guestPort: number, options?: ForwardOptions): OpenForward;
  /** Closes a forwarded port. TCP connections that are established go on. */
  unforward(which: OpenForward | number): void;
  /** The forwarded ports, those of the builder first. */
  forwards(): OpenForward[];
  /** Puts another policy in force, at once: flows that it does not allow end. undefined: the library's own. */
  setPolicy(policy: Policy | string | undefined): void;
  /** Plugs the guest's cable in, or pulls it out. */
  setLink(up: boolean): void;
  /** Plugs the guest's cable into another descriptor, for a machine of `Builder.attachFd`. */
  attachFd(fd: number): void;
  /** Changes what bounds the guest's network device, at once; undefined: nothing. */
  setLimits(limits: NetworkLimits | undefined): void;
  /** Has what passes the guest's network device written to a file, by path or descriptor; undefined: not any more. */
  setCapture(to: Path | number | CaptureOptions | undefined): void;
}
