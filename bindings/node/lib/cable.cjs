'use strict';
// What the guest's cable leads to besides its own network, what bounds it, and who listens in.

const native = require('./native.cjs');
const { checkOptions, path, pick } = require('./devices.cjs');
const { flags, number } = require('./names.cjs');
const { hosts } = require('./network.cjs');

const sharedFlags = { hostAccess: 2, isolated: 8, broadcast: 16 };
const noIpv6 = 1; // CAPSA_SHARED_NO_IPV6
const noNat = 4; // CAPSA_SHARED_NO_NAT
const sharedOptions = ['mtu', 'ipv4', 'gateway', 'domain', 'dns', 'search'];
const handles = new WeakMap(); // of networks

class SharedNetwork {
  constructor(options = {}) {
    checkOptions(options, [...sharedOptions, 'ipv6', 'hosts', 'nat', ...Object.keys(sharedFlags)], 'options of a network');
    const { ipv6, nat } = options;
    if (nat !== undefined && typeof nat !== 'boolean') throw new TypeError('nat must be true or false');
    handles.set(this, native.networkNew({
      ...pick(options, sharedOptions),
      ...hosts(options.hosts),
      ipv6: typeof ipv6 === 'boolean' ? undefined : ipv6,
      flags: flags(sharedFlags, options) | (ipv6 === false ? noIpv6 : 0) | (nat === false ? noNat : 0),
    }));
  }

  close() {
    native.networkFree(handles.get(this));
  }
}

/** The handle of a network. */
function shared(network) {
  const handle = handles.get(network);
  if (!handle) throw new TypeError('the network must be a SharedNetwork');
  return handle;
}

const framings = { stream: 0, datagram: 1, tap: 2 };
const linkDown = { linkDown: 4 };

/** How a machine is attached, with those options that make sense for it. */
function attach(options = {}, known = []) {
  checkOptions(options, ['mac', 'linkDown', ...known], 'options');
  return {
    ...pick(options, ['mac', 'mtu', 'hostname']),
    guest: options.address,
    flags: flags(linkDown, options),
    framing: number(framings, options.framing, 'framing'),
  };
}

const ways = ['Bytes', 'Packets'].flatMap((what) => [`fromGuest${what}`, `toGuest${what}`]);
const limitNames = [...ways, 'connections'].flatMap((what) => [what, `${what}Burst`]);

/** Limits; undefined is none. */
function limits(options = {}) {
  checkOptions(options, limitNames, 'limits');
  return options;
}

/** A capture: a path, a descriptor, or options. */
function capture(to) {
  if (to === undefined || to === null) return undefined;
  if (typeof to === 'number') return { fd: to };
  if (typeof to === 'string' || to instanceof URL) return { path: path(to) };
  checkOptions(to, ['path', 'fd', 'snapLen', 'maxSize'], 'options of a capture');
  return { ...to, path: path(to.path) };
}

module.exports = { SharedNetwork, attach, capture, limits, shared };
