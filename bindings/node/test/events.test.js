// Events, as an emitter and as an iterator.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Builder } from 'capsa';
import { guest, kvm, start } from './helper.js';

async function built(t, commands) {
  const vm = await new Builder(guest(commands)).build();
  t.after(() => vm.close());
  return vm;
}

test('listeners hear of the whole life', kvm, async (t) => {
  const vm = await built(t, 'print:up off');
  const heard = { state: [], all: [] };
  vm.on('state', ({ state }) => heard.state.push(state));
  vm.on('event', ({ type }) => heard.all.push(type));
  const exited = once(vm, 'exit');
  await vm.start();
  const [event] = await exited;
  assert.equal(event.type, 'exit');
  assert.equal(event.exit.cause, 'guest-shutdown');
  assert.ok(event.time instanceof Date);
  assert.deepEqual(heard.state, ['starting', 'running', 'stopped']);
  assert.ok(heard.all.includes('console'));
  await new Promise(setImmediate);
  assert.equal(heard.all.at(-1), 'exit');
});

test('iterators end with the machine', kvm, async (t) => {
  const vm = await built(t, 'print:up off');
  const types = async (iterator) => {
    const list = [];
    for await (const event of iterator) list.push(event.type);
    return list;
  };
  const both = Promise.all([types(vm.events()), types(vm.events())]);
  await vm.start();
  const [one, other] = await both;
  assert.deepEqual(one, other);
  assert.equal(one.at(-1), 'exit');
  assert.deepEqual(await types(vm.events()), []);
});

test('iterators end with their signal, a break, and close', kvm, async (t) => {
  const vm = await start(t, 'spin');
  const controller = new AbortController();
  const reason = new Error('enough');
  const aborted = vm.events({ signal: controller.signal });
  assert.equal((await aborted.next()).value.state, 'starting');
  const next = (async () => {
    for (;;) await aborted.next();
  })();
  controller.abort(reason);
  await assert.rejects(next, reason);
  assert.equal((await aborted.next()).done, true);
  assert.throws(() => vm.events({ signal: controller.signal }), reason);

  const left = vm.events();
  assert.equal((await left.return()).done, true);
  assert.equal((await left.next()).done, true);

  const closed = vm.events();
  await vm.close();
  const types = [];
  for await (const { type } of closed) types.push(type);
  assert.equal(types.at(-1), 'exit');
});

test('an iterator that nobody reads keeps the newest, and tells how many it lost', kvm, async (t) => {
  const vm = await start(t, 'print:up spin');
  const events = vm.events();
  for (let i = 0; i < 200; i++) {
    await vm.pause();
    await vm.resume();
  }
  await vm.close();
  const all = [];
  for await (const event of events) all.push(event);
  assert.equal(all[0].type, 'lost');
  assert.ok(all[0].lost > 100);
  assert.equal(all.length, 257);
  assert.equal(all.at(-1).type, 'exit');
});

test('without listeners nothing is fetched, and what was dropped is told', kvm, async (t) => {
  const vm = await start(t, 'spin');
  const listener = () => {};
  vm.on('state', listener).off('state', listener);
  for (let i = 0; i < 200; i++) {
    await vm.pause();
    await vm.resume();
  }
  const first = (await vm.events().next()).value;
  assert.equal(first.type, 'lost');
  assert.ok(first.lost > 100);
  assert.equal(vm.stats().eventsLost, first.lost);
});
