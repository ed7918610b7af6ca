// The process around the package: exit, workers, the garbage collector.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { guest, kvm, node, root, temporary } from './helper.js';

const spin = JSON.stringify(guest('print:up spin'));

test('a process ends with a machine running', kvm, async (t) => {
  const socket = path.join(temporary(t), 'in');
  const options = JSON.stringify(guest('print:up spin', { vsock: { listen: [{ port: 1, path: socket }] } }));
  const { stdout, stderr } = await node(`
    import { VM } from 'capsa';
    const vm = globalThis.vm = await VM.start(${options});
    await vm.console.expect('up');
    console.log(vm.state);`);
  assert.equal(stdout, 'running\n');
  assert.equal(stderr, '');
  assert.equal(fs.existsSync(socket), false); // it was freed properly
});

test('process.exit with machines, waits and work under way', kvm, async () => {
  await assert.rejects(node(`
    import { Builder, VM } from 'capsa';
    const vms = await Promise.all([1, 2, 3].map(() => VM.start(${spin})));
    for (const vm of vms) {
      vm.on('event', () => {});
      vm.console.resume();
      const ends = [vm.console.expect('never'), vm.wait(), vm.stop({ grace: Infinity })];
      for (const end of ends) end.catch(() => {});
    }
    new Builder(${spin}).build();
    vms[0].kill();
    setImmediate(() => process.exit(7));`), { code: 7, stderr: '' });
});

test('an exception with a machine running', kvm, async () => {
  await assert.rejects(node(`
    import { VM } from 'capsa';
    const vm = await VM.start(${spin});
    vm.console.expect('never').catch(() => {});
    throw new Error('mine');`), (error) => error.code === 1 && /mine/.test(error.stderr));
});

test('a pending wait keeps the process alive, and nothing else', kvm, async () => {
  const { stdout } = await node(`
    import { VM } from 'capsa';
    const vm = await VM.start(${JSON.stringify(guest('print:up button off'))});
    await vm.console.expect('up');
    vm.wait().then(({ cause }) => console.log(cause));
    vm.stop({ grace: 30000 }).then((stage) => console.log(stage));`);
  assert.deepEqual(stdout.trim().split('\n').sort(), ['power-button', 'stopped']);
});

const workers = `
  import { Worker, isMainThread } from 'node:worker_threads';
  const worker = (code) => new Worker(
    new URL('data:text/javascript,' + encodeURIComponent(code)), { execArgv: [] });
  const load = 'import { parentPort } from "node:worker_threads"; import { createRequire } from "node:module";' +
    'const { VM, Builder } = createRequire(${JSON.stringify(path.join(root, 'package.json'))})("capsa");';
`;

test('workers', kvm, async () => {
  const { stdout, stderr } = await node(`${workers}
    const ends = [1, 2, 3].map(() => new Promise((resolve, reject) => worker(load + \`
      const vm = await VM.start(${JSON.stringify(guest('print:up echo off'))});
      await vm.console.expect('up');
      await vm.console.eof();
      parentPort.postMessage((await vm.wait()).cause);
      await vm.close();\`).on('message', resolve).on('error', reject)));
    console.log((await Promise.all(ends)).join());`);
  assert.equal(stdout, 'guest-shutdown,guest-shutdown,guest-shutdown\n');
  assert.equal(stderr, '');
});

test('a worker that is terminated takes its machines along', kvm, async (t) => {
  const socket = path.join(temporary(t), 'in');
  const options = JSON.stringify(guest('print:up spin', { vsock: { listen: [{ port: 1, path: socket }] } }));
  const { stdout, stderr } = await node(`${workers}
    import fs from 'node:fs';
    for (let i = 0; i < 5; i++) {
      const w = worker(load + \`
        globalThis.vm = await VM.start(${options});
        vm.on('event', () => {});
        vm.console.resume();
        await vm.console.expect('up');
        vm.console.expect('never');
        vm.wait();
        vm.stop({ grace: Infinity });
        const more = () => new Builder(${spin}).build().then(more);
        more();
        parentPort.postMessage('up');\`);
      await new Promise((resolve, reject) => w.on('message', resolve).on('error', reject));
      await w.terminate();
      console.log(fs.existsSync(${JSON.stringify(socket)}));
    }
    const { metrics } = await import('capsa');
    console.log((await metrics()).includes('capsa_vm'));`);
  assert.deepEqual(stdout.trim().split('\n').slice(0, 5), Array(5).fill('false'));
  assert.equal(stderr, '');
});

test('a forgotten machine is freed, and that is told', kvm, async (t) => {
  const socket = path.join(temporary(t), 'in');
  const options = JSON.stringify(guest('print:up spin', { name: 'lost one', vsock: { listen: [{ port: 1, path: socket }] } }));
  const { stdout } = await node(`
    import fs from 'node:fs';
    import { VM } from 'capsa';
    const warned = new Promise((resolve) => process.on('warning', resolve));
    await (async () => {
      const vm = await VM.start(${options});
      await vm.console.expect('up');
    })();
    const timer = setInterval(gc, 10);
    const { name, code, message } = await warned;
    clearInterval(timer);
    console.log([name, code, message].join());
    while (fs.existsSync(${JSON.stringify(socket)})) await new Promise(setImmediate);
    console.log('freed');`, { flags: ['--expose-gc', '--no-warnings'] });
  assert.equal(stdout, 'CapsaWarning,CAPSA_FORGOTTEN_VM,' +
    'the virtual machine lost one was garbage collected without having been closed\nfreed\n');
});

test('a machine in use is not forgotten', kvm, async () => {
  const { stdout } = await node(`
    import { VM } from 'capsa';
    process.on('warning', (warning) => console.log(warning.code));
    let { console: c } = await VM.start(${JSON.stringify(guest('print:up echo off'))});
    for (let i = 0; i < 20; i++) {
      gc();
      await new Promise(setImmediate);
    }
    await c.expect('up');
    await c.eof();
    console.log((await c.vm.wait()).cause);
    await c.vm.close();`, { flags: ['--expose-gc'] });
  assert.equal(stdout, 'guest-shutdown\n');
});

test('a thousand of everything, dropped', kvm, async () => {
  const { stdout } = await node(`
    import fs from 'node:fs';
    import { Builder } from 'capsa';
    const count = () => [fs.readdirSync('/proc/self/fd').length, fs.readdirSync('/proc/self/task').length];
    const kib = () => Number(/VmRSS:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]);
    const collect = async () => {
      for (let i = 0; i < 5; i++) {
        gc();
        await new Promise(setImmediate);
      }
    };
    const options = ${JSON.stringify(guest('print:up off'))};
    const vm = await new Builder(options).build();
    async function machine(builder) {
      const vm = await builder.build();
      vm.on('state', () => {});
      const never = vm.console.expect('never').catch(() => {});
      vm.stats();
      await vm.close();
      await never;
    }
    async function round(n) {
      for (let i = 1; i <= n; i++) {
        const builder = new Builder(options);
        const clone = builder.clone();
        Builder.fromJSON(clone.toJSON());
        try { clone.cpus(0); } catch {}
        const reader = vm.openConsole();
        await reader.expect('never', { timeout: 0 }).catch(() => {});
        const controller = new AbortController();
        const waits = [reader.receive({ signal: controller.signal }), vm.wait({ signal: controller.signal })];
        controller.abort();
        await Promise.allSettled(waits);
        if (i % 10 === 0) await machine(builder);
        if (i % 100 === 0) await collect();
      }
    }
    await round(200);
    const [fds, threads] = count();
    const before = kib();
    await round(1000);
    console.log(JSON.stringify({ fds: count()[0] - fds, threads: count()[1] - threads, kib: kib() - before }));`,
  { flags: ['--expose-gc'] });
  const grown = JSON.parse(stdout);
  assert.ok(grown.fds <= 2, stdout);
  assert.ok(grown.threads <= 8, stdout); // of the Go runtime, which keeps some
  assert.ok(grown.kib < 16_000, stdout); // the heap of V8 settles at a few thousand
});
