'use strict';
// The description of a machine.

const native = require('./native.cjs');
const devices = require('./devices.cjs');
const networks = require('./network.cjs');
const cables = require('./cable.cjs');
const { checkSignal, traced } = require('./wait.cjs');
const { adopt } = require('./vm.cjs');

const { path } = devices;

/** Each option of the constructor, and what is called with it. */
const setters = {
  name: (b, v) => b.name(v),
  backend: (b, v) => b.backend(v),
  kernel: (b, v, options) => b.linux(v, options.initrd),
  initrd: (b, v, options) => {
    if (options.kernel === undefined) throw new TypeError('initrd needs a kernel');
  },
  args: (b, v) => {
    if (!Array.isArray(v)) throw new TypeError('args must be an array of strings');
    b.args(...v);
  },
  cmdline: (b, v) => b.cmdline(v),
  cpus: (b, v) => b.cpus(v),
  memory: (b, v) => b.memory(v),
  timeout: (b, v) => b.timeout(v),
  console: (b, v) => b.console(v),
  balloon: (b, v) => b.balloon(v),
  isolation: (b, v, { jail }) => b.isolation(v, { jail }),
  jail: (b, v, options) => {
    if (options.isolation === undefined) throw new TypeError('jail needs an isolation');
  },
  disks: (b, v) => each(v, 'path', 'disks', (item, options) => b.disk(item, options)),
  shares: (b, v) => each(v, 'path', 'shares', (item, { tag, ...options }) => b.share(tag, item, options)),
  network: (b, v) => b.network(v),
  policy: (b, v) => b.policy(v),
  forwards: (b, v) => forwards(b, v),
  vsock: (b, v) => vsock(b, v),
  root: (b, v, { writable }) => b.root(v, { writable }),
  writable: (b, v, options) => {
    if (options.root === undefined) throw new TypeError('writable needs a root');
  },
  mounts: (b, v) => {
    for (const [target, share] of Object.entries(v)) {
      const { path: directory, ...options } = typeof share === 'string' || share instanceof URL ? { path: share } : share;
      b.mount(directory, target, options);
    }
  },
  guest: (b, v) => b.guest(v),
};

/** Calls fn(path, other options) for each element of a list of options; a string is a path alone. */
function each(list, key, name, fn) {
  if (!Array.isArray(list)) throw new TypeError(`${name} must be an array`);
  for (const item of list) {
    if (typeof item === 'string' || item instanceof URL) {
      fn(item, {});
    } else {
      const { [key]: first, ...options } = item;
      fn(first, options);
    }
  }
}

/** A list of ports of the guest, and of { guestPort, hostPort... }. */
function forwards(builder, list) {
  if (!Array.isArray(list)) throw new TypeError('forwards must be an array');
  for (const item of list) {
    const { guestPort, ...options } = typeof item === 'number' ? { guestPort: item } : item;
    builder.forward(guestPort, options);
  }
}

/** true, false, or { listen: [{ port, path, type }], connect: [...] } */
function vsock(builder, value) {
  if (typeof value === 'boolean') {
    builder.vsock(value);
    return;
  }
  devices.checkOptions(value, ['listen', 'connect'], 'options of vsock');
  builder.vsock(true);
  for (const { port, path: at, type } of value.listen ?? []) builder.vsockListen(port, at, { type });
  for (const { port, path: at, type } of value.connect ?? []) builder.vsockConnect(port, at, { type });
}

class Builder {
  #handle;
  #name; // of machines, as set
  #network; // kept: it lets machines on as long as it lives

  constructor(options = {}) {
    const { sandbox = false, ...given } = options;
    options = given;
    devices.checkOptions(options, Object.keys(setters), 'options of a machine');
    this.#handle = sandbox ? native.builderNewSandbox() : native.builderNew();
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined) setters[name](this, value, options);
    }
  }

  static #adopt(handle) {
    const builder = new Builder();
    native.builderFree(builder.#handle);
    builder.#handle = handle;
    return builder;
  }

  /** Accepts what toJSON gave, or text of it. */
  static fromJSON(json) {
    const builder = Builder.#adopt(native.builderFromJson(typeof json === 'string' ? json : JSON.stringify(json)));
    builder.#name = builder.toJSON().name;
    return builder;
  }

  name(name) {
    native.builderSetName(this.#handle, name);
    this.#name = name || undefined;
    return this;
  }

  backend(name) {
    native.builderSetBackend(this.#handle, name);
    return this;
  }

  linux(kernel, initrd) {
    native.builderBootLinux(this.#handle, path(kernel), path(initrd));
    return this;
  }

  args(...args) {
    for (const arg of args) native.builderCmdlineArg(this.#handle, arg);
    return this;
  }

  cmdline(cmdline) {
    native.builderSetCmdline(this.#handle, cmdline);
    return this;
  }

  cpus(cpus) {
    native.builderSetCpus(this.#handle, cpus);
    return this;
  }

  memory(mib) {
    native.builderSetMemoryMib(this.#handle, mib);
    return this;
  }

  timeout(ms) {
    native.builderSetTimeout(this.#handle, ms);
    return this;
  }

  console(options) {
    if (options) devices.checkOptions(options, ['columns', 'rows', 'ringSize'], 'options of a console');
    native.builderSetConsole(this.#handle, options);
    return this;
  }

  disk(image, options = {}) {
    const { overlay, scratchDir, backingDirs, ...rest } = devices.disk(options);
    native.builderAddDisk(this.#handle, path(image), {
      ...rest,
      overlay: path(overlay),
      scratchDir: path(scratchDir),
      backingDirs: backingDirs?.map(path),
    });
    return this;
  }

  share(tag, directory, options = {}) {
    native.builderAddShare(this.#handle, tag, path(directory), devices.share(options));
    return this;
  }

  balloon(options) {
    native.builderSetBalloon(this.#handle, devices.balloon(options));
    return this;
  }

  root(root, { writable = false } = {}) {
    const overlay = writable ? 1 : 0;
    if (typeof root === 'string' || root instanceof URL) {
      native.builderSetRootDir(this.#handle, path(root), overlay);
      return this;
    }
    const { path: image, ...options } = root;
    const { overlay: changes, scratchDir, backingDirs, ...rest } = devices.disk(options);
    native.builderSetRootDisk(this.#handle, path(image), {
      ...rest, overlay: path(changes), scratchDir: path(scratchDir), backingDirs: backingDirs?.map(path),
    }, overlay);
    return this;
  }

  mount(directory, target, options = {}) {
    native.builderMount(this.#handle, path(directory), target, devices.share(options));
    return this;
  }

  guest(guest) {
    native.builderSetGuestJson(this.#handle, typeof guest === 'string' ? guest : JSON.stringify(guest));
    return this;
  }

  isolation(isolation = 'process', options = {}) {
    native.builderSetIsolation(this.#handle, ...devices.isolation(isolation, options));
    return this;
  }

  network(options = true) {
    native.builderSetNetwork(this.#handle, networks.network(options));
    return this;
  }

  policy(policy) {
    native.builderSetPolicy(this.#handle, networks.policy(policy));
    return this;
  }

  attach(network, options = {}) {
    const made = cables.attach(options, ['hostname', 'address']);
    native.builderAttachNetwork(this.#handle, cables.shared(network), made);
    this.#network = network;
    return this;
  }

  attachFd(fd, options = {}) {
    native.builderAttachFd(this.#handle, fd, cables.attach(options, ['mtu', 'framing']));
    return this;
  }

  attachTap(name, options = {}) {
    native.builderAttachTap(this.#handle, name, cables.attach(options, ['mtu']));
    return this;
  }

  networkLimits(limits) {
    native.builderSetNetworkLimits(this.#handle, cables.limits(limits));
    return this;
  }

  capture(to) {
    native.builderSetCapture(this.#handle, cables.capture(to));
    return this;
  }

  forward(guestPort, options = {}) {
    native.builderAddForward(this.#handle, networks.forward(guestPort, options));
    return this;
  }

  vsock(on = true) {
    if (typeof on !== 'boolean') throw new TypeError('vsock must be true or false');
    native.builderSetVsock(this.#handle, Number(on));
    return this;
  }

  vsockListen(port, socket, { type } = {}) {
    native.builderVsockListen(this.#handle, port, path(socket), devices.socket(type));
    return this;
  }

  vsockConnect(port, socket, { type } = {}) {
    native.builderVsockConnect(this.#handle, port, path(socket), devices.socket(type));
    return this;
  }

  clone() {
    const copy = Builder.#adopt(native.builderClone(this.#handle));
    copy.#name = this.#name;
    copy.#network = this.#network;
    return copy;
  }

  toJSON() {
    return JSON.parse(native.builderToJson(this.#handle));
  }

  async build({ signal } = {}) {
    checkSignal(signal);
    const vm = adopt(await traced(native.builderBuild(this.#handle)), this.#name);
    if (signal?.aborted) {
      await vm.close();
      throw signal.reason;
    }
    return vm;
  }

  async start(options = {}) {
    const vm = await this.build(options);
    try {
      return await vm.start(options);
    } catch (error) {
      await vm.close();
      throw error;
    }
  }

  /** Frees the description now; the garbage collector does as well. */
  close() {
    native.builderFree(this.#handle);
  }
}

module.exports = { Builder };
