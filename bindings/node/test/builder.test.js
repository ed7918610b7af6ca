// Descriptions of machines.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Builder } from 'capsa';
import { fails, guest, kvm, temporary } from './helper.js';

const everything = {
  name: 'all of it', kernel: '/kernel', initrd: '/initrd', args: ['quiet', 'loglevel=3'], cpus: 2, memory: 512,
  timeout: 60_000, console: { columns: 100, rows: 30, ringSize: 65536 },
  disks: ['/a.qcow2', { path: '/b.img', format: 'raw', readOnly: true, root: true, serial: 'B1', queues: 2 },
    { path: '/c.img', format: 'raw', overlay: '/c.qcow2', iops: 100n, iopsBurst: 10, bytesPerSec: 2 ** 40, bytesBurst: 5 },
    { path: '/d.qcow2', temporary: true, direct: true, scratchDir: '/var/tmp', backingDirs: ['/base', '/more'] }],
  shares: [{ tag: 'home', path: '/home', readOnly: true, cache: 'always', xattr: 'none' },
    { tag: 'tree', path: '/tree', owner: 'passthrough', allowDevices: true },
    { tag: 'own', path: '/own', guestUid: 1000, guestGid: 100, hostUid: 7, hostGid: 8, maxFiles: 64, maxInodes: 1000 },
    { tag: 'ids', path: '/ids', owner: 'ranges', acl: true, uids: [{ guest: 0, host: 100000, count: 65536 }],
      gids: [{ guest: 0, host: 100000, count: 1 }, { guest: 1, host: 5, count: 2 }] }],
  balloon: { reporting: false }, isolation: 'process', jail: 'partial',
  vsock: { listen: [{ port: 22, path: '/in' }], connect: [{ port: 80, path: '/out', type: 'seqpacket' }] },
};

test('options and methods say the same', () => {
  const fluent = new Builder()
    .name('all of it').linux('/kernel', '/initrd').args('quiet').args('loglevel=3').cpus(2).memory(512).timeout(60_000)
    .console({ columns: 100, rows: 30, ringSize: 65536 });
  for (const disk of everything.disks) {
    const { path: at = disk, ...options } = typeof disk === 'string' ? {} : disk;
    fluent.disk(at, options);
  }
  for (const { tag, path: at, ...options } of everything.shares) fluent.share(tag, at, options);
  fluent.balloon({ reporting: false }).isolation('process', { jail: 'partial' });
  fluent.vsock().vsockListen(22, '/in').vsockConnect(80, '/out', { type: 'seqpacket' });
  assert.deepEqual(fluent.toJSON(), new Builder(everything).toJSON());
});

test('what was said is in the JSON', () => {
  const json = new Builder(everything).toJSON();
  assert.equal(json.name, 'all of it');
  assert.equal(json.cpus, 2);
  const text = JSON.stringify(json);
  for (const word of ['/b.img', '/c.qcow2', '/var/tmp', '/more', 'home', '100000', '/in', '/out', 'B1', '1099511627776']) {
    assert.ok(text.includes(word), `${word} in ${text}`);
  }
});

test('JSON makes the same description again', () => {
  const builder = new Builder(everything);
  assert.deepEqual(Builder.fromJSON(builder.toJSON()).toJSON(), builder.toJSON());
  assert.deepEqual(Builder.fromJSON(JSON.stringify(builder)).toJSON(), builder.toJSON());
});

test('a clone changes by itself', () => {
  const builder = new Builder({ cpus: 2 });
  const clone = builder.clone().cpus(3);
  assert.equal(builder.toJSON().cpus, 2);
  assert.equal(clone.toJSON().cpus, 3);
});

test('paths may be URLs', () => {
  const builder = new Builder({ kernel: pathToFileURL('/k 1'), initrd: pathToFileURL('/i'), disks: [pathToFileURL('/d')] });
  const text = JSON.stringify(builder);
  for (const word of ['"/k 1"', '"/i"', '"/d"']) assert.ok(text.includes(word), text);
});

test('settings can be taken back', () => {
  const builder = new Builder({ cmdline: 'x', console: { columns: 7 }, balloon: false, isolation: 'process', vsock: true });
  builder.cmdline(undefined).console().balloon().isolation('default').vsock(false);
  assert.deepEqual(builder.toJSON(), new Builder().toJSON());
});

for (const [name, options, message] of [
  ['an unknown option', { cpu: 1 }, /no option 'cpu'/],
  ['a word for a number', { cpus: 'two' }, /cpus must be a number/],
  ['a fraction', { cpus: 1.5 }, /cpus must be a whole number/],
  ['a negative number', { memory: -1 }, /memory must be a whole number/],
  ['a number for a text', { name: 1 }, /name must be a string/],
  ['a null character', { kernel: '/a\0b' }, /kernel must be a string without null/],
  ['an initrd alone', { initrd: '/i' }, /initrd needs a kernel/],
  ['arguments in one text', { args: 'a b' }, /args must be an array/],
  ['an unknown format', { disks: [{ path: '/a', format: 'vdi' }] }, /format must be 'auto' or 'raw' or 'qcow2'/],
  ['a flag that is no boolean', { disks: [{ path: '/a', readOnly: 1 }] }, /readOnly must be true or false/],
  ['an unknown option of a disk', { disks: [{ path: '/a', readonly: true }] }, /no option 'readonly'/],
  ['a backing directory that is a number', { disks: [{ path: '/a', backingDirs: [1] }] }, /backingDirs must be a string/],
  ['a limit that is too large', { disks: [{ path: '/a', iops: 2n ** 64n }] }, /iops must be from 0n/],
  ['an unknown owner', { shares: [{ tag: 'a', path: '/a', owner: 'me' }] }, /owner must be/],
  ['half of the host\'s ids', { shares: [{ tag: 'a', path: '/a', hostUid: 1 }] }, /go together/],
  ['a range that is a number', { shares: [{ tag: 'a', path: '/a', uids: [1] }] }, /range of ids/],
  ['a console that is too wide', { console: { columns: 65536 } }, /columns must be at most 65535/],
  ['an unknown isolation', { isolation: 'jar' }, /isolation must be 'default' or 'none' or 'process'/],
  ['an isolation that is no word', { isolation: true }, /isolation must be/],
  ['an unknown jail', { isolation: 'process', jail: 'paper' }, /jail must be 'full' or 'partial' or 'off'/],
  ['a jail alone', { jail: 'full' }, /jail needs an isolation/],
  ['an unknown type of socket', { vsock: { listen: [{ port: 1, path: '/a', type: 'dgram' }] } }, /type must be/],
]) {
  test(`refuses ${name}`, () => {
    assert.throws(() => new Builder(options), (error) => {
      assert.match(error.message, message);
      return error instanceof TypeError || error instanceof RangeError;
    });
  });
}

test('what the library refuses names the field', async () => {
  const error = await fails('CAPSA_E_INVALID_ARG', () => new Builder({ cpus: 0 }));
  assert.equal(error.problems[0].field, 'cpus');
  assert.match(error.stack, /builder\.test\.js/);
  await fails('CAPSA_E_NOT_FOUND', () => new Builder({ backend: 'abacus' }));
  await fails('CAPSA_E_INVALID_ARG', () => new Builder({ args: ['a\nb'] }));
  await fails('CAPSA_E_CONFIG', () => Builder.fromJSON('{"no such field": 1}'));
  await fails('CAPSA_E_CONFIG', () => Builder.fromJSON('{'));
});

test('a closed builder says so', async () => {
  const builder = new Builder();
  builder.close();
  builder.close();
  await fails('CAPSA_E_HANDLE', () => builder.cpus(1));
  await fails('CAPSA_E_HANDLE', () => builder.build());
});

test('a build tells all problems at once', kvm, async () => {
  const error = await fails('CAPSA_E_CONFIG', () => new Builder({ cmdline: 'x', args: ['y'] }).build());
  assert.ok(error.problems.length >= 2, JSON.stringify(error.problems));
  for (const problem of error.problems) assert.ok(problem.message);
  assert.match(error.stack, /builder\.test\.js/);
});

test('a kernel that is not there', kvm, async () => {
  const error = await fails('CAPSA_E_NOT_FOUND', () => new Builder({ kernel: '/nonexistent/kernel' }).build());
  assert.match(error.message, /\/nonexistent\/kernel/);
  assert.equal(error.syscallCode, 'ENOENT');
  assert.ok(error.errno < 0);
});

test('disks and shares of the host', kvm, async (t) => {
  const dir = temporary(t);
  const image = path.join(dir, 'disk.img');
  fs.writeFileSync(image, Buffer.alloc(1 << 20));
  const builder = new Builder(guest('spin', {
    disks: [{ path: image, format: 'raw' }], shares: [{ tag: 'dir', path: dir, readOnly: true }],
  }));
  const vm = await builder.build();
  t.after(() => vm.close());
  const devices = vm.deviceStats().map((device) => device.name);
  assert.ok(devices.some((name) => name.startsWith('disk')), devices.join());
  assert.equal(vm.deviceStats(0).name, devices[0]);
  await fails('CAPSA_E_NOT_FOUND', () => vm.deviceStats(1000));
  await fails('CAPSA_E_UNAVAILABLE', () => builder.build()); // the image is in use
});

test('an aborted build leaves nothing', kvm, async (t) => {
  const dir = temporary(t);
  const reason = new Error('changed my mind');
  await assert.rejects(new Builder(guest('spin')).build({ signal: AbortSignal.abort(reason) }), reason);
  const socket = path.join(dir, 'in');
  const controller = new AbortController();
  const built = new Builder(guest('spin', { vsock: { listen: [{ port: 1, path: socket }] } }))
    .build({ signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(built, reason);
  assert.equal(fs.existsSync(socket), false);
});
