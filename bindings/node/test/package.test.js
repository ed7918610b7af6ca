// The tarball, installed into a fresh project without a network.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { guest, kvm, needs, root, temporary } from './helper.js';

const tarball = process.env.CAPSA_TEST_TARBALL;
const run = promisify(execFile);

function npmProblem() {
  try {
    execFileSync('npm', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch (error) {
    return error.message;
  }
}
const npm = needs('npm', npmProblem());

const files = ['LICENSE', 'README.md', 'package.json', ...fs.readdirSync(path.join(root, 'lib'), { recursive: false })
  .filter((name) => name !== 'native').map((name) => `lib/${name}`),
'lib/native/capsa-vzd', 'lib/native/capsa.node', 'lib/native/libcapsa.so.0'].sort();

test('the tarball has the package and nothing else', async () => {
  const { stdout } = await run('tar', ['-tzf', tarball]);
  const entries = stdout.trim().split('\n').filter((name) => !name.endsWith('/'));
  assert.deepEqual(entries.map((name) => name.replace(/^package\//, '')).sort(), files);
});

test('npm would pack the same', npm, async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--offline'], { cwd: root });
  assert.deepEqual(JSON.parse(stdout)[0].files.map((file) => file.path).sort(), files);
});

test('nothing runs at the installation', () => {
  const { scripts, dependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  assert.equal(scripts, undefined);
  assert.equal(dependencies, undefined);
});

const body = `
  for (const isolation of ['none', 'process']) {
    const vm = await VM.start({ ...${JSON.stringify(guest('print:installed off'))}, isolation });
    console.log((await vm.console.expect(/\\w+\\n/)).text.trim(), (await vm.wait()).cause);
    await vm.close();
  }`;

/** Imports and requires the package in a project. */
async function use(dir) {
  fs.accessSync(path.join(dir, 'node_modules/capsa/lib/native/capsa-vzd'), fs.constants.X_OK);
  fs.writeFileSync(path.join(dir, 'esm.mjs'), `import { VM } from 'capsa';${body}`);
  fs.writeFileSync(path.join(dir, 'cjs.cjs'), `const { VM } = require('capsa'); (async () => {${body}})();`);
  for (const file of ['esm.mjs', 'cjs.cjs']) {
    const env = { PATH: '/nonexistent' }; // nothing but the package has the program of isolated machines
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: dir, env, timeout: 120_000 });
    assert.equal(stderr, '');
    assert.equal(stdout, 'installed guest-shutdown\n'.repeat(2), file);
  }
}

test('unpacked into node_modules', kvm, async (t) => {
  const dir = temporary(t);
  fs.mkdirSync(path.join(dir, 'node_modules/capsa'), { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', path.join(dir, 'node_modules/capsa'), '--strip-components=1']);
  await use(dir);
});

test('installed by npm, offline', { ...npm, ...kvm, ...(npm.skip && npm) }, async (t) => {
  const dir = temporary(t);
  fs.writeFileSync(path.join(dir, 'package.json'), '{"name":"fresh","private":true}');
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--cache', path.join(dir, '.npm'), tarball], { cwd: dir });
  const installed = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
  assert.ok(installed.dependencies.capsa);
  await use(dir);
});

test('a package that cannot be loaded says why', async (t) => {
  const dir = temporary(t);
  fs.cpSync(path.join(root, 'lib'), dir, { recursive: true, filter: (name) => !name.endsWith('libcapsa.so.0') });
  const load = (name) => run(process.execPath, ['-e', `require(${JSON.stringify(path.join(dir, name))})`])
    .then(() => assert.fail('it was loaded'), ({ stderr }) => stderr);
  assert.match(await load('index.cjs'), /capsa cannot be loaded: libcapsa\.so\.0: cannot open shared object file/);
});
