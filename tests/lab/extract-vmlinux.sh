#!/bin/sh
# extract-vmlinux.sh BZIMAGE: writes the ELF kernel that a bzImage carries to
# standard output. Understands xz, Debian's choice; the payload's place is in the
# setup header (Documentation/x86/boot.rst: setup_sects at 0x1f1, payload_offset
# at 0x248, payload_length at 0x24c, protocol 2.08).
set -eu
image=${1:?usage: extract-vmlinux.sh BZIMAGE}
u32() { od -An -tu4 -N4 -j"$1" "$image" | tr -d ' '; }
sects=$(od -An -tu1 -N1 -j497 "$image" | tr -d ' ')
offset=$((($sects + 1) * 512 + $(u32 584)))
length=$(u32 588)
# The payload ends with the uncompressed size, four bytes that are no part of the
# xz stream.
tail -c +$((offset + 1)) "$image" | head -c $((length - 4)) | xz -dc
