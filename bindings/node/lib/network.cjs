'use strict';
// The guest's network: what it is like, what it may reach, which of its ports the host reaches.

const native = require('./native.cjs');
const { checkOptions, path, pick } = require('./devices.cjs');
const { flags, number } = require('./names.cjs');

const modes = { none: 0, user: 1, nat: 2 };
const networkFlags = { hostAccess: 2, linkDown: 4 };
const noIpv6 = 1; // CAPSA_NETWORK_NO_IPV6
const networkOptions = ['mtu', 'mac', 'ipv4', 'guest', 'gateway', 'hostname', 'dns', 'search'];

/** The options of a network; undefined is none. */
function network(options = true) {
  if (options === false) return undefined;
  if (options === true) return { mode: modes.user };
  const known = ['mode', ...networkOptions, 'ipv6', 'hosts', ...Object.keys(networkFlags)];
  checkOptions(options, known, 'options of a network');
  const { ipv6 } = options;
  return {
    ...pick(options, networkOptions),
    ...hosts(options.hosts),
    mode: number(modes, options.mode ?? 'user', 'mode'),
    flags: flags(networkFlags, options) | (ipv6 === false ? noIpv6 : 0),
    ipv6: typeof ipv6 === 'boolean' ? undefined : ipv6,
  };
}

/** { name: address, or addresses } as two lists: a name for each address. */
function hosts(names = {}) {
  if (typeof names !== 'object' || names === null) throw new TypeError('hosts must be an object');
  const pairs = Object.entries(names).flatMap(([name, addresses]) => [addresses].flat().map((one) => [name, one]));
  return { hostNames: pairs.map(([name]) => name), hostAddresses: pairs.map(([, address]) => address) };
}

/** The text of a policy: undefined is the library's own. */
const policy = (value) =>
  value === undefined || value === null || typeof value === 'string' ? value : JSON.stringify(value);

const protocols = { tcp: 0, udp: 1 };

/** The options of a forward, of which `guestPort` is one. */
function forward(guestPort, options = {}) {
  checkOptions(options, ['protocol', 'host', 'hostPort', 'path'], 'options of a forward');
  if (guestPort === undefined) throw new TypeError('guestPort must be a number');
  return {
    ...pick(options, ['host', 'hostPort']),
    guestPort,
    path: path(options.path),
    protocol: number(protocols, options.protocol, 'protocol'),
  };
}

/** A forwarded port as programs see it, from the library's JSON. */
function opened({ id, protocol, host = '', path: at, guest_port: guestPort }) {
  if (at !== undefined) return { id, protocol, guestPort, path: at };
  const colon = host.lastIndexOf(':');
  return { id, protocol, guestPort, host: host.slice(0, colon).replace(/^\[|\]$/g, ''), hostPort: Number(host.slice(colon + 1)) };
}

/** Later, since that needs this. */
const cables = () => require('./cable.cjs');

class Network {
  #handle;
  #vm; // kept: a machine whose network is in use is not forgotten

  constructor(handle, vm) {
    this.#handle = handle;
    this.#vm = vm;
  }

  forward(guestPort, options = {}) {
    const { id, protocol, host, hostPort } = native.vmAddForward(this.#handle, forward(guestPort, options));
    const word = Object.keys(protocols)[protocol];
    return { id, protocol: word, guestPort, ...(hostPort ? { host, hostPort } : { path: host }) };
  }

  unforward(which) {
    native.vmRemoveForward(this.#handle, typeof which === 'object' && which !== null ? which.id : which);
  }

  forwards() {
    return JSON.parse(native.vmForwardsJson(this.#handle)).map(opened);
  }

  setPolicy(value) {
    native.vmSetPolicy(this.#handle, policy(value));
  }

  setLink(up) {
    if (typeof up !== 'boolean') throw new TypeError('up must be true or false');
    native.vmSetLink(this.#handle, Number(up));
  }

  attachFd(fd) {
    native.vmAttachFd(this.#handle, fd);
  }

  setLimits(value) {
    native.vmSetNetworkLimits(this.#handle, cables().limits(value));
  }

  setCapture(to) {
    native.vmSetCapture(this.#handle, cables().capture(to));
  }
}

module.exports = { Network, forward, hosts, network, opened, policy };
