'use strict';
// Patterns of JavaScript as the library takes them, and its matches as JavaScript gives them.

const LITERAL = 1; // CAPSA_PATTERN_LITERAL
const REGEX = 2; // CAPSA_PATTERN_REGEX

/** Flags that both syntaxes have. g, y, d and u change nothing here. */
const commonFlags = 'ims';

/**
 * A regular expression in RE2's syntax, which has no look-around and no back references: the library says so. What
 * JavaScript writes differently is rewritten.
 */
function toRE2(regexp) {
  const flags = [...regexp.flags].filter((f) => commonFlags.includes(f)).join('');
  const source = regexp.source.replace(/\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|c([a-z])|\/|.)/gis, (all, wide, four, control) => {
    if (wide ?? four) return `\\x{${wide ?? four}}`;
    if (control) return `\\x{${(control.charCodeAt(0) % 32).toString(16)}}`;
    return all === '\\/' ? '/' : all;
  });
  return flags ? `(?${flags})${source}` : source;
}

/** One thing to look for, for the addon. */
function compile(pattern) {
  if (typeof pattern === 'string' || pattern instanceof Uint8Array) return { kind: LITERAL, data: pattern };
  if (pattern instanceof RegExp) return { kind: REGEX, data: toRE2(pattern) };
  throw new TypeError('a pattern must be a string, a Uint8Array or a RegExp');
}

/** The groups of a match: the library tells where it is, and the expression itself what is in it. */
function groupsOf(pattern, output, start) {
  if (!(pattern instanceof RegExp)) return { captures: [], groups: undefined };
  const again = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, '')}y`);
  again.lastIndex = start;
  const found = again.exec(output);
  return { captures: found?.slice(1) ?? [], groups: found?.groups && { ...found.groups } };
}

/** What expect gives. */
function describe({ pattern: index, start, length, bytes, missing }, patterns) {
  const before = bytes.toString('utf8', 0, start);
  const text = bytes.toString('utf8', start, start + length);
  return {
    index,
    pattern: patterns[index],
    text,
    before,
    ...groupsOf(patterns[index], before + text, before.length),
    output: bytes,
    missing,
  };
}

module.exports = { compile, describe };
