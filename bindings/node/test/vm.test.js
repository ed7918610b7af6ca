// The life of a machine.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Builder, VM } from 'capsa';
import { fails, guest, kvm, start } from './helper.js';

test('what is only possible in certain states', kvm, async (t) => {
  const vm = await new Builder(guest('spin', { name: 'states' })).build();
  t.after(() => vm.close());
  assert.equal(vm.name, 'states');
  assert.equal(vm.state, 'created');
  assert.equal(vm.exit, undefined);
  await fails('CAPSA_E_STATE', () => vm.pause());
  await fails('CAPSA_E_STATE', () => vm.resume());
  await fails('CAPSA_E_STATE', () => vm.stop({ grace: 0 }));
  await fails('CAPSA_E_TIMEOUT', () => vm.wait({ timeout: 0 }));

  assert.equal(await vm.start(), vm);
  assert.equal(vm.state, 'running');
  await fails('CAPSA_E_STATE', () => vm.start());
  await vm.pause();
  assert.equal(vm.state, 'paused');
  await vm.resume();
  await fails('CAPSA_E_TIMEOUT', () => vm.wait({ timeout: 20 }));

  await vm.kill();
  await vm.kill();
  assert.equal(vm.state, 'stopped');
  const exit = await vm.wait();
  assert.equal(exit.cause, 'killed');
  assert.ok(exit.uptimeMs > 0);
  assert.deepEqual(await Promise.all([vm.wait(), vm.wait({ timeout: 0 })]), [exit, exit]);
  assert.deepEqual(vm.exit, exit);
  await fails('CAPSA_E_STATE', () => vm.start());
  assert.equal(await vm.stop({ grace: 0 }), 'none');
});

for (const [commands, cause] of [
  ['print:up off', 'guest-shutdown'], ['print:up reboot', 'reboot'], ['print:up triple', 'triple-fault'],
]) {
  test(`${commands} ends as ${cause}`, kvm, async (t) => {
    const vm = await start(t, commands);
    assert.equal((await vm.wait({ timeout: 120_000 })).cause, cause);
  });
}

test('a guest that never came up', kvm, async (t) => {
  const vm = await start(t, 'serial:early-words triple');
  const error = await fails('CAPSA_E_BOOT', () => vm.wait({ timeout: 120_000 }));
  assert.match(error.consoleTail, /early-words/);
  assert.equal(error.exit.cause, 'boot-failed');
  assert.ok(error.hint);
  assert.match(error.stack, /vm\.test\.js/);
  assert.equal(vm.state, 'failed');
  assert.equal(vm.exit.cause, 'boot-failed');
  assert.match(vm.bootLog, /early-words\n/);
});

test('the power button', kvm, async (t) => {
  const vm = await start(t, 'print:ready button off');
  await vm.console.expect('ready\n', { timeout: 120_000 });
  assert.equal(await vm.stop({ grace: 120_000 }), 'power-button');
  assert.equal((await vm.wait()).cause, 'stopped');
});

test('a guest that does not listen is killed', kvm, async (t) => {
  const vm = await start(t, 'spin');
  assert.equal(await vm.stop({ grace: 10 }), 'kill');
  assert.equal((await vm.wait()).cause, 'killed');
});

test('stop in stages', kvm, async (t) => {
  const vm = await start(t, 'print:ready spin');
  await vm.console.expect('ready');
  await fails('CAPSA_E_TIMEOUT', () => vm.stopInStages({ agent: 0, powerButton: 10, kill: 0 }));
  const outcome = await vm.stopInStages({ agent: 10, powerButton: 10 });
  assert.equal(outcome.stage, 'kill');
  assert.ok(outcome.killMs > 0 && outcome.powerButtonMs > 0);
  assert.equal((await vm.stopInStages()).stage, 'none');
});

test('a limit of the whole life', kvm, async (t) => {
  const vm = await start(t, 'spin', { timeout: 50 });
  assert.equal((await vm.wait({ timeout: 120_000 })).cause, 'timed-out');
});

test('waits end with their signal', kvm, async (t) => {
  const vm = await start(t, 'spin', { vsock: true });
  const reason = new Error('enough');
  const waits = {
    wait: (signal) => vm.wait({ signal }),
    stop: (signal) => vm.stop({ grace: Infinity, signal }),
    stopInStages: (signal) => vm.stopInStages({ powerButton: Infinity, kill: 0, signal }),
    expect: (signal) => vm.console.expect('never', { signal }),
    receive: (signal) => vm.console.receive({ signal }),
    run: (signal) => vm.console.run('true', { signal }),
    connect: (signal) => vm.vsock.connect(1, { signal }),
  };
  for (const [name, wait] of Object.entries(waits)) {
    const controller = new AbortController();
    const pending = wait(controller.signal);
    setImmediate(() => controller.abort(reason));
    await assert.rejects(pending, reason, name);
    await assert.rejects(wait(controller.signal), reason, name); // aborted before
  }
  await assert.rejects(vm.wait({ signal: AbortSignal.timeout(1) }), { name: 'TimeoutError' });
  await assert.rejects(vm.wait({ signal: 'now' }), TypeError);
  for (const timeout of [-1, NaN]) await assert.rejects(vm.wait({ timeout }), RangeError);
  await assert.rejects(vm.wait({ timeout: '1' }), TypeError);
  assert.match(vm.state, /running|stopping/);
});

test('a start that is aborted', kvm, async () => {
  const reason = new Error('no');
  await assert.rejects(VM.start({ ...guest('spin'), signal: AbortSignal.abort(reason) }), reason);
});

test('numbers', kvm, async (t) => {
  const vm = await start(t, 'print:ready spin');
  await vm.console.expect('ready\n');
  const stats = vm.stats();
  assert.equal(stats.state, 'running');
  assert.equal(stats.cpus, 1);
  assert.equal(stats.memoryBytes, 32 << 20);
  assert.equal(stats.balloon, 'none');
  assert.ok(stats.exits > 0 && stats.consoleOpenMs >= stats.createdMs && stats.createdMs > 0);
  assert.ok(vm.deviceStats().some(({ name, bytesIn }) => name === 'console' && bytesIn === 6));
  assert.equal(typeof vm.rawStats(), 'object');
  assert.match(vm.metrics(), /^capsa_/m);
});

test('a memory target', kvm, async (t) => {
  const vm = await start(t, 'spin');
  vm.setMemoryTarget(16 << 20);
  assert.equal(vm.stats().targetBytes, 16 << 20);
  await fails('CAPSA_E_INVALID_ARG', () => vm.setMemoryTarget(2 ** 40));
  vm.setMemoryTarget(0);
  assert.equal(vm.stats().targetBytes, 32 << 20);
});

test('close ends waits, and everything after it says so', kvm, async (t) => {
  const vm = await start(t, 'spin');
  const { console } = vm;
  const expecting = fails('CAPSA_E_CLOSED', () => console.expect('never'));
  const waited = vm.wait();
  const stopping = vm.stop({ grace: Infinity }).catch((error) => error.code);
  await new Promise(setImmediate);
  assert.equal(vm.close(), vm.close());
  await vm.close();
  await expecting;
  assert.ok(['CAPSA_E_CLOSED', 'CAPSA_E_HANDLE', 'none', 'kill'].includes(await stopping));
  for (const call of [() => vm.state, () => vm.kill(), () => vm.stats(), () => vm.openConsole()]) {
    await fails('CAPSA_E_HANDLE', call);
  }
  assert.equal(vm.exit.cause, 'killed'); // the record stays
  assert.deepEqual(await vm.wait(), vm.exit);
  assert.deepEqual(await waited, vm.exit);
});

test('closing a machine that was never started', kvm, async () => {
  const vm = await new Builder(guest('spin')).build();
  await vm.close();
  assert.equal(vm.exit.cause, 'killed');
});

test('disposing closes', { ...kvm, ...(Symbol.asyncDispose ? {} : { skip: 'this Node has no Symbol.asyncDispose' }) }, async () => {
  const vm = await VM.start(guest('spin'));
  await vm[Symbol.asyncDispose]();
  await fails('CAPSA_E_HANDLE', () => vm.state);
});
