#!/bin/sh
# build.sh OUT: builds the bare guest (guest.c) that tests of the ABI and of the bindings boot.
set -eu
cd "$(dirname "$0")"
exec "${CC:-cc}" -m64 -std=c11 -O2 -Wall -Wextra -Werror -pedantic -ffreestanding -nostdlib -static -fno-pie -no-pie \
    -fno-stack-protector -mno-red-zone -mgeneral-regs-only -Wl,-T,guest.ld -Wl,--build-id=none \
    -Wl,--no-warn-rwx-segments start.S guest.c -o "$1"
