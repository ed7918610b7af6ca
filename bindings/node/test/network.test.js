// Networks: descriptions, policies, forwarded ports. The bare guest has no driver: nobody in it answers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Builder, has } from 'capsa';
import { fails, guest, kvm, start, temporary } from './helper.js';

const deny = {
  default: 'deny-all', rules: [{ action: 'allow', ports: [80, '8000-8010'], domains: ['example.com'] }],
};

test('every option of a network', () => {
  assert.equal(has('network'), true);
  const { network } = new Builder({ network: {
    mac: '02:00:5e:10:00:01', mtu: 9000, ipv4: '192.168.7.0/24', guest: '192.168.7.8', gateway: '192.168.7.1',
    ipv6: false, hostname: 'web', dns: ['192.0.2.53', '[2001:db8::53]:5353'], search: ['example.com'],
    hosts: { db: ['192.0.2.7', '2001:db8::7'], x: '192.0.2.8' }, hostAccess: true, linkDown: true,
  } }).toJSON();
  assert.deepEqual(network, {
    mode: 'user', mac: '02:00:5e:10:00:01', mtu: 9000, ipv4: '192.168.7.0/24', guest: '192.168.7.8',
    gateway: '192.168.7.1', ipv6: 'off', hostname: 'web', dns: ['192.0.2.53:53', '[2001:db8::53]:5353'],
    search: ['example.com'],
    hosts: [{ name: 'db', addresses: ['192.0.2.7', '2001:db8::7'] }, { name: 'x', addresses: ['192.0.2.8'] }],
    host_access: true, link_down: true,
  });
  assert.deepEqual(new Builder().network({ ipv6: 'fd00:1::/64' }).toJSON().network, { mode: 'user', ipv6: 'fd00:1::/64' });
  assert.deepEqual(new Builder().network({ mode: 'nat', ipv6: true }).toJSON().network, { mode: 'nat' });
  assert.equal(new Builder({ network: true }).network(false).toJSON().network, undefined);
});

test('options and methods say the same, and JSON makes it again', () => {
  const builder = new Builder({
    network: true, policy: deny,
    forwards: [22, { guestPort: 53, protocol: 'udp', host: '::1', hostPort: 5353 }, { guestPort: 80, path: '/run/web' }],
  });
  const fluent = new Builder().policy(JSON.stringify(deny)).forward(22)
    .forward(53, { protocol: 'udp', host: '::1', hostPort: 5353 }).forward(80, { path: pathToFileURL('/run/web') }).network();
  assert.deepEqual(fluent.toJSON(), builder.toJSON());
  assert.deepEqual(builder.toJSON().network.policy, deny);
  assert.deepEqual(builder.toJSON().network.forwards, [
    { protocol: 'tcp', host: '127.0.0.1:0', guest_port: 22 }, { protocol: 'udp', host: '[::1]:5353', guest_port: 53 },
    { protocol: 'tcp', path: '/run/web', guest_port: 80 }]);
  assert.deepEqual(Builder.fromJSON(builder.toJSON()).toJSON(), builder.toJSON());
  assert.equal(builder.policy(undefined).toJSON().network.policy, undefined);
});

for (const [name, options, message] of [
  ['an unknown mode', { network: { mode: 'bridge' } }, /mode must be 'none' or 'user' or 'nat'/],
  ['an unknown option', { network: { ip: '10.0.0.1' } }, /no option 'ip'/],
  ['a network that is a word', { network: 'user' }, /must be an object/],
  ['a server alone', { network: { dns: '192.0.2.1' } }, /dns must be an array/],
  ['a server that is a number', { network: { dns: ['192.0.2.1', 7] } }, /dns must be a string/],
  ['an address that is a number', { network: { hosts: { a: ['192.0.2.1', 7] } } }, /hostAddresses must be a string/],
  ['hosts that are a list', { network: { hosts: 'a' } }, /hosts must be an object/],
  ['an MTU that is a word', { network: { mtu: '1500' } }, /mtu must be a number/],
  ['a flag that is no boolean', { network: { hostAccess: 1 } }, /hostAccess must be true or false/],
  ['forwards that are no list', { forwards: 80 }, /forwards must be an array/],
  ['a forward of no port', { forwards: [{ hostPort: 80 }] }, /guestPort must be a number/],
  ['a port that is too large', { forwards: [65536] }, /guestPort must be at most 65535/],
  ['an unknown protocol', { forwards: [{ guestPort: 80, protocol: 'sctp' }] }, /protocol must be 'tcp' or 'udp'/],
  ['an unknown option of a forward', { forwards: [{ guestPort: 80, port: 1 }] }, /no option 'port'/],
  ['a null character', { network: { hostname: 'a\0b' } }, /hostname must be a string without null/],
]) {
  test(`refuses ${name}`, () => {
    assert.throws(() => new Builder(options), (error) => {
      assert.match(error.message, message);
      return error instanceof TypeError || error instanceof RangeError;
    });
  });
}

for (const options of [
  { mtu: 1279 }, { mac: '01:00:5e:10:00:01' }, { ipv4: '10.0.2.0' }, { ipv4: '127.0.0.0/8' }, { guest: '10.0.3.15' },
  { gateway: 'x' }, { ipv6: 'fd00::/63' }, { ipv6: '' }, { hostname: 'a.b' }, { dns: ['localhost'] }, { search: ['a..b'] },
  { dns: Array(9).fill('192.0.2.1') }, { hosts: { 'a b': '192.0.2.1' } }, { hosts: { a: '192.0.2' } },
]) {
  test(`the library refuses ${JSON.stringify(options)}`, async () => {
    const builder = new Builder({ network: true });
    await fails('CAPSA_E_INVALID_ARG', () => builder.network(options));
    assert.deepEqual(builder.toJSON().network, { mode: 'user' });
  });
}

for (const options of [
  { guestPort: 0 }, { guestPort: 1, host: 'localhost' }, { guestPort: 1, path: '' }, { guestPort: 1, path: '/x', hostPort: 1 },
  { guestPort: 1, path: '/x', protocol: 'udp' }, { guestPort: 1, path: `/${'x'.repeat(108)}` },
]) {
  test(`the library refuses the forward ${JSON.stringify(options)}`, async () => {
    await fails('CAPSA_E_INVALID_ARG', () => new Builder({ forwards: [options] }));
  });
}

test('policies that are refused', kvm, async () => {
  for (const policy of ['', '{', [], 7, {}, { default: 'some' }, { default: 'deny-all', more: 1 }]) {
    await fails('CAPSA_E_INVALID_ARG', () => new Builder({ policy }));
  }
  const wrong = { default: 'some', rules: [{ action: 'allow', any: true }, { action: 'x', any: true }] };
  const error = await fails('CAPSA_E_INVALID_ARG', () => new Builder({ policy: wrong }));
  assert.deepEqual(error.problems.map(({ field }) => field).sort(), ['default', 'rules[1].action']);
  await fails('CAPSA_E_CONFIG', () => new Builder(guest('spin', { policy: deny })).build()); // for no network
});

test('machines without a network say so', kvm, async (t) => {
  const { network } = await start(t, 'spin');
  for (const call of [
    () => network.forwards(), () => network.forward(80), () => network.unforward(1), () => network.setPolicy(deny),
    () => network.setLink(true),
  ]) await fails('CAPSA_E_UNSUPPORTED', call);
  await fails('CAPSA_E_UNSUPPORTED', () => new Builder(guest('spin', { network: { mode: 'nat' } })).build());
});

/** Whether something listens at a place. */
async function listens(place) {
  const socket = net.connect(place);
  try {
    await once(socket, 'connect');
    return socket;
  } catch {
    return undefined;
  }
}

test('forwards of the builder', kvm, async (t) => {
  const web = path.join(temporary(t), 'web');
  const vm = await start(t, 'spin', { network: true, forwards: [22, { guestPort: 80, path: web }] });
  const bound = [];
  for await (const event of vm.events()) {
    if (event.type === 'port') bound.push(event.forward);
    if (bound.length === 2) break;
  }
  const [one, two] = vm.network.forwards();
  assert.deepEqual(bound, [one, two]);
  assert.ok(one.hostPort > 0);
  assert.deepEqual(one, { id: one.id, protocol: 'tcp', guestPort: 22, host: '127.0.0.1', hostPort: one.hostPort });
  assert.deepEqual(two, { id: two.id, protocol: 'tcp', guestPort: 80, path: web });
  assert.equal(fs.statSync(web).mode & 0o777, 0o600);
  const client = await listens({ host: one.host, port: one.hostPort });
  const ended = new Promise((resolve) => client.resume().on('error', () => {}).on('close', resolve)); // the end, or a reset
  await vm.kill();
  await ended;
  assert.equal(fs.existsSync(web), false);
  for (const call of [() => vm.network.forwards(), () => vm.network.forward(80), () => vm.network.setPolicy(undefined)]) {
    await fails('CAPSA_E_STATE', call);
  }
});

test('forwards come and go', kvm, async (t) => {
  const dir = temporary(t);
  const { network } = await start(t, 'spin', { network: true });
  assert.deepEqual(network.forwards(), []);
  const one = network.forward(22);
  assert.ok(one.id > 0 && one.hostPort > 0);
  assert.deepEqual(one, { id: one.id, protocol: 'tcp', guestPort: 22, host: '127.0.0.1', hostPort: one.hostPort });
  await fails('CAPSA_E_EXISTS', () => network.forward(23, { hostPort: one.hostPort }));
  const two = network.forward(53, { hostPort: one.hostPort, protocol: 'udp' });
  const three = network.forward(80, { path: path.join(dir, 'web') });
  assert.deepEqual(three, { id: three.id, protocol: 'tcp', guestPort: 80, path: path.join(dir, 'web') });
  assert.deepEqual(network.forwards(), [one, two, three]);
  await fails('CAPSA_E_NOT_FOUND', () => network.forward(80, { path: path.join(dir, 'none', 'web') }));
  await fails('CAPSA_E_INVALID_ARG', () => network.forward(0));
  network.unforward(one);
  network.unforward(three.id);
  assert.deepEqual(network.forwards(), [two]);
  assert.equal(fs.existsSync(three.path), false);
  await fails('CAPSA_E_NOT_FOUND', () => network.unforward(one));
  assert.throws(() => network.unforward(), /id must be a number/);
  assert.equal(await listens({ host: one.host, port: one.hostPort }), undefined);
});

test('policies and the link change while it runs', kvm, async (t) => {
  const vm = await start(t, 'spin', { network: { linkDown: true }, policy: { default: 'public-only' } });
  const { network } = vm;
  assert.equal(vm.network, network);
  const link = () => vm.rawStats().devices.find(({ name }) => name === 'network').net.link;
  assert.equal(link(), false);
  network.setLink(true);
  assert.equal(link(), true);
  assert.throws(() => network.setLink(1), /up must be true or false/);
  for (const policy of [deny, '{"default": "allow-all"}', undefined]) network.setPolicy(policy);
  for (const policy of [{}, '', { default: 'some' }]) {
    await fails('CAPSA_E_INVALID_ARG', () => network.setPolicy(policy));
  }
  assert.equal(vm.deviceStats().find(({ name }) => name === 'network').virtioId, 1);
});

test('a network of a machine in a process of its own', kvm, async (t) => {
  const { network } = await start(t, 'spin', { network: true, forwards: [22], policy: deny, isolation: 'process' });
  const [one] = network.forwards();
  const two = network.forward(80);
  assert.deepEqual(network.forwards(), [one, two]);
  assert.ok(one.hostPort > 0 && two.hostPort > 0);
  await fails('CAPSA_E_EXISTS', () => network.forward(81, { hostPort: two.hostPort }));
  const error = await fails('CAPSA_E_INVALID_ARG', () => network.setPolicy({ default: 'some' }));
  assert.deepEqual(error.problems.map(({ field }) => field), ['default']);
  network.setPolicy({ default: 'public-only' });
  network.setLink(false);
  (await listens({ host: two.host, port: two.hostPort })).on('error', () => {}).destroy();
  network.unforward(two);
  assert.deepEqual(network.forwards(), [one]);
});
