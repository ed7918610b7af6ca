#!/bin/sh
# build.sh OUT - compiles the bare guest of guest.c.
set -eu
out=$(realpath -m "$1")
cd "$(dirname "$0")"
mkdir -p "$(dirname "$out")"
${CC:-cc} -m64 -std=c11 -O2 -Wall -Wextra -Werror -pedantic -ffreestanding -nostdlib -static -fno-pie -no-pie \
    -fno-stack-protector -mno-red-zone -mgeneral-regs-only -Wl,-T,guest.ld -Wl,--build-id=none \
    -Wl,--no-warn-rwx-segments start.S guest.c -o "$out"
