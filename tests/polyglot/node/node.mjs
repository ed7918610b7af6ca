// Interpreter of the polyglot suite (README.md) over the Node package.
import fs from 'node:fs';
import net from 'node:net';
import readline from 'node:readline';
import { once } from 'node:events';
import { Builder, CapsaError, has, version } from 'capsa';

const answer = (value) => console.log('ok', encodeURIComponent(value ?? ''));
const failure = (name, hint, message) =>
  console.log('error', name, hint ? 'hint' : 'nohint', encodeURIComponent(message));
const exitOf = ({ cause, code, signal }) => `${cause} ${code} ${signal}`;

let builder = new Builder();
const made = new Map();
const get = (name) => made.get(name);

/** set: one property of the description. */
const describe = {
  name: ({ value }) => builder.name(value),
  backend: ({ value }) => builder.backend(value),
  linux: ({ value, initrd }) => builder.linux(value, initrd),
  arg: ({ value }) => builder.args(value),
  cmdline: ({ value }) => builder.cmdline(value),
  cpus: ({ value }) => builder.cpus(Number(value)),
  memory_mib: ({ value }) => builder.memory(Number(value)),
  timeout_ms: ({ value }) => builder.timeout(Number(value)),
  isolation: ({ value }) => builder.isolation(value),
  disk: ({ value }) => builder.disk(value, { format: 'raw' }),
  share: ({ value, tag, read_only: readOnly }) => builder.share(tag, value, { readOnly: readOnly !== undefined }),
  ring_size: ({ value }) => builder.console({ ringSize: Number(value) }),
  vsock: () => builder.vsock(),
  vsock_listen: ({ value, port }) => builder.vsockListen(Number(port), value),
  network: ({ value }) => builder.network({ hostAccess: true, mtu: Number(value) }),
  policy: ({ value }) => builder.policy(value),
  forward: ({ value }) => builder.forward(Number(value)),
};

/** A method for each word of the script. */
const words = {
  async clear() {
    for (const thing of [...made.values()].reverse()) {
      if (thing.destroy) thing.destroy();
      else if (thing.close) await thing.close();
    }
    made.clear();
    builder.close();
    builder = new Builder();
  },
  version: () => version,
  has: ({ feature }) => String(has(feature)),
  set: (a) => void describe[a.what](a),
  json: () => JSON.stringify(builder),
  from_json: ({ json }) => void (builder = Builder.fromJSON(json)),
  build: async ({ vm }) => void made.set(vm, await builder.build()),
  start: async ({ vm }) => void (await get(vm).start()),
  state: ({ vm }) => get(vm).state,
  wait: async ({ vm, ms }) => exitOf(await get(vm).wait({ timeout: Number(ms) })),
  stop: ({ vm, ms }) => get(vm).stop({ grace: Number(ms) }),
  kill: ({ vm }) => get(vm).kill(),
  pause: ({ vm }) => get(vm).pause(),
  resume: ({ vm }) => get(vm).resume(),
  async close({ of }) {
    await get(of).close();
    made.delete(of);
  },
  async cancelled({ vm }) {
    const controller = new AbortController();
    const waiting = get(vm).wait({ signal: controller.signal });
    controller.abort();
    return exitOf(await waiting);
  },
  boot_log: ({ vm }) => get(vm).bootLog,
  stats({ vm }) {
    const { cpus, memoryBytes } = get(vm).stats();
    return `${cpus} ${memoryBytes / 2 ** 20}`;
  },
  watch: ({ vm, as }) => void made.set(as, get(vm).events()),
  async events({ of }) {
    const names = { exit: 'exited', console: 'console-data', port: 'port-bound', lost: 'events-lost' };
    const seen = new Set();
    for await (const { type } of get(of)) seen.add(names[type] ?? type);
    return [...seen].sort().join(' ');
  },
  async many({ count, ms }) {
    const life = async () => {
      const vm = await builder.start();
      try {
        return exitOf(await vm.wait({ timeout: Number(ms) }));
      } finally {
        await vm.close();
      }
    };
    return (await Promise.all(Array.from({ length: Number(count) }, life))).join(' ');
  },
  async churn({ count, started }) {
    for (let n = 0; n < Number(count); n++) {
      const vm = await builder.build();
      if (started) await vm.start();
      if (n % 2) await vm.close(); // the others are forgotten
      if (n % 20 === 19) await collected();
    }
    await collected();
  },
  console: ({ vm, as }) => void made.set(as, get(vm).openConsole()),
  async expect({ of, literal, regex, ms }) {
    const patterns = [];
    if (literal !== undefined) patterns.push(literal);
    if (regex !== undefined) patterns.push(new RegExp(regex));
    const { index, text } = await get(of).expect(patterns, { timeout: Number(ms) });
    return `${index} ${text}`;
  },
  async run({ of, command, ms }) {
    const { status, output } = await get(of).run(command, { timeout: Number(ms) });
    return `${status} ${output}`;
  },
  type: ({ of, text }) => get(of).type(text),
  interrupt: ({ of }) => get(of).interrupt(),
  eof: ({ of }) => get(of).eof(),
  resize: ({ of, columns, rows }) => get(of).resize(Number(columns), Number(rows)),
  async read_all({ of }) {
    const pieces = [];
    for (;;) {
      const piece = await get(of).receive();
      if (!piece.length) return Buffer.concat(pieces).toString();
      pieces.push(piece);
    }
  },
  states({ vm, count }) {
    const machine = get(vm);
    for (let n = Number(count); n > 0; n--) machine.state;
  },
  async drain({ vm, count }) {
    let size = 0;
    for (let n = 0; n < Number(count); n++) {
      const console = get(vm).openConsole();
      for await (const piece of console) size += piece.length;
      console.close();
    }
    return String(size);
  },
  async ping({ of, count }) {
    const console = get(of);
    for (let n = 0; n < Number(count); n++) {
      await console.type('ping');
      await console.expect('ping');
    }
  },
  dial: async ({ vm, port, ms, as }) => void made.set(as, await get(vm).vsock.connect(Number(port), { timeout: Number(ms) })),
  listen: ({ vm, port, as }) => void made.set(as, get(vm).vsock.listen(Number(port))),
  async accept({ of, as, ms }) {
    const waiting = AbortSignal.timeout(Number(ms));
    try {
      const [socket] = await once(get(of), 'connection', { signal: waiting });
      made.set(as, socket);
    } catch (error) {
      if (!waiting.aborted) throw error;
      return new Failure('CAPSA_E_TIMEOUT', 'no connection came in time');
    }
  },
  add_forward({ vm, port, as }) {
    const forward = get(vm).network.forward(Number(port));
    made.set(as, forward);
    return `${forward.host} ${forward.guestPort}`;
  },
  remove_forward: ({ vm, of }) => get(vm).network.unforward(get(of)),
  async connect({ of, as }) {
    const { host, hostPort } = get(of);
    const socket = net.connect({ host, port: hostPort, allowHalfOpen: true });
    await once(socket, 'connect');
    made.set(as, socket);
  },
  async exchange({ of, text }) {
    const socket = get(of);
    const pieces = [];
    socket.on('data', (piece) => pieces.push(piece));
    socket.end(text);
    await once(socket, 'end');
    return Buffer.concat(pieces).toString();
  },
  policy: ({ vm, json }) => get(vm).network.setPolicy(json),
  link: ({ vm, up }) => get(vm).network.setLink(up === '1'),
  file: ({ path }) => fs.readFileSync(path, 'utf8'),
};

/** Lets the collector find what is dropped, and finalizers run. */
async function collected() {
  for (let n = 0; n < 4; n++) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What a step of this interpreter's own making failed with. */
class Failure {
  constructor(name, message) {
    Object.assign(this, { name, message });
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [word, ...pairs] = line.split(' ');
  const given = Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), decodeURIComponent(pair.slice(at + 1))];
  }));
  if (!Object.hasOwn(words, word)) {
    console.log('unknown', word);
    continue;
  }
  try {
    const value = await words[word](given);
    if (value instanceof Failure) failure(value.name, false, value.message);
    else answer(value);
  } catch (error) {
    if (error instanceof CapsaError) failure(error.class, error.hint, error.message);
    else if (error.name === 'AbortError') failure('CAPSA_E_CANCELLED', false, error.message); // the signal's reason
    else throw error;
  }
}
await words.clear();
