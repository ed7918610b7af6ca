// The package's surface: what it exports, and that nothing of the header is missing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import * as esm from 'capsa';
import { root, source } from './helper.js';

const require = createRequire(import.meta.url);

const read = (dir, ending) => fs.readdirSync(dir).filter((name) => name.endsWith(ending))
  .map((name) => fs.readFileSync(path.join(dir, name), 'utf8')).join('\n');

test('import and require give the same objects', () => {
  const cjs = require('capsa');
  assert.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort());
  for (const [name, value] of Object.entries(esm)) assert.equal(value, cjs[name], name);
});

test('the version is the package\'s', () => {
  assert.equal(esm.version, require('capsa/package.json').version);
});

test('features', () => {
  assert.equal(esm.has('console'), true);
  assert.equal(esm.has('time travel'), false);
  assert.throws(() => esm.has(), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
});

test('the doctor examines the host', async () => {
  const report = await esm.doctor();
  assert.equal(report.version, esm.version);
  assert.ok(report.features.includes('console'));
});

test('metrics are text', async () => {
  assert.equal(typeof await esm.metrics(), 'string');
});

/** Functions of capsa.h that the addon does not call, and why. */
const unwrapped = {
  capsa_error_code: 'the call has returned it',
  capsa_version: 'the same as capsa_version_string',
};

test('every function of the header is wrapped', () => {
  const header = fs.readFileSync(path.join(source, 'include/capsa.h'), 'utf8');
  const addon = read(path.join(source, 'bindings/node/src'), '.c');
  const functions = [...header.matchAll(/^(?:CAPSA_API )?[^#/\n]*\b(capsa_\w+)\(/gm)].map((m) => m[1]);
  assert.ok(functions.length >= 77, String(functions.length));
  for (const name of functions) {
    assert.equal(new RegExp(`\\b${name}\\b`).test(addon), !(name in unwrapped), name);
  }
});

test('every function of the addon is used', () => {
  const lib = read(path.join(root, 'lib'), '.cjs');
  for (const name of Object.keys(require('../lib/native.cjs'))) {
    assert.match(lib, new RegExp(`\\bnative\\.${name}\\b`));
  }
});

test('words for every number of the header', () => {
  const header = fs.readFileSync(path.join(source, 'include/capsa.h'), 'utf8');
  const names = require('../lib/names.cjs');
  for (const [prefix, list] of [['STATE', names.states], ['CAUSE', names.causes], ['STAGE', names.stages], ['EVENT', names.events]]) {
    const numbers = [...header.matchAll(new RegExp(`^#define CAPSA_${prefix}_\\w+ (\\d+)`, 'gm'))].map((m) => Number(m[1]));
    assert.ok(numbers.length > 3, prefix);
    for (const n of numbers) assert.equal(typeof list[n], 'string', `${prefix} ${n}`);
  }
});

test('handles of another kind are refused', () => {
  const native = require('../lib/native.cjs');
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
  for (const value of [native.builderNew(), {}, undefined, null, 7, 'vm']) {
    assert.throws(() => native.vmState(value), wrong);
    assert.throws(() => native.vmKill(value), wrong);
  }
  assert.throws(() => new esm.VM(), TypeError);
});
