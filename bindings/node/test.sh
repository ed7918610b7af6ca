#!/bin/sh
# Runs the tests of the Node package against what build.sh has put together.
#
#   BUILD           the build directory (default the tree's build)
#   CAPSA_REQUIRE   words (kvm, node, npm, tsc) whose lack is a failure and not a skip
#
# usage: bindings/node/test.sh [test...]   names such as "console"; default: all
set -eu
build=$(realpath -m "${BUILD:-$(dirname "$0")/../../build}")
cd "$(dirname "$0")"
package=$build/node/package
CAPSA_SOURCE=$(realpath ../..)
CAPSA_TEST_GUEST=$build/node/guest.elf
CAPSA_TEST_PAIR=$build/node/pair.node
CAPSA_TEST_TOOLS=$build/node/tools
CAPSA_TEST_TARBALL=$(echo "$build"/node/capsa-*.tgz)
export CAPSA_SOURCE CAPSA_TEST_GUEST CAPSA_TEST_PAIR CAPSA_TEST_TOOLS CAPSA_TEST_TARBALL

# Within the package's folder "capsa" is the package itself.
rm -rf "$package/test"
cp -r test "$package/test"
[ $# -gt 0 ] || set -- $(basename -s .test.js test/*.test.js)
files=
for name in "$@"; do files="$files test/$name.test.js"; done
cd "$package"
exec timeout -s ABRT 1800 node --test $files
