// Sockets, as far as they need no driver in the guest.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { PacketSocket } from 'capsa';
import { fails, kvm, start, temporary } from './helper.js';

const require = createRequire(import.meta.url);
const { PacketAcceptor } = require('../lib/packet.cjs');
const { streamAcceptor } = require('../lib/vsock.cjs');
const descriptors = require(process.env.CAPSA_TEST_PAIR);

test('a machine without sockets', kvm, async (t) => {
  const vm = await start(t, 'spin');
  await fails('CAPSA_E_UNSUPPORTED', () => vm.vsock.connect(1));
  await fails('CAPSA_E_UNSUPPORTED', () => vm.vsock.listen(1));
  await fails('CAPSA_E_UNSUPPORTED', () => vm.vsock.unlisten(1));
});

test('a guest that does not answer', kvm, async (t) => {
  const vm = await start(t, 'spin', { vsock: true });
  await fails('CAPSA_E_TIMEOUT', () => vm.vsock.connect(1, { timeout: 0 }));
  await fails('CAPSA_E_TIMEOUT', () => vm.vsock.connect(1, { timeout: 20, type: 'seqpacket' }));
  await fails('CAPSA_E_INVALID_ARG', () => vm.vsock.connect(0xffffffff));
  await assert.rejects(vm.vsock.connect('ssh'), TypeError);
});

test('listening', kvm, async (t) => {
  const vm = await start(t, 'spin', { vsock: true });
  for (const type of ['stream', 'seqpacket']) {
    const listener = vm.vsock.listen(80, { type });
    assert.equal(listener.port, 80);
    await fails('CAPSA_E_EXISTS', () => vm.vsock.listen(80));
    const connections = (async () => {
      for await (const socket of listener) socket.destroy();
    })();
    await listener.close();
    await listener.close();
    await connections;
    await fails('CAPSA_E_NOT_FOUND', () => vm.vsock.unlisten(80));
  }
  const last = vm.vsock.listen(81, {}, () => {});
  assert.equal(last.listenerCount('connection'), 1);
  await vm.kill();
  await last.close();
  await fails('CAPSA_E_STATE', () => vm.vsock.listen(82));
});

test('ports bound to paths', kvm, async (t) => {
  const dir = temporary(t);
  const at = path.join(dir, 'in');
  const vm = await start(t, 'spin', { vsock: { listen: [{ port: 22, path: at }] } });
  assert.equal(fs.statSync(at).mode & 0o777, 0o600);
  const client = net.connect(at);
  await once(client, 'connect');
  const closed = once(client.resume(), 'close').catch(() => {}); // reset, or ended
  await vm.kill();
  await closed;
  await vm.close();
  assert.equal(fs.existsSync(at), false);
});

// ---- Messages, over socket pairs of the host.

function pair(t) {
  const sockets = descriptors.pair().map((fd) => new PacketSocket(fd));
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  return sockets;
}

test('messages stay apart', async (t) => {
  const [a, b] = pair(t);
  const messages = ['one', Buffer.from('two'), Buffer.alloc(100_000, 'x')];
  for (const message of messages) a.write(message);
  a.end();
  const received = [];
  for await (const message of b) received.push(message);
  assert.deepEqual(received.map(String), messages.map(String));
});

test('a receiver that waits, and a sender that waits', async (t) => {
  const [a, b] = pair(t);
  const first = once(b, 'data');
  setImmediate(() => a.write('late'));
  assert.equal(String((await first)[0]), 'late');
  b.pause();
  let sent = 0;
  const message = Buffer.alloc(50_000);
  while (a.write(message)) sent++; // until the stream's own buffer is full
  for (let i = 0; i < 50; i++) a.write(message); // the kernel's is long before this
  a.end();
  let bytes = 0;
  for await (const part of b) bytes += part.length;
  assert.equal(bytes, (sent + 51) * message.length);
});

test('destroying a socket ends its wait', async (t) => {
  const [a, b] = pair(t);
  a.resume();
  b.resume();
  await new Promise(setImmediate);
  a.destroy();
  await Promise.all([once(a, 'close'), once(b, 'end')]);
});

test('a peer that is gone', async (t) => {
  const [a, b] = pair(t);
  b.destroy();
  await once(b, 'close');
  a.write('x');
  const [error] = await once(a, 'error');
  assert.equal(error.code, 'EPIPE');
  assert.equal(error.syscall, 'send');
});

test('connections of messages are accepted', async () => {
  const [listening, client] = descriptors.listening(true);
  const peer = new PacketSocket(client);
  const accepted = await new Promise((resolve, reject) => {
    const acceptor = new PacketAcceptor(listening, (socket) => resolve({ socket, acceptor }), reject);
  });
  peer.write('hello');
  const [message] = await once(accepted.socket, 'data');
  assert.equal(String(message), 'hello');
  await accepted.acceptor.close();
  peer.destroy();
  accepted.socket.destroy();
});

test('connections of bytes are accepted, and half closed', async () => {
  const [listening, client] = descriptors.listening(false);
  const peer = new net.Socket({ fd: client, readable: true, writable: true });
  const { socket, acceptor } = await new Promise((resolve, reject) => {
    const acceptor = streamAcceptor(listening, 1, (socket) => resolve({ socket, acceptor }), reject);
  });
  acceptor.close();
  peer.end('question');
  let question = '';
  socket.on('data', (chunk) => { question += chunk; });
  await once(socket, 'end');
  assert.equal(question, 'question');
  socket.end('answer'); // the peer has ended its side, not ours
  assert.equal(await text(peer), 'answer');
});
