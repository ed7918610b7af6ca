// Machines in processes of their own.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Builder, has } from 'capsa';
import { fails, guest, kvm, node, root, start } from './helper.js';

/** The children of this process in which machines run. */
function daemons() {
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      const [, name, state, parent] = /\((.*)\) (\S) (\d+)/.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
      return name === 'capsa-vzd' && state !== 'Z' && Number(parent) === process.pid;
    } catch {
      return false; // it has ended meanwhile
    }
  }).map(Number);
}

function onlyDaemon() {
  const [pid, ...others] = daemons();
  assert.ok(pid > 0);
  assert.deepEqual(others, []);
  return pid;
}

test('the choices', async () => {
  assert.equal(has('isolation'), true);
  assert.equal(new Builder().isolation().toJSON().isolation, 'process');
  assert.deepEqual(
    new Builder({ isolation: 'process', jail: 'partial' }).toJSON(),
    new Builder().isolation('process', { jail: 'partial' }).toJSON());
  assert.equal(new Builder().isolation('process', { jail: 'off' }).toJSON().jail, 'off');
  assert.equal(new Builder().isolation('process', { jail: 'full' }).toJSON().jail, undefined);
  assert.throws(() => new Builder().isolation('process', 'off'), /must be an object/);
  await fails('CAPSA_E_INVALID_ARG', () => new Builder().isolation('none', { jail: 'off' }));
});

for (const [jail, confined] of [['full', 2], ['partial', 2], ['off', 0]]) {
  test(`a machine in a process of its own, jail ${jail}`, kvm, async (t) => {
    const vm = await start(t, 'print:hello echo off', { isolation: 'process', jail });
    const pid = onlyDaemon();
    assert.match(fs.readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Seccomp:\\t${confined}$`, 'm'));
    await vm.console.expect('hello\n', { timeout: 60_000 });
    vm.console.write('typed\n');
    await vm.console.expect('typed\n', { timeout: 60_000 });
    assert.equal(vm.state, 'running');
    assert.ok(vm.stats().exits > 0);
    await vm.console.eof();
    assert.equal((await vm.wait({ timeout: 60_000 })).cause, 'guest-shutdown');
    await vm.close();
    assert.equal(vm.exit.cause, 'guest-shutdown');
    assert.deepEqual(daemons(), []);
  });
}

test('the program is the package\'s', kvm, async (t) => {
  await start(t, 'spin', { isolation: 'process', jail: 'off' });
  assert.equal(fs.realpathSync(`/proc/${onlyDaemon()}/exe`), fs.realpathSync(path.join(root, 'lib/native/capsa-vzd')));
});

test('the death of the process is the machine\'s only', kvm, async (t) => {
  const other = await start(t, 'spin');
  const vm = await start(t, 'spin', { isolation: 'process', vsock: true });
  const events = (async () => {
    const seen = [];
    for await (const event of vm.events()) seen.push(event);
    return seen;
  })();
  const waiting = fails('CAPSA_E_VMM_DIED', () => vm.wait());
  const expecting = fails('CAPSA_E_CLOSED', () => vm.console.expect('never'));
  const connecting = fails('CAPSA_E_STATE', () => vm.vsock.connect(1));
  process.kill(onlyDaemon(), 'SIGKILL');
  const died = await waiting;
  assert.match(died.message, /signal: killed/);
  assert.equal(died.exit.cause, 'vmm-crash');
  assert.ok(died.hint);
  assert.match(died.stack, /isolation\.test\.js/);
  await expecting;
  await connecting;
  assert.equal((await events).at(-1).exit.cause, 'vmm-crash');
  await fails('CAPSA_E_VMM_DIED', () => vm.wait({ timeout: 0 }));
  await fails('CAPSA_E_STATE', () => vm.pause());
  assert.equal(vm.state, 'failed');
  assert.equal(vm.exit.cause, 'vmm-crash');
  assert.equal(other.state, 'running');
  await vm.close();
  await fails('CAPSA_E_VMM_DIED', () => vm.wait());
});

test('a path that names no program is said', kvm, async () => {
  // The library reads the environment as it is when it is loaded.
  const { stdout } = await node(`
    import { Builder } from 'capsa';
    const builder = new Builder(${JSON.stringify(guest('off', { isolation: 'process' }))});
    await builder.build().catch(({ code, message, hint }) => console.log(code, message, '/', hint));
    const vm = await builder.isolation('none').build();
    await vm.close();`, { env: { ...process.env, CAPSA_VZD_PATH: '/nonexistent/vzd' } });
  assert.match(stdout, /^CAPSA_E_UNAVAILABLE .*CAPSA_VZD_PATH is set, but .*\/nonexistent\/vzd.* \/ \S/);
});
