// The console: stream, lines, expect, and the keys.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Builder } from 'capsa';
import { fails, guest, kvm, start } from './helper.js';

test('output is there for any number of readers, and after the end', kvm, async (t) => {
  const vm = await start(t, 'print:one print:two off');
  assert.equal(await text(vm.console), 'one\ntwo\n');
  const lines = [];
  for await (const line of vm.console.lines()) lines.push(line);
  assert.deepEqual(lines, ['one', 'two']);
  const late = vm.openConsole();
  assert.equal((await late.expect(/t.o/)).text, 'two');
  await vm.close();
  assert.equal(String(await late.receive()), '\n');
  assert.equal((await late.receive()).length, 0);
  await fails('CAPSA_E_CLOSED', () => late.expect('more'));
  late.close();
  await fails('CAPSA_E_HANDLE', () => late.receive());
});

test('expect takes the earliest match', kvm, async (t) => {
  const vm = await start(t, 'print:login: print:password: off');
  const first = await vm.console.expect(['password', /LOG(?<rest>in)/i, 'login']);
  assert.equal(first.index, 1);
  assert.equal(first.text, 'login');
  assert.equal(first.groups.rest, 'in');
  assert.deepEqual(first.captures, ['in']);
  const second = await vm.console.expect([Buffer.from('nothing'), Buffer.from('word:')]);
  assert.equal(second.index, 1);
  assert.equal(second.before, ':\npass');
  assert.equal(second.missing, 0);
  assert.equal(String(second.output), ':\npassword:');
});

test('expressions of JavaScript', kvm, async (t) => {
  const vm = await start(t, 'print:a/b.\u00e4x spin');
  for (const [pattern, match] of [
    [/a\/b/, 'a/b'], [/\u002e/, '.'], [/\u{e4}/u, '\u00e4'], [/\cJ/, '\n'], [/x$/m, 'x'],
  ]) {
    const reader = vm.openConsole();
    assert.equal((await reader.expect(pattern, { timeout: 120_000 })).text, match);
    reader.close();
  }
});

test('a pattern that is none', kvm, async (t) => {
  const vm = await start(t, 'spin');
  const error = await fails('CAPSA_E_INVALID_ARG', () => vm.console.expect(/(?=ahead)/));
  assert.match(error.message, /\(\?=/);
  await fails('CAPSA_E_INVALID_ARG', () => vm.console.expect([]));
  await fails('CAPSA_E_INVALID_ARG', () => vm.console.expect(/x*/));
  await assert.rejects(vm.console.expect(7), TypeError);
});

test('a timeout loses nothing', kvm, async (t) => {
  const vm = await start(t, 'print:ready echo off');
  await fails('CAPSA_E_TIMEOUT', () => vm.console.expect('ping', { timeout: 0 }));
  const error = await fails('CAPSA_E_TIMEOUT', () => vm.console.expect('ping', { timeout: 20 }));
  assert.match(error.stack, /console\.test\.js/);
  assert.equal((await vm.console.expect('ready\n')).before, '');
  await fails('CAPSA_E_TIMEOUT', () => vm.console.receive({ timeout: 20 }));
  vm.console.write('ping');
  await vm.console.expect('ping', { timeout: 120_000 });
});

test('what is typed arrives in order', kvm, async (t) => {
  const vm = await start(t, 'print:ready echo off');
  const seen = text(vm.openConsole());
  await vm.console.expect('ready\n');
  for (let i = 0; i < 100; i++) vm.console.write(`${i} `);
  await vm.console.type('typed ');
  await vm.console.type(new Uint8Array([0x79]));
  await vm.console.eof();
  assert.equal((await vm.wait({ timeout: 120_000 })).cause, 'guest-shutdown');
  assert.equal(await seen, `ready\n${Array.from({ length: 100 }, (_, i) => `${i} `).join('')}typed y`);
  await fails('CAPSA_E_CLOSED', () => vm.console.type('x'));
  await fails('CAPSA_E_CLOSED', () => vm.console.eof());
  await fails('CAPSA_E_CLOSED', () => vm.console.interrupt());
});

test('streams are joined to it', kvm, async (t) => {
  const vm = await start(t, 'echo off');
  const received = [];
  const input = pipeline(Readable.from(['some ', 'words', '\x04']), vm.console, { end: false });
  const output = pipeline(vm.openConsole(), new Writable({
    write(chunk, _, done) {
      received.push(chunk);
      setImmediate(done);
    },
  }));
  await Promise.all([input.catch(() => {}), output]);
  assert.equal(Buffer.concat(received).toString(), 'some words');
});

test('leaving a loop over the chunks leaves the console open', kvm, async (t) => {
  const vm = await start(t, 'print:first echo off');
  for await (const chunk of vm.console) {
    assert.match(String(chunk), /f/);
    break;
  }
  await vm.console.type('more\x04');
  assert.match(await text(vm.console), /more/);
});

test('lines end with their signal', kvm, async (t) => {
  const vm = await start(t, 'print:one spin');
  const controller = new AbortController();
  const reason = new Error('enough');
  const lines = [];
  await assert.rejects(async () => {
    for await (const line of vm.console.lines({ signal: controller.signal })) {
      lines.push(line);
      setImmediate(() => controller.abort(reason));
    }
  }, reason);
  assert.deepEqual(lines, ['one']);
  await assert.rejects(vm.console.lines({ signal: controller.signal }).next(), reason);
});

test('a flood does not stall the guest, and what is lost is counted', kvm, async (t) => {
  const vm = await new Builder(guest('flood:200 print:done off', { console: { ringSize: 4096 } })).build();
  t.after(() => vm.close());
  const { console } = vm;
  await vm.start();
  await vm.wait({ timeout: 120_000 });
  await console.expect('done\n');
  assert.ok(console.lost > 5_000);
});

test('a slow reader of everything', kvm, async (t) => {
  const vm = await start(t, 'flood:200 off');
  let bytes = 0;
  for await (const chunk of vm.console) {
    bytes += chunk.length;
    await new Promise(setImmediate);
  }
  assert.equal(bytes, 200 * 64);
});

test('the size of the terminal', kvm, async (t) => {
  const vm = await start(t, 'print:up spin');
  await vm.console.expect('up');
  vm.console.resize(100, 30);
  await fails('CAPSA_E_INVALID_ARG', () => vm.console.resize(0, 30));
  assert.throws(() => vm.console.resize(70_000, 30), RangeError);
});

test('many waits leave libuv\'s threads to others', kvm, async (t) => {
  const vm = await start(t, 'print:up spin');
  const controller = new AbortController();
  const warnings = []; // of too many listeners
  const warned = (warning) => warnings.push(warning);
  process.on('warning', warned);
  t.after(() => process.off('warning', warned));
  const waits = Array.from({ length: 32 }, () => vm.openConsole().expect('never', { signal: controller.signal }));
  const settled = Promise.allSettled(waits);
  assert.match(await fs.readFile('/proc/self/comm', 'utf8'), /\w/); // on that pool
  controller.abort();
  for (const { reason } of await settled) assert.equal(reason.name, 'AbortError');
  assert.deepEqual(warnings, []);
});

test('writing to a closed console is an error event', kvm, async (t) => {
  const vm = await start(t, 'print:up off');
  await vm.wait({ timeout: 120_000 });
  const error = await new Promise((resolve) => {
    vm.console.on('error', resolve);
    vm.console.write('x');
  });
  assert.equal(error.code, 'CAPSA_E_CLOSED');
});

/** Plays the shell in the guest: one of the host runs what the guest has echoed, and what it says is typed and echoed. */
async function playShell(vm) {
  const sh = promisify(execFile);
  let script = '';
  for await (const chunk of vm.openConsole()) {
    script += chunk;
    const complete = /\S/.test(script) && await sh('sh', ['-n', '-c', script]).then(() => true, () => false);
    if (!complete) continue;
    const { stdout } = await sh('sh', ['-c', script], { encoding: 'buffer' });
    await vm.console.type(stdout);
    return;
  }
}

test('run gives status and output of a command', kvm, async (t) => {
  const vm = await start(t, 'echo off');
  const shell = playShell(vm);
  const result = await vm.console.run('echo "it\'s $((6 * 7))"; exit 7', { timeout: 120_000 });
  await shell;
  assert.equal(result.status, 7);
  assert.equal(result.output, 'it\'s 42\n');
  assert.equal(String(result.bytes), result.output);
  assert.equal(result.missing, 0);
  await fails('CAPSA_E_INVALID_ARG', () => vm.console.run('a'.repeat(200_000)));
  await fails('CAPSA_E_TIMEOUT', () => vm.console.run('true', { timeout: 20 }));
  await assert.rejects(vm.console.run('a\0b'), TypeError);
});

test('Ctrl-C is typed', kvm, async (t) => {
  const vm = await start(t, 'print:ready echo off');
  await vm.console.expect('ready\n');
  await vm.console.interrupt();
  assert.equal((await vm.console.expect('\x03', { timeout: 120_000 })).text, '\x03');
});
