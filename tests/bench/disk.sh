#!/bin/sh
# disk.sh BUILD ROUNDS: the disk benchmark: the same loads in a guest of ours and of QEMU, on one image in memory. Prints
# samples. run.sh starts it on real KVM. A guest goes through all loads three times.
set -eu
here=$(dirname "$0")
build=$1 rounds=$2
kernel=$build/guest/bzImage initrd=$build/bench/disk.cpio
. "$here/qemu.sh"
work=$(mktemp -d /tmp/capsa-bench-XXXXXX)
trap 'rm -rf "$work"' EXIT
for kind in ${CAPSA_BENCH_KINDS:-raw qcow2}; do
	cp "$build/bench/disk.$kind" "$work/disk"
	peer=$(qemu '' -initrd "$initrd" -chardev stdio,id=c -object iothread,id=t \
		-drive "if=none,id=d,format=$kind,file=$work/disk,cache=writeback,aio=${CAPSA_BENCH_AIO:-threads},discard=unmap" \
		-device virtio-blk-device,drive=d,iothread=t)
	"$build/bench/disk" "$rounds" "$kind" "$build/bench/once" -disk "$kind" "$work/disk" "$kernel" "$initrd" rounds=3 -- \
		$peer -append "$args rounds=3" </dev/null
done
