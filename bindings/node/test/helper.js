// What the tests share.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { VM } from 'capsa';

/** The package under test. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** The top of the source tree. */
export const source = process.env.CAPSA_SOURCE;

/** Whether CAPSA_REQUIRE names a thing that must not be missing. */
export const required = (thing) => (process.env.CAPSA_REQUIRE ?? '').split(',').includes(thing);

/** Options of a test that needs a thing: skipped without, unless it is required; then the test runs, and fails. */
export function needs(thing, missing) {
  return missing && !required(thing) ? { skip: `no ${thing}: ${missing}` } : {};
}

function kvmProblem() {
  try {
    fs.accessSync('/dev/kvm', fs.constants.R_OK | fs.constants.W_OK);
    return undefined;
  } catch (error) {
    return error.message;
  }
}
export const kvm = needs('kvm', kvmProblem());

/** Options of a machine with the bare guest, which does what its command line says (tests/abi/guest/guest.c). */
export const guest = (commands, options = {}) => ({
  kernel: process.env.CAPSA_TEST_GUEST, cmdline: commands, memory: 32, ...options,
});

/** Starts one that ends with the test. */
export async function start(t, commands, options) {
  const vm = await VM.start(guest(commands, options));
  t.after(() => vm.close());
  return vm;
}

/** A directory that is gone after the test. */
export function temporary(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'capsa-node-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Asserts that fn throws, or rejects with, a CapsaError of a code, and gives the error. */
export async function fails(code, fn) {
  let error;
  try {
    await fn();
  } catch (e) {
    error = e;
  }
  assert.ok(error, `no error, rather than ${code}`);
  assert.equal(error.code, code, error.stack);
  assert.equal(error.name, 'CapsaError');
  assert.ok(error.message);
  return error;
}

/** Runs node with a program that imports the package, and gives { stdout, stderr }; rejects when it fails. */
export function node(program, { flags = [], ...options } = {}) {
  return promisify(execFile)(
    process.execPath, [...flags, '--input-type=module', '--eval', program],
    { cwd: root, timeout: 300_000, killSignal: 'SIGABRT', ...options },
  );
}
