#!/bin/sh
# stop.sh BUILD ROUNDS: the benchmark of a machine's end. Prints samples. run.sh starts it on real KVM.
set -eu
here=$(dirname "$0")
build=$1 rounds=$2
kernel=$build/guest/bzImage initrd=$build/guest/initrd.cpio
. "$here/qemu.sh"
"$build/bench/stop" "$rounds" "$kernel" "$initrd" -- \
	$(qemu ,acpi=on -initrd "$initrd" -chardev stdio,id=c,signal=off) -append "$args" </dev/null
