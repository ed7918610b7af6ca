#!/bin/sh
# Builds and runs the fault injection: each system call of the library in the life of a machine fails once. See README.md.
#
#   BUILD                the build directory (default build)
#   CAPSA_REQUIRE        words (kvm) whose lack is a failure and not a skip
#
# usage: tests/faults/run.sh [-v] [-k KIND] [-j PROCESSES]
set -eu
cd "$(dirname "$0")/../.."

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
work=$build/faults
CC=${CC:-cc}
strict="-std=gnu11 -O1 -g -Wall -Wextra -Werror"

if ! { : <>/dev/kvm; } 2>/dev/null; then
    echo "faults: no access to /dev/kvm"
    case ",${CAPSA_REQUIRE:-}," in *,kvm,*) exit 1 ;; esac
    exit 0
fi

# A copy of the library, so that a build meanwhile does no harm.
mkdir -p "$work/scratch"
cp -f "$build/libcapsa.so.0" "$work/"
ln -sf libcapsa.so.0 "$work/libcapsa.so"

$CC $strict tests/faults/inject.c -o "$work/inject"
$CC $strict -I include tests/faults/client.c -L "$work" -lcapsa -ldl -o "$work/client"
$CC -m64 -std=c11 -O2 $strict -std=c11 -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector \
    -mno-red-zone -mgeneral-regs-only -Wl,-T,tests/abi/guest/guest.ld -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
    tests/abi/guest/start.S tests/abi/guest/guest.c -o "$work/guest.elf"
truncate -s 8M "$work/disk.raw"

LD_LIBRARY_PATH=$work timeout 900 "$work/inject" "$@" "$work/client" "$work/guest.elf" "$work/disk.raw" "$work/scratch"
