#!/bin/sh
# Runs the suite through every language that build.sh has built. Arguments go to run.py: files of scenarios, --only REGEX.
#
#   BUILD                build directory (default build)
#   CAPSA_TEST_GUEST     the bare guest, default BUILD/node/guest.elf
#   CAPSA_TEST_KERNEL    a kernel, default BUILD/guest/bzImage, and
#   CAPSA_TEST_INITRD    its initrd with a shell on the console, default BUILD/guest/initrd.cpio
set -eu
build=$(realpath "${BUILD:-build}")
export CAPSA_TEST_GUEST="${CAPSA_TEST_GUEST:-$build/node/guest.elf}"
export CAPSA_TEST_KERNEL="${CAPSA_TEST_KERNEL:-$build/guest/bzImage}"
export CAPSA_TEST_INITRD="${CAPSA_TEST_INITRD:-$build/guest/initrd.cpio}"
for language in c cpp rust go python asyncio node; do
    [ ! -x "$build/polyglot/$language.sh" ] || set -- "$@" --language "$language=$build/polyglot/$language.sh"
done
exec "${PYTHON:-/usr/bin/python3}" "$(dirname "$0")/run.py" "$@"
