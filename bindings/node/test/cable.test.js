// Shared networks, descriptors, limits, captures. The bare guest has no driver: nothing passes its device.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Builder, SharedNetwork } from 'capsa';
import { fails, guest, kvm, temporary } from './helper.js';

test('machines of one network', kvm, async (t) => {
  const network = new SharedNetwork({
    ipv4: '10.77.0.0/24', gateway: '10.77.0.1', ipv6: false, mtu: 9000, domain: 'lan.example', dns: ['192.0.2.53'],
    search: ['example.com'], hosts: { db: ['192.0.2.7'] }, nat: false, broadcast: true,
  });
  const build = (name, options) => new Builder(guest('spin', { name })).attach(network, options).build();
  const one = await build('one', { address: '10.77.0.9', mac: '02:00:5e:10:00:01' });
  t.after(() => one.close());
  await fails('CAPSA_E_EXISTS', () => build('two', { hostname: 'one' }));
  await fails('CAPSA_E_EXISTS', () => build('two', { address: '10.77.0.9' }));
  const { id } = one.network.forward(80);
  assert.deepEqual(one.network.forwards().map((f) => f.id), [id]);
  one.network.setPolicy({ default: 'deny-all' });
  await (await build('two', { linkDown: true })).close();
  const late = new Builder(guest('spin')).attach(network).clone();
  network.close();
  await fails('CAPSA_E_STATE', () => late.build());
  await fails('CAPSA_E_HANDLE', () => build('two'));
});

test('networks that are refused', async () => {
  for (const options of [{ ipv4: '10.0.0.0/31' }, { mtu: 7 }, { domain: 'a..b' }, { nat: false, hostAccess: true }]) {
    await fails('CAPSA_E_INVALID_ARG', () => new SharedNetwork(options));
  }
  assert.throws(() => new SharedNetwork({ nat: 1 }), /nat must be true or false/);
  assert.throws(() => new SharedNetwork({ x: 1 }), /no option 'x'/);
  assert.throws(() => new Builder().attach({}), /must be a SharedNetwork/);
});

test('descriptors and interfaces that are refused', kvm, async () => {
  await fails('CAPSA_E_INVALID_ARG', () => new Builder().attachFd(0));
  assert.throws(() => new Builder().attachFd(5, { framing: 'x' }), /framing must be/);
  const file = fs.openSync('/dev/null', 'r+');
  for (const framing of ['stream', 'tap']) {
    await fails('CAPSA_E_INVALID_ARG', () => new Builder(guest('spin')).attachFd(file, { framing }).build());
  }
  fs.closeSync(file);
  await fails('CAPSA_E_NOT_FOUND', () => new Builder(guest('spin')).attachTap('no-such-tap', { mtu: 9000 }).build());
});

test('limits', kvm, async (t) => {
  const builder = new Builder(guest('spin', { network: true })).networkLimits({
    fromGuestBytes: 1, fromGuestBytesBurst: 2, toGuestPackets: 3, toGuestPacketsBurst: 4, connections: 5,
  });
  assert.deepEqual(builder.toJSON().network.limits, {
    from_guest: { bytes_per_sec: 1, bytes_burst: 2 }, to_guest: { packets_per_sec: 3, packets_burst: 4 },
    connections_per_sec: 5,
  });
  const vm = await builder.build();
  t.after(() => vm.close());
  vm.network.setLimits({ toGuestBytes: 1e6 });
  vm.network.setLimits(undefined);
  await fails('CAPSA_E_INVALID_ARG', () => vm.network.setLimits({ connectionsBurst: 1 }));
  await fails('CAPSA_E_UNSUPPORTED', () => vm.network.attachFd(2));
});

test('captures', kvm, async (t) => {
  const dir = temporary(t);
  const [first, second] = ['first', 'second'].map((name) => path.join(dir, name));
  const vm = await new Builder(guest('spin', { network: true })).capture(first).build();
  t.after(() => vm.close());
  vm.network.setCapture({ path: second, snapLen: 128, maxSize: 1 << 20 });
  assert.equal(fs.readFileSync(first).readUInt32BE(0), 0x0a0d0d0a);
  const fd = fs.openSync(first, 'w');
  vm.network.setCapture(fd);
  fs.closeSync(fd);
  vm.network.setCapture(undefined);
  assert.equal(fs.readFileSync(second).readUInt32BE(0), 0x0a0d0d0a);
  assert.ok(fs.statSync(first).size > 0);
  await fails('CAPSA_E_NOT_FOUND', () => vm.network.setCapture('/no/such/directory/file'));
});
