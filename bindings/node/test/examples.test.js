// The examples, with the bare guest where that is enough. hello needs a shell: tests/abi/linux.sh boots Linux with it.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { guest, kvm, root, source } from './helper.js';

const { kernel } = guest('');
const run = promisify(execFile);

// Beside the package under test, so that they find it.
const dir = path.join(root, 'test/examples');
fs.cpSync(path.join(source, 'examples/node'), dir, { recursive: true });
const example = (name) => path.join(dir, name);

for (const name of fs.readdirSync(dir)) {
  test(`${name} tells its usage`, async () => {
    await assert.rejects(run(process.execPath, [example(name)]), ({ code, stderr }) => {
      assert.equal(code, 2);
      assert.match(stderr, new RegExp(`usage: ${name}`));
      return true;
    });
  });
}

test('console.mjs joins streams and guest', kvm, async () => {
  const child = spawn(process.execPath, [example('console.mjs'), kernel, kernel, 'print:ready', 'echo', 'off']);
  const output = text(child.stdout);
  const errors = text(child.stderr);
  child.stdin.end('typed\x04');
  const [code] = await once(child, 'close');
  assert.equal(await errors, 'the machine ended: guest-shutdown\n');
  assert.match(await output, /ready\n/);
  assert.equal(code, 0);
});

test('console.mjs tells why a guest did not come up', kvm, async () => {
  await assert.rejects(run(process.execPath, [example('console.mjs'), kernel, kernel, 'serial:early', 'triple']), (error) => {
    assert.equal(error.code, 125);
    assert.match(error.stderr, /early/);
    return true;
  });
});

test('fleet.mjs boots many', kvm, async () => {
  const { stdout } = await run(process.execPath, [example('fleet.mjs'), '8', kernel, 'print:up', 'off']);
  assert.equal([...stdout.matchAll(/^machine \d: guest-shutdown, console after [\d.]+ ms$/gm)].length, 8);
});

test('the README shows hello.mjs', () => {
  const readme = fs.readFileSync(path.join(source, 'bindings/node/README.md'), 'utf8');
  assert.ok(readme.includes(fs.readFileSync(example('hello.mjs'), 'utf8').split('\n').slice(2).join('\n')));
});
