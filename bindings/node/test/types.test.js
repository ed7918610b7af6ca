// The declarations: complete, and accepted by the compiler.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as capsa from 'capsa';
import { needs, root, source } from './helper.js';

const tools = process.env.CAPSA_TEST_TOOLS;
const compiler = path.join(tools, 'node_modules/typescript/bin/tsc');
const tsc = needs('tsc', fs.existsSync(compiler) ? undefined : `${compiler} is not there`);

test('programs in TypeScript, as modules and as CommonJS', tsc, async () => {
  fs.copyFileSync(path.join(source, 'bindings/node/tsconfig.json'), path.join(root, 'tsconfig.json'));
  const types = path.join(tools, 'node_modules/@types');
  const { stdout } = await promisify(execFile)(process.execPath, [compiler, '-p', root, '--typeRoots', types])
    .catch((error) => error);
  assert.equal(stdout, '');
});

test('everything that is exported is declared, with all its methods', () => {
  const lib = path.join(root, 'lib');
  const text = fs.readdirSync(lib).filter((name) => name.endsWith('.d.cts'))
    .map((name) => fs.readFileSync(path.join(lib, name), 'utf8')).join('\n');
  for (const [name, value] of Object.entries(capsa)) {
    const start = text.search(new RegExp(`^export (?:class|function|const) ${name}\\b`, 'm'));
    assert.ok(start >= 0, name);
    if (!/^class/.test(String(value))) continue;
    const declaration = text.slice(start, text.indexOf('\n}\n', start));
    for (const method of [...Object.getOwnPropertyNames(value.prototype), ...Object.getOwnPropertyNames(value)]) {
      if (/^_|^constructor$|^(length|name|prototype)$/.test(method)) continue;
      assert.match(declaration, new RegExp(`^  (?:static |readonly )?${method}\\b`, 'm'), `${name}.${method}`);
    }
  }
});
