'use strict';
// Words for the numbers of capsa.h. What a newer library may add becomes 'unknown'.

const states = ['created', 'starting', 'running', 'paused', 'stopping', 'stopped', 'failed'];

const causes = [
  'none', 'guest-shutdown', 'main-exited', 'reboot', 'panic', 'oom', 'stopped', 'killed', 'timed-out', 'vmm-crash',
  'boot-failed', 'triple-fault',
];

const stages = ['none', 'agent', 'power-button', 'kill'];

const events = [
  undefined, 'state', 'ready', 'exit', 'exec-exit', 'console', 'port', 'policy-deny', 'oom', 'log', 'lost', 'disk-error',
  'crash-kernel', 'link',
];

const balloons = ['none', 'present', 'reporting'];

const name = (list, number) => list[number] ?? 'unknown';

/**
 * The number of one of the words of an option.
 * @param {Record<string, number>} words
 */
function number(words, word, option) {
  if (word === undefined || word === null) return 0;
  if (Object.hasOwn(words, word)) return words[word];
  throw new TypeError(`${option} must be ${Object.keys(words).map((w) => `'${w}'`).join(' or ')}`);
}

/** The flags whose options are true. */
function flags(bits, options) {
  let sum = 0;
  for (const [option, bit] of Object.entries(bits)) {
    const value = options[option];
    if (value !== undefined && typeof value !== 'boolean') throw new TypeError(`${option} must be true or false`);
    if (value) sum |= bit;
  }
  return sum;
}

module.exports = { states, causes, stages, events, balloons, name, number, flags };
