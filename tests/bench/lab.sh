#!/bin/sh
# lab.sh BUILD ROUNDS: the part of the benchmark that boots Linux. Prints samples. run.sh starts it on real KVM.
set -eu
here=$(dirname "$0")
build=$1 rounds=$2
kernel=$build/guest/bzImage initrd=$build/bench/initrd.cpio
. "$here/qemu.sh"
capsa="$build/bench/once $kernel $initrd"
peer=$(qemu '' -initrd "$initrd" -chardev null,id=c)
"$build/bench/boot" "$rounds" $capsa -- $peer -append "$args"
"$here/counts.sh" ours $capsa
"$here/counts.sh" peer $peer -append "$args"
"$build/bench/isolated" traffic "$kernel" "$build/guest/initrd.cpio" 5
