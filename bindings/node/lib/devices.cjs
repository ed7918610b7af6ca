'use strict';
// Options of devices as the addon takes them: words become the numbers of capsa.h.

const { fileURLToPath } = require('node:url');
const { flags, number } = require('./names.cjs');

/** A path of an option: a string, or a file: URL. */
const path = (value) => (value instanceof URL ? fileURLToPath(value) : value);

/** An options object; unknown names are errors, as typing errors would go unseen. */
function checkOptions(options, known, what) {
  if (typeof options !== 'object' || options === null) throw new TypeError(`${what} must be an object`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`${what} have no option '${name}': there are ${known.join(', ')}`);
  }
}

const pick = (options, names) => Object.fromEntries(names.map((name) => [name, options[name]]));

const diskFlags = { readOnly: 1, temporary: 2, direct: 4, root: 8 };
const diskFormats = { auto: 0, raw: 1, qcow2: 2 };
const diskOptions = [
  'queues', 'overlay', 'scratchDir', 'serial', 'backingDirs', 'iops', 'iopsBurst', 'bytesPerSec', 'bytesBurst',
];

function disk(options) {
  checkOptions(options, [...Object.keys(diskFlags), 'format', ...diskOptions], 'options of a disk');
  return {
    ...pick(options, diskOptions),
    flags: flags(diskFlags, options),
    format: number(diskFormats, options.format, 'format'),
  };
}

const shareFlags = {
  readOnly: 1, writeback: 2, acl: 4, guestLocks: 8, oneFileSystem: 16, allowSetId: 32, directIo: 64,
  allowDevices: 256,
};
const hostIds = 128; // CAPSA_SHARE_HOST_IDS
const caches = { auto: 0, none: 1, always: 2 };
const owners = { squash: 0, passthrough: 1, caller: 2, ranges: 3 };
const xattrs = { user: 0, none: 1, all: 2 };
const shareOptions = [
  'queues', 'guestUid', 'guestGid', 'hostUid', 'hostGid', 'maxFiles', 'maxInodes', 'uids', 'gids',
];

function share(options) {
  checkOptions(options, [...Object.keys(shareFlags), 'cache', 'owner', 'xattr', ...shareOptions], 'options of a share');
  const { hostUid, hostGid } = options;
  if ((hostUid === undefined) !== (hostGid === undefined)) throw new TypeError('hostUid and hostGid go together');
  return {
    ...pick(options, shareOptions),
    flags: flags(shareFlags, options) | (hostUid === undefined ? 0 : hostIds),
    cache: number(caches, options.cache, 'cache'),
    owner: number(owners, options.owner, 'owner'),
    xattr: number(xattrs, options.xattr, 'xattr'),
  };
}

const balloonOptions = ['reporting', 'deflateOnOom'];

/** The flags of a balloon: false is none, undefined and true are one with everything on. */
function balloon(options = true) {
  if (options === false) return 1;
  if (options === true) return 0;
  checkOptions(options, balloonOptions, 'options of a balloon');
  for (const name of balloonOptions) {
    if (options[name] !== undefined && typeof options[name] !== 'boolean') {
      throw new TypeError(`${name} must be true or false`);
    }
  }
  return (options.reporting === false ? 2 : 0) | (options.deflateOnOom === false ? 4 : 0);
}

const isolations = { default: 0, none: 1, process: 2 };
const jails = { full: 0, partial: 1, off: 2 };

/** The numbers of a process, and of how far it is confined. */
function isolation(word, options) {
  checkOptions(options, ['jail'], 'options of the isolation');
  return [number(isolations, word, 'isolation'), number(jails, options.jail, 'jail')];
}

const socketTypes = { stream: 0, seqpacket: 1 };

/** The flags of a socket of a type. */
const socket = (type) => number(socketTypes, type, 'type');

module.exports = { checkOptions, path, pick, disk, share, balloon, isolation, socket };
