'use strict';
// The addon, or an error that says why it could not be loaded.

/** @returns {string | undefined} what is wrong with this platform */
function platformProblem() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `it runs on Linux on x86-64 only, and this is ${process.platform} on ${process.arch}`;
  }
  if (!process.report?.getReport || reportsGlibc()) return undefined;
  return 'it needs glibc, which this system does not have (Alpine has musl)';
}

function reportsGlibc() {
  const { excludeNetwork } = process.report;
  process.report.excludeNetwork = true; // else it may ask DNS
  try {
    return process.report.getReport().header.glibcVersionRuntime !== undefined;
  } finally {
    process.report.excludeNetwork = excludeNetwork;
  }
}

function load() {
  try {
    return require('./native/capsa.node');
  } catch (cause) {
    const why = platformProblem() ?? cause.message;
    throw new Error(`capsa cannot be loaded: ${why}`, { cause });
  }
}

const native = load();
const [have, want] = native.abiVersions();
if (have !== want) {
  throw new Error(`capsa was made for version ${want} of libcapsa's ABI, and has loaded a library of version ${have}`);
}

module.exports = native;
