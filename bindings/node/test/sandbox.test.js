// Sandboxes as far as a host without a Linux guest goes: descriptions, and calls to guests that have no agent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Builder, Process, Sandbox } from 'capsa';
import { fails, guest, kvm, start, temporary } from './helper.js';

test('the description of a sandbox', (t) => {
  const dir = temporary(t);
  const b = new Builder({ sandbox: true, kernel: '/k', root: dir, mounts: { '/src': dir, '/docs': { path: dir, readOnly: true } },
    guest: { hostname: 'box' } });
  const d = b.toJSON();
  assert.equal(d.isolation, 'process');
  assert.equal(d.guest.agent, 'initrd');
  assert.equal(d.guest.hostname, 'box');
  assert.deepEqual(d.guest.root, { kind: 'share', source: 'capsa-root' });
  assert.deepEqual(d.guest.mounts.map((m) => m.target), ['/src', '/docs']);
  assert.deepEqual(d.shares.map((s) => s.read_only ?? false), [true, false, true]);
  b.root({ path: '/x.img', format: 'raw' }, { writable: true });
  assert.equal(b.toJSON().guest.root.overlay, 'none');
  assert.equal(b.toJSON().disks[0].path, '/x.img');
  assert.throws(() => b.guest({ hostnam: 'x' }), { class: 'CAPSA_E_CONFIG' });
  assert.throws(() => b.mount(dir, 'relative'), { class: 'CAPSA_E_INVALID_ARG' });
  assert.throws(() => new Builder({ writable: true }), TypeError);
  b.close();
});

test('a guest without an agent', kvm, async (t) => {
  const vm = await start(t, 'spin');
  const dir = temporary(t);
  for (const use of [
    () => vm.waitReady(), () => vm.exec(['true']), () => vm.run(['true'], { input: 'x', timeout: 1000 }), () => vm.readFile('/x'),
    () => vm.writeFile('/x', 'y'), () => vm.copyIn(dir, '/x'), () => vm.copyOut('/x', dir),
  ]) await fails('CAPSA_E_UNSUPPORTED', use);
  await assert.rejects(vm.exec('true'), TypeError);
  await assert.rejects(vm.exec(['true'], { unknown: 1 }), TypeError);
  await assert.rejects(vm.exec(['true'], { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.throws(() => new Process(), TypeError);
});

test('a sandbox that does not come up is gone', kvm, async () => {
  const { kernel } = guest('spin');
  await fails('CAPSA_E_TIMEOUT', () => Sandbox.start({ kernel, root: '/', memory: 64, isolation: 'none', startTimeout: 50 }));
});
